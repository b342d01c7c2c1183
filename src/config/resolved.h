// The resolved configuration: what a run directory and a checkpoint keep, and how two of them differ.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/fields.h"
#include "config/run_config.h"

namespace temper {

/// Every field in the table's order as indented JSON, without those that are not given. config_from_json (config/parse.h) reads it
/// back to the same configuration, bit for bit.
std::string config_to_json(const RunConfig& config);

struct FieldDifference {
  std::string_view path;
  ResumeClass resume;
  std::string before;  ///< as JSON, or "not given"
  std::string after;
};

/// The fields whose values differ, in the table's order.
std::vector<FieldDifference> compare(const RunConfig& before, const RunConfig& after);

}  // namespace temper
