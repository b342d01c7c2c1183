#include "sweep/report.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "config/parse.h"
#include "config/resolved.h"
#include "config/validate.h"
#include "io/error.h"
#include "io/json.h"
#include "io/process.h"
#include "io/text.h"
#include "io/text_table.h"
#include "sweep/metric.h"
#include "sweep/ranking_table.h"
#include "sweep/report_curves.h"

namespace temper {
namespace {

namespace fs = std::filesystem;
Json to_json(const std::optional<double>& number) { return number ? Json(*number) : Json(); }

/// A run as a sweep that varies nothing.
ReportSource open_run(const fs::path& folder) {
  SweepFile file;
  file.base = base_config(folder / "config.json");
  file.seeds = {file.base.seed};
  if (!metric_problem(find_metric(file.metric.name), file.base).empty()) file.metric.name = "loss";
  ReportSource source{make_sweep(std::move(file), folder), {}, true};
  const Trial& trial = source.sweep.rungs[0][0];
  source.plan.rungs.push_back({PlannedTrial{&trial, read_trial(folder, trial, source.sweep.file)}});
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

/// The distinct values of a column of columns(), as labels: numbers ascending, anything else in the sweep's order.
std::vector<Value> column_values(const Sweep& sweep, std::size_t column) {
  std::vector<Value> values;
  for (const Configuration& configuration : sweep.configurations) {
    const Value& label = configuration.labels[column];
    if (std::find(values.begin(), values.end(), label) == values.end()) values.push_back(label);
  }
  if (std::all_of(values.begin(), values.end(), [](const Value& value) { return as_number(value).has_value(); }))
    std::sort(values.begin(), values.end(), [](const Value& a, const Value& b) { return *as_number(a) < *as_number(b); });
  return values;
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
  for (const FieldDifference& field : compare(base, config))
    if (field.path != "seed") changes.push_back({{"key", field.path}, {"base", field.before}, {"value", field.after}});
  return changes;
}

/// The last lines of a failed trial's output.
Json failure_log(const fs::path& folder) {
  const Json failure = read_json_if_whole(folder / "failure.json");
  Json lines = Json::array();
  if (!failure.is_object() || !failure.contains("log")) return lines;
  for (const Json& line : failure["log"])
    if (line.is_string()) lines.push_back(line);
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
  if (fs::exists(folder / "config.json"))
    json["command"] = "temper train " + shell_word((folder / "config.json").string()) + " --out runs/" + trial.id;
  json["training"] = training_curve(folder, trial.config, limits);
  json["validation"] = validation_curve(folder, trial.config, limits);
  json["diagnostics"] = diagnostics_curves(folder, trial.config, limits);
  return json;
}

Json states_json(const SweepPlan& plan) {
  Json states;
  for (const TrialState state :
       {TrialState::finished, TrialState::stopped, TrialState::failed, TrialState::interrupted, TrialState::waiting})
    states[std::string(to_string(state))] = plan.count(state);
  states["to be chosen"] = plan.trials_to_come;
  return states;
}

constexpr std::size_t most_columns = 12, most_rows = 30;  // of a map; what is larger is a picture

/// A value as a chart shows it.
std::string value_text(const Value& value) { return terminal_text(label_text(value)); }

std::size_t widest(const std::vector<Value>& values, std::size_t least) {
  for (const Value& value : values) least = std::max(least, text_width(value_text(value)));
  return least;
}

/// What stands behind a figure: one character, so that columns stay aligned.
char mark(const SweepResult& result) {
  return result.tied_for_best ? '~' : result.place == 1 ? '*' : result.incomplete() ? '!' : ' ';
}

std::string figure(const SweepResult* result) {
  if (result == nullptr) return "-";
  return result->metric ? number_text(result->metric->mean) : result->failed > 0 ? "failed" : result->stopped > 0 ? "stopped" : "-";
}

std::string legend(const Ranking& ranking) {
  const std::vector<SweepResult>& results = ranking.results;
  std::string text = results.front().tied_for_best ? "~ may be the best: no difference is seen"
                     : ranking.winner              ? "* best"
                                                   : "* first";
  if (std::any_of(results.begin(), results.end(), [](const auto& one) { return one.failed > 0; })) text += "   ! trials failed";
  if (std::any_of(results.begin(), results.end(), [](const auto& one) { return one.stopped > 0; }))
    text += "   ! trials were stopped";
  return text + "\n";
}

/// The parameters that vary, as columns of columns(); ties follow from them.
std::vector<std::size_t> varying(const Sweep& sweep) {
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < sweep.file.parameters.size(); ++i)
    if (column_values(sweep, i).size() > 1) found.push_back(i);
  return found;
}

/// The best result with these labels; results are ranked.
const SweepResult* find_result(const Sweep& sweep, const std::vector<SweepResult>& results,
                               const std::vector<std::pair<std::size_t, const Value*>>& labels) {
  const auto at = std::find_if(results.begin(), results.end(), [&](const SweepResult& result) {
    return std::all_of(labels.begin(), labels.end(), [&](const auto& label) {
      return sweep.configurations[result.configuration].labels[label.first] == *label.second;
    });
  });
  return at == results.end() ? nullptr : &*at;
}

/// Colours of a map from best to worst, from light to dark: readable in black, then in white.
std::string painted(const std::string& text, double share) {
  constexpr int ramp[] = {185, 149, 114, 72, 66, 60, 54};
  constexpr int first_dark = 4;
  const auto step = static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * (std::size(ramp) - 1)));
  return "\033[48;5;" + std::to_string(ramp[step]) + (step < first_dark ? "m\033[38;5;16m" : "m\033[38;5;231m") + text + "\033[0m";
}

