#include "sweep/report.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "config/parse.h"
#include "config/resolved.h"
#include "config/validate.h"
#include "io/error.h"
#include "sweep/metric.h"
#include "sweep/report_curves.h"
#include "sweep/tables.h"

namespace temper {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

Json to_json(const Value& value) { return Json::parse(to_text(value)); }
Json to_json(const std::optional<double>& number) { return number ? Json(*number) : Json(); }

/// A run as a sweep that varies nothing.
ReportSource open_run(const fs::path& folder) {
  SweepFile file;
  file.base = base_config(folder / "config.json");
  file.seeds = {file.base.seed};
  if (!metric_problem(find_metric(file.metric.name), file.base).empty()) file.metric.name = "loss";
  ReportSource source{make_sweep(std::move(file), folder), {}, true};
  const Trial& trial = source.sweep.rungs[0][0];
  source.plan.rungs.push_back({PlannedTrial{&trial, read_trial(folder, trial, source.sweep.file.metric)}});
  return source;
}

/// How evenly numbers lie, 0: all gaps are equal.
double unevenness(const std::vector<double>& ascending) {
  const auto gaps = static_cast<double>(ascending.size() - 1);
  const double mean = (ascending.back() - ascending.front()) / gaps;
  double squares = 0.0;
  for (std::size_t i = 1; i < ascending.size(); ++i) squares += std::pow((ascending[i] - ascending[i - 1]) / mean - 1.0, 2.0);
  return squares / gaps;
}

/// How an axis shows a column's values: "linear", "logarithmic", or "even": a place each, for what has no distances or, as 0 beside
/// powers of ten, none that can be drawn.
std::string scale_of(const std::vector<Value>& values) {
  std::vector<double> positive, logarithms;
  if (std::any_of(values.begin(), values.end(), [](const Value& value) { return !as_number(value); })) return "even";
  if (*as_number(values.front()) < 0.0) return "linear";
  for (const Value& value : values) {
    const double number = *as_number(value);
    if (number == 0.0) continue;
    positive.push_back(number);
    logarithms.push_back(std::log(number));
  }
  constexpr double decade = 10.0;  // what lies closer together reads well either way
  if (positive.size() < 2 || positive.back() < decade * positive.front()) return "linear";
  if (positive.size() > 2 && unevenness(logarithms) > unevenness(positive)) return "linear";
  return positive.size() < values.size() ? "even" : "logarithmic";
}

Json parameters_json(const Sweep& sweep) {
  const std::vector<std::string> names = columns(sweep.file);
  Json all = Json::array();
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::vector<Value> values = column_values(sweep, i);
    Json one;
    one["name"] = names[i];
    one["tied"] = i >= sweep.file.parameters.size();
    one["scale"] = scale_of(values);
    one["values"] = Json::array();
    for (const Value& value : values) one["values"].push_back(to_json(value));
    all.push_back(one);
  }
  return all;
}

/// What a configuration has otherwise than the base, its seed aside.
Json changes_json(const RunConfig& base, const RunConfig& config) {
  Json changes = Json::array();
  for (const FieldDifference& field : compare(base, config)) {
    if (field.path != "seed") changes.push_back({{"key", field.path}, {"base", field.before}, {"value", field.after}});
  }
  return changes;
}

/// A word as a shell reads it.
std::string quoted(const std::string& word) {
  constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./,:@%";
  if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

/// The last lines of a failed trial's output.
Json failure_log(const fs::path& folder) {
  std::ifstream file(folder / "failure.json");
  const Json failure = Json::parse(file, nullptr, false);
  Json lines = Json::array();
  if (!failure.is_object() || !failure.contains("log")) return lines;
  for (const Json& line : failure["log"]) {
    if (line.is_string()) lines.push_back(line);
  }
  return lines;
}

Json trial_json(const ReportSource& source, const PlannedTrial& planned, const CurveLimits& limits) {
  const Trial& trial = *planned.trial;
  const fs::path folder = source.folder_of(trial);
  Json json;
  json["id"] = trial.id;
  json["seed"] = trial.seed;
  json["state"] = to_string(planned.status.state);
  json["steps_done"] = planned.status.steps;
  json["steps"] = total_steps(trial.config);
  json["metric"] = to_json(planned.status.metric);
  json["failure"] = planned.status.failure;
  json["log"] = planned.status.state == TrialState::failed ? failure_log(folder) : Json::array();
  json["command"] = "";
  if (fs::exists(folder / "config.json")) {
    json["command"] = "temper train " + quoted((folder / "config.json").string()) + " --out runs/" + trial.id;
  }
  json["training"] = training_curve(folder, trial.config, limits);
  json["validation"] = validation_curve(folder, trial.config, limits);
  json["diagnostics"] = diagnostics_curves(folder, trial.config, limits);
  return json;
}

Json states_json(const SweepPlan& plan) {
  Json states;
  for (const TrialState state : {TrialState::finished, TrialState::failed, TrialState::interrupted, TrialState::waiting}) {
    states[std::string(to_string(state))] = plan.count(state);
  }
  states["to be chosen"] = plan.trials_to_come;
  return states;
}

}  // namespace

