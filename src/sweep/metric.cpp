#include "sweep/metric.h"

#include <algorithm>
#include <cmath>

#include "config/fields.h"
#include "config/validate.h"
#include "io/error.h"
#include "io/file.h"
#include "io/json.h"
#include "optim/measurements.h"
#include "train/step_record.h"

namespace temper {
namespace {

using Place = LoggedMetric::Place;

std::optional<double> finite_number(const Json& object, std::string_view key) {
  const std::string name(key);
  if (!object.is_object() || !object.contains(name) || !object[name].is_number()) return std::nullopt;
  const auto number = object[name].get<double>();
  return std::isfinite(number) ? std::optional(number) : std::nullopt;
}

/// By the tables that the files themselves are written from. A name that stands in both is taken from metrics.jsonl.
std::vector<LoggedMetric> logged_metrics() {
  std::vector<LoggedMetric> all = {{"val_loss", Place::summary, "data.val", "eval.tokens", true, true},
                                   {"best_val_loss", Place::summary, "data.val", "eval.tokens", false, true},
                                   {"val_loss_average", Place::summary, "eval.weight_average", "eval.tokens", true, true},
                                   {"bits_per_byte", Place::summary, "data.val", "eval.tokens", false, true}};
  const auto add = [&](const LoggedMetric& metric) {
    if (std::ranges::count(all, metric.name, &LoggedMetric::name) == 0) all.push_back(metric);
  };
  for_each_metric([&](const char* name, auto /*member*/, Absent /*absent*/, const char* /*meaning*/) {
    const std::string_view text = name;
    const bool scored = text.starts_with("hellaswag"), validated = text.starts_with("val_");
    add({text, Place::line,
         scored      ? "eval.hellaswag"
         : validated ? "data.val"
                     : "",
         scored ? "eval.hellaswag_items" : "", true, text == "loss"});
  });
  const auto add_table = [&](const auto& table, bool of_halves) {
    for (const auto& one : table)
      add({one.name, one.in_summary ? Place::line : Place::all, "diagnostics.every", "", one.in_summary, false, of_halves});
  };
  add_table(update_measurements, false);
  add_table(noise_measurements, true);
  for (const auto& one : representation_measurements) add({one.name, Place::line, "diagnostics.representation_every"});
  return all;
}

const std::vector<LoggedMetric>& metrics() {
  static const std::vector<LoggedMetric> all = logged_metrics();
  return all;
}

/// The last line that has the key.
std::optional<double> last_number(const std::filesystem::path& log, std::string_view key, std::string_view holder) {
  const std::string mention = "\"" + std::string(key) + "\":";
  std::string last;  // a line of diagnostics has tens of kilobytes: only one is parsed
  const auto look = [&](const std::string& line) {
    if (line.find(mention) != std::string::npos) last = line;
  };
  for_lines(log, look);
  const Json line = parse_json_if_whole(last).value_or(Json());
  if (holder.empty()) return finite_number(line, key);
  return line.is_object() && line.contains(holder) ? finite_number(line[std::string(holder)], key) : std::nullopt;
}

}  // namespace

std::vector<std::string_view> metric_names() {
  std::vector<std::string_view> names;
  for (const LoggedMetric& metric : metrics()) names.push_back(metric.name);
  return names;
}

const LoggedMetric& find_metric(std::string_view name) { return *std::ranges::find(metrics(), name, &LoggedMetric::name); }

std::string metric_problem(const LoggedMetric& metric, const RunConfig& config, std::string_view user) {
  if (metric.needs.empty()) return "";
  const Value value = get_field(*find_field(metric.needs), config);
  const bool is_off = value == Value{std::string()} || value == Value{std::vector<Value>{}} || value == Value{std::int64_t{0}} ||
                      value == Value{0.0};
  const std::string never = std::string(user) + " is " + std::string(metric.name) + ", which is never logged ",
                    needed(metric.needs);
  if (is_off)
    return never + "because " + needed + " is " + (as_number(value) ? "0" : "empty") + "; set " + needed +
           " or choose another metric";
  if (metric.of_halves && micro_batches_per_step(config) == 1)
    return never +
           "of steps with one micro-batch; set batch.micro_batch to at most half the step's sequences or choose another metric";
  return "";
}

std::optional<double> read_metric(const LoggedMetric& metric, const std::filesystem::path& run) {
  if (metric.place == Place::summary) return finite_number(read_json_if_whole(run / "summary.json"), metric.name);
  if (metric.place == Place::line) return last_number(run / "metrics.jsonl", metric.name, "");
  return last_number(run / "diagnostics.jsonl", metric.name, "all");
}

Formula stop_condition(const std::string& text, const std::string& where) {
  Formula formula(text, where);
  std::string names;
  for (const LoggedMetric& metric : metrics())
    if (metric.in_lines) names += (names.empty() ? "" : ", ") + std::string(metric.name);
  for (const std::string& key : formula.keys()) {
    const auto known = std::ranges::find(metrics(), key, &LoggedMetric::name);
    if (known == metrics().end() || !known->in_lines)
      throw Error(ExitCode::usage, "{}: \"{}\": no line of metrics.jsonl has {}; there are {}", where, text, key, names);
  }
  if (!formula.is_condition() || text.find('\'') != std::string::npos)
    throw Error(ExitCode::usage, "{}: \"{}\": is no condition on numbers; write one such as \"loss > 9\"", where, text);
  return formula;
}

}  // namespace temper
