// JSON text as a tree in which every key knows where it stands, for configurations and the files beside them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/value.h"

namespace temper {

struct JsonNode {
  enum class Kind { value, list, object };
  std::string where;  ///< "configs/run.json:12:5": line and byte column of the key, or of the bracket of an element that has one
  std::string key;    ///< as an object's member; empty for the root and for elements of a list
  Kind kind = Kind::value;
  Value value = {};                     ///< of a plain value
  std::vector<JsonNode> children = {};  ///< elements of a list, members of an object, in their order

  bool is_list() const { return kind == Kind::list; }
  bool is_object() const { return kind == Kind::object; }
  /// The member of that key; nullptr: there is none.
  const JsonNode* find(std::string_view name) const;
};

/// Reads a JSON object with // and /* */ comments. Keys that an object holds twice are added to `problems`, each with both
/// positions. Text that is not a JSON object, or is nested deeper than 8 (NaN, Infinity and anything after the closing brace
/// included): Error(ExitCode::usage) "label:line:column: why".
JsonNode read_json_tree(std::string_view text, const std::string& label, std::vector<std::string>& problems);

/// The node as compact JSON.
std::string to_json_text(const JsonNode& node);

}  // namespace temper