fs::path ReportSource::folder_of(const Trial& trial) const { return is_run ? sweep.folder : trial_folder(sweep.folder, trial); }

ReportSource open_report(const fs::path& folder) {
  if (fs::exists(folder / "sweep.json")) {
    ReportSource source{make_sweep(open_sweep(folder), folder), {}, false};
    source.plan = read_plan(source.sweep);
    return source;
  }
  if (fs::exists(folder / "config.json") && fs::exists(folder / "metrics.jsonl")) return open_run(folder);
  const std::string what = fs::is_directory(folder)
                               ? " holds neither a sweep (sweep.json) nor a run (config.json and metrics.jsonl)"
                           : fs::exists(folder) ? " is not a folder"
                                                : " does not exist";
  throw Error(ExitCode::usage, folder.string() + what + "; name the --out folder of `temper sweep` or `temper train`");
}

std::string report_json(const ReportSource& source) {
  const Sweep& sweep = source.sweep;
  const std::vector<std::string> names = columns(sweep.file);
  const std::vector<SweepResult> results = rank_configurations(sweep, source.plan);
  const std::string folder = quoted(sweep.folder.string());
  Json json;
  json["kind"] = source.is_run ? "run" : "sweep";
  json["folder"] = sweep.folder.string();
  json["name"] = sweep.file.base.name;
  json["method"] = to_string(sweep.file.method);
  json["metric"] = sweep.file.metric.name;
  json["goal"] = sweep.file.metric.maximize ? "maximize" : "minimize";
  json["seeds"] = sweep.file.seeds;
  json["rungs"] = sweep.rungs.size();
  json["trials"] = states_json(source.plan);
  json["commands"] = Json::object();
  if (!source.is_run) {
    json["commands"]["best"] = best_command(source);
    json["commands"]["sweep"] = "temper sweep " + folder;
  }
  json["commands"]["report"] = "temper report " + folder;
  json["verdict"] = verdict_text(sweep, results);
  json["parameters"] = parameters_json(sweep);
  json["configurations"] = Json::array();
  const CurveLimits limits = curve_limits(source.plan.known(), sweep.file.base.model.n_layer);
  for (const SweepResult& result : results) {
    Json one = result_json(result);
    one["values"] = Json::object();
    const Configuration& configuration = sweep.configurations[result.configuration];
    for (std::size_t column = 0; column < names.size(); ++column) {
      one["values"][names[column]] = to_json(configuration.labels[column]);
    }
    one["changes"] = changes_json(sweep.file.base, sweep.trial(result.rung, result.configuration, 0).config);
    one["trials"] = Json::array();
    for (const PlannedTrial& planned : source.plan.rungs[result.rung]) {
      if (planned.trial->configuration == result.configuration) one["trials"].push_back(trial_json(source, planned, limits));
    }
    json["configurations"].push_back(one);
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string best_command(const ReportSource& source) {
  const bool known = !source.is_run && rank_configurations(source.sweep, source.plan).front().metric.has_value();
  return known ? "temper train " + quoted((source.sweep.folder / "best.json").string()) : "";
}

std::vector<Value> column_values(const Sweep& sweep, std::size_t column) {
  std::vector<Value> values;
  for (const Configuration& configuration : sweep.configurations) {
    const Value& label = configuration.labels[column];
    if (std::find(values.begin(), values.end(), label) == values.end()) values.push_back(label);
  }
  if (std::all_of(values.begin(), values.end(), [](const Value& value) { return as_number(value).has_value(); })) {
    std::sort(values.begin(), values.end(), [](const Value& a, const Value& b) { return *as_number(a) < *as_number(b); });
  }
  return values;
}

}  // namespace temper
