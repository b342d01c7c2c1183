// What the parts of reading a sweep file share: typed members, and unknown keys refused with the nearest name.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/json_tree.h"
#include "sweep/sweep_file.h"

namespace temper {

/// One object of the file. What is wrong in it is added to `problems`.
class ObjectReader {
 public:
  /// `name` is how messages call it: "budget"; empty: the file itself.
  ObjectReader(const JsonNode& object, std::string name, std::vector<std::string>& problems)
      : object_(object), name_(std::move(name)), problems_(problems) {}

  /// Refuses members that are not in `known`, and an object that is none.
  bool check_keys(const std::vector<std::string_view>& known);
  const JsonNode* find(std::string_view key) const { return object_.find(key); }

  // The member where it is there and right, otherwise what was in `result` stays.
  void integer(std::string_view key, std::int64_t min, std::int64_t& result);
  void number(std::string_view key, double above, double& result);
  void text(std::string_view key, const std::vector<std::string_view>& names, std::string& result);

  void refuse(const JsonNode& node, const std::string& why) { problems_.push_back(node.where + ": " + why); }
  /// "budget.tokens"
  std::string path(std::string_view key) const { return name_.empty() ? std::string(key) : name_ + "." + std::string(key); }

 private:
  void refuse_value(const JsonNode& node, const std::string& allowed);

  const JsonNode& object_;
  std::string name_;
  std::vector<std::string>& problems_;
};

/// 'did you mean "tokens"?', or all names where none is near.
std::string nearest_name(std::string_view unknown, const std::vector<std::string_view>& names);

/// The "parameters" of a sweep file.
std::vector<SweptParameter> read_parameters(const JsonNode& node, std::vector<std::string>& problems);
/// A parameter as it stands in a file.
std::string parameter_to_json(const SweptParameter& parameter);

}  // namespace temper