/// Places of the means between the best, 0, and the worst that is not far off, 1: at most ten times as far behind as the median, so
/// that the few that diverged do not flatten all others.
class Scale {
 public:
  Scale(const std::vector<SweepResult>& results, bool maximize)
      : best_(results.front().metric->mean), sign_(maximize ? -1.0 : 1.0) {
    std::vector<double> behind;
    for (const SweepResult& result : results)
      if (result.metric) behind.push_back(sign_ * (result.metric->mean - best_));
    std::sort(behind.begin(), behind.end());
    const double usual = behind[behind.size() / 2];
    for (const double one : behind)
      if (one <= 10.0 * usual) worst_ = one;
  }
  /// Below 0 is what is ranked behind the best for another reason, as trials that failed.
  double place(double mean) const { return worst_ > 0 ? sign_ * (mean - best_) / worst_ : 0.0; }

 private:
  double best_, sign_, worst_ = 0.0;
};

std::string map_text(const Sweep& sweep, const std::vector<SweepResult>& results, std::size_t down, std::size_t across,
                     bool colour) {
  const std::vector<Value> rows = column_values(sweep, down), tops = column_values(sweep, across);
  if (tops.size() > most_columns || rows.size() > most_rows) return "";
  if (2 * results.size() < rows.size() * tops.size()) return "";  // drawn at random: most cells would be empty
  const std::vector<std::string> names = columns(sweep.file);
  const Scale scale(results, sweep.file.metric.maximize());
  const std::string corner = terminal_text(names[down]);
  const std::size_t left = widest(rows, text_width(corner)), cell = widest(tops, 7);

  std::string text = std::string(left + 2, ' ') + terminal_text(names[across]) + "\n" + pad_left(corner, left);
  for (const Value& value : tops) text += "  " + pad_left(value_text(value), cell) + " ";
  text += "\n";
  for (const Value& row : rows) {
    text += pad_left(value_text(row), left);
    for (const Value& top : tops) {
      const SweepResult* result = find_result(sweep, results, {{down, &row}, {across, &top}});
      const bool known = result != nullptr && result->metric;
      const std::string whole = " " + pad_left(figure(result), cell) + (known ? mark(*result) : ' ');
      text += " " + (colour && known ? painted(whole, scale.place(result->metric->mean)) : whole);
    }
    text += "\n";
  }
  return text;
}

