// What a sweep can be judged by: numbers that a run logs.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/run_config.h"

namespace temper {

struct LoggedMetric {
  std::string_view name;
  bool in_summary;         ///< a member of summary.json; otherwise the last line of metrics.jsonl that has it counts
  std::string_view needs;  ///< the key without which it is never logged; empty: always logged
  std::string_view
      share;  ///< of what that key names, how much is measured; runs with different ones of both are not to be compared
};

std::vector<std::string_view> metric_names();
/// The metric of that name, which must be there.
const LoggedMetric& find_metric(std::string_view name);

/// Empty, or why a run of `config` never logs the metric and what to change.
std::string metric_problem(const LoggedMetric& metric, const RunConfig& config);

/// The metric of a finished run; none where it was not logged or is not finite.
std::optional<double> read_metric(const LoggedMetric& metric, const std::filesystem::path& run);

}  // namespace temper
