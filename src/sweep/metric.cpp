#include "sweep/metric.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "config/fields.h"
#include "io/json.h"

namespace temper {
namespace {

std::optional<double> finite_number(const Json& object, std::string_view key) {
  const std::string name(key);
  if (!object.is_object() || !object.contains(name) || !object[name].is_number()) return std::nullopt;
  const auto number = object[name].get<double>();
  return std::isfinite(number) ? std::optional(number) : std::nullopt;
}

/// Timing is not among them: a table must come out the same on a machine that is busy.
constexpr LoggedMetric logged_metrics[] = {
    {"val_loss", true, "data.val", "eval.tokens"},
    {"best_val_loss", true, "data.val", "eval.tokens"},
    {"val_loss_average", true, "data.val", "eval.tokens"},
    {"bits_per_byte", true, "data.val", "eval.tokens"},
    {"loss", false, "", ""},
    {"grad_norm", false, "", ""},
    {"hellaswag_acc", false, "eval.hellaswag", "eval.hellaswag_items"},
    {"hellaswag_acc_norm", false, "eval.hellaswag", "eval.hellaswag_items"},
};

}  // namespace

std::vector<std::string_view> metric_names() {
  std::vector<std::string_view> names;
  for (const LoggedMetric& metric : logged_metrics) names.push_back(metric.name);
  return names;
}

const LoggedMetric& find_metric(std::string_view name) { return *std::ranges::find(logged_metrics, name, &LoggedMetric::name); }

std::string metric_problem(const LoggedMetric& metric, const RunConfig& config) {
  if (metric.name == "val_loss_average" && config.eval.weight_average == 0.0)
    return "metric.name is val_loss_average, which is never logged because eval.weight_average is 0; set it or choose another metric";
  if (metric.needs.empty()) return "";
  const Value value = get_field(*find_field(metric.needs), config);
  if (value != Value{std::string()} && value != Value{std::vector<Value>{}}) return "";
  return "metric.name is " + std::string(metric.name) + ", which is never logged because " + std::string(metric.needs) +
         " is empty; set " + std::string(metric.needs) + " or choose another metric";
}

std::optional<double> read_metric(const LoggedMetric& metric, const std::filesystem::path& run) {
  if (metric.in_summary) return finite_number(read_json_if_whole(run / "summary.json"), metric.name);
  std::optional<double> last;
  const auto look = [&](const Json& line) {
    if (line.contains(metric.name)) last = finite_number(line, metric.name);
  };
  for_json_lines(run / "metrics.jsonl", look, metric.name);
  return last;
}

}  // namespace temper
