// Configuration text as a flat list of dotted keys with their positions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/json_tree.h"
#include "config/value.h"

namespace temper {

struct Entry {
  std::string where;       ///< "configs/run.json:12:5" (line and byte column of the key) or an override as it was given
  std::string path;        ///< "optimizer.learning_rate"
  Value value;             ///< null for an object
  bool is_object = false;  ///< its members follow as entries of their own
};

/// A plain value or a list of them; null for an object. A list of anything else: Error(ExitCode::usage).
Value plain_value(const JsonNode& node);

/// The members of an object in their order, those of its objects under dotted paths. Keys with a dot in them are added to
/// `problems`. A list of anything but plain values: Error(ExitCode::usage).
std::vector<Entry> flatten(const JsonNode& object, std::vector<std::string>& problems);

/// flatten(read_json_tree(...)).
std::vector<Entry> read_entries(std::string_view text, const std::string& label, std::vector<std::string>& problems);

/// One JSON value without an object in it; false: `text` is something else.
bool read_value(std::string_view text, Value& value);

}  // namespace temper