/// A line per value, with a dot where its mean lies and the standard deviation to both sides.
std::string dots_text(const Sweep& sweep, const std::vector<SweepResult>& results, std::size_t column) {
  constexpr int places = 48;
  const std::vector<Value> values = column_values(sweep, column);
  if (values.size() > most_rows) return "";
  const Scale scale(results, sweep.file.metric.maximize());
  const std::string name = terminal_text(columns(sweep.file)[column]);
  const std::size_t left = widest(values, text_width(name));
  const auto place = [&](double mean) {
    return static_cast<int>(std::lround(3 + std::clamp(scale.place(mean), -1.0, 2.0) * (places - 7)));
  };

  std::string text = pad_left(name, left) + "  " + pad_left(sweep.file.metric.name, 8) + "   better ─── worse\n";
  for (const Value& value : values) {
    const SweepResult* result = find_result(sweep, results, {{column, &value}});
    text += pad_left(value_text(value), left) + "  ";
    text += pad_left(figure(result), 8);
    if (result == nullptr || !result->metric) {
      text += "\n";
      continue;
    }
    const double sd = result->metric->sd.value_or(0.0), mean = result->metric->mean;
    const int at = place(mean);
    const int one_end = place(mean - sd), other_end = place(mean + sd);
    const int low = std::min(one_end, other_end), high = std::max(one_end, other_end);
    std::string line = std::string(" ") + mark(*result) + " ";
    for (int i = 0; i < places && at < places; ++i) line += i == at ? "●" : i >= low && i <= high ? "─" : " ";
    if (at >= places) line += std::string(places - 1, ' ') + "»";
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
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
  const RankingTable ranking(sweep, source.plan);
  const std::string folder = shell_word(sweep.folder.string());
  Json json;
  json["kind"] = source.is_run ? "run" : "sweep";
  json["folder"] = sweep.folder.string();
  json["name"] = sweep.file.base.name;
  json["method"] = to_string(sweep.file.method);
  json["metric"] = sweep.file.metric.name;
  json["goal"] = sweep.file.metric.maximize() ? "maximize" : "minimize";
  json["seeds"] = sweep.file.seeds;
  json["rungs"] = sweep.rungs.size();
  json["trials"] = states_json(source.plan);
  json["commands"] = Json::object();
  if (!source.is_run) {
    json["commands"]["best"] = best_command(source);
    json["commands"]["sweep"] = "temper sweep " + folder;
  }
  json["commands"]["report"] = "temper report " + folder;
  json["verdict"] = ranking.verdict();
  json["statistics"] = ranking.statistics();
  json["effects"] = effects_json(ranking.effects());
  json["fits"] = ranking.fits().json(true);
  json["parameters"] = parameters_json(sweep);
  json["configurations"] = Json::array();
  const CurveLimits limits = curve_limits(source.plan.known(), sweep.file.base.model.n_layer);
  for (std::size_t i = 0; i < ranking.results().size(); ++i) {
    const SweepResult& result = ranking.results()[i];
    Json one = ranking.json(i);
    one["changes"] = changes_json(sweep.file.base, sweep.trial(result.rung, result.configuration, 0).config);
    one["trials"] = Json::array();
    for (const PlannedTrial& planned : source.plan.rungs[result.rung])
      if (planned.trial->configuration == result.configuration) one["trials"].push_back(trial_json(source, planned, limits));
    json["configurations"].push_back(one);
  }
  return json_text(json) + "\n";
}

std::string best_command(const ReportSource& source) {
  const bool known = !source.is_run && rank_configurations(source.sweep, source.plan).results.front().metric.has_value();
  return known ? "temper train " + shell_word((source.sweep.folder / "best.json").string()) : "";
}

std::string run_text(const Sweep& sweep, const SweepPlan& plan) {
  const TrialStatus& status = plan.rungs.front().front().status;
  std::string text = sweep.file.base.name + ": " + std::string(to_string(status.state)) + ", " + std::to_string(status.steps) +
                     " of " + std::to_string(total_steps(sweep.file.base)) + " steps";
  if (status.metric) text += ", " + sweep.file.metric.name + " " + number_text(status.metric);
  return text + "\n";
}

std::string sweep_chart(const Sweep& sweep, const SweepPlan& plan, bool colour) {
  const Ranking ranking = rank_configurations(sweep, plan);
  const std::vector<SweepResult>& results = ranking.results;
  const std::vector<std::size_t> keys = varying(sweep);
  if (!results.front().metric || keys.empty() || keys.size() > 2) return "";
  const std::string text =
      keys.size() == 2 ? map_text(sweep, results, keys[0], keys[1], colour) : dots_text(sweep, results, keys[0]);
  return text.empty() ? "" : text + legend(ranking);
}

}  // namespace temper
