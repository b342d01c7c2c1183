// What a sweep can be judged by and trials be stopped by: numbers that a run logs.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/run_config.h"
#include "sweep/formula.h"

namespace temper {

struct LoggedMetric {
  /// Where the number at a run's end stands: a member of summary.json, the last line of metrics.jsonl that has it, or of the object
  /// `all` in the last line of diagnostics.jsonl that has it.
  enum class Place { summary, line, all };
  std::string_view name;
  Place place = Place::line;
  std::string_view needs = {};  ///< the key without which it is never logged; empty: always logged
  /// Of what that key names, how much is measured; runs with different ones of both are not to be compared. Empty: does not matter.
  std::string_view share = {};
  bool in_lines = true;    ///< stands in lines of metrics.jsonl
  bool is_loss = false;    ///< less is better, and nobody has to say so
  bool of_halves = false;  ///< told by the halves of a step's micro-batches
};

std::vector<std::string_view> metric_names();
/// The metric of that name, which must be there.
const LoggedMetric& find_metric(std::string_view name);

/// Empty, or why a run of `config` never logs the metric and what to change; `user`: the key of the sweep file that names it.
std::string metric_problem(const LoggedMetric& metric, const RunConfig& config, std::string_view user = "metric.name");

/// The metric of a finished run; none where it was not logged or is not finite.
std::optional<double> read_metric(const LoggedMetric& metric, const std::filesystem::path& run);

/// A condition on a line of metrics.jsonl, such as "loss > 9". Anything else, or names that no line has: Error(ExitCode::usage), which
/// begins with `where`.
Formula stop_condition(const std::string& text, const std::string& where);

}  // namespace temper
