// The "parameters" of a sweep file: what varies, and over which values.
#pragma once

#include <string>
#include <vector>

#include "config/json_tree.h"
#include "sweep/sweep_file.h"

namespace temper {

/// The rows of one parameter's object.
const FieldTable& parameter_table();
/// The "parameters" of a sweep file. What is wrong is added to `problems`.
std::vector<SweptParameter> read_parameters(const JsonNode& node, std::vector<std::string>& problems);
/// A parameter as it stands in a file.
std::string parameter_to_json(const SweptParameter& parameter);

}  // namespace temper
