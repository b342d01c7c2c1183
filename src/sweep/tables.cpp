#include "sweep/tables.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "config/resolved.h"
#include "config/validate.h"
#include "io/file.h"
#include "sweep/scheduler.h"
#include "train/progress.h"

namespace temper {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// A cell as RFC 4180 has it.
std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::string csv_line(const std::vector<std::string>& cells) {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) line += (i == 0 ? "" : ",") + csv_cell(cells[i]);
  return line + "\n";
}

std::string markdown_line(const std::vector<std::string>& cells) {
  std::string line = "|";
  for (const std::string& cell : cells) {
    line += ' ';
    for (const char c : cell) line += c == '|' ? std::string("\\|") : std::string(1, c);
    line += " |";
  }
  return line + "\n";
}

/// All digits, so that the number can be computed with; empty where there is none.
std::string exact(const std::optional<double>& number) { return number ? to_text({*number}) : ""; }

void append_labels(std::vector<std::string>& cells, const Configuration& configuration) {
  for (const Value& label : configuration.labels) cells.push_back(label_text(label));
}

std::string results_csv(const Sweep& sweep, const std::vector<SweepResult>& results) {
  const bool rungs = sweep.rungs.size() > 1;
  const std::string& metric = sweep.file.metric.name;
  std::vector<std::string> head = {"rank"};
  for (const std::string& name : columns(sweep.file)) head.push_back(name);
  if (rungs) head.push_back("rung");
  for (const char* ending : {"", "_sd", "_ci95"}) head.push_back(metric + ending);
  for (const char* name : {"n", "failed", "behind_best", "behind_best_ci95", "tied_for_best"}) head.emplace_back(name);
  std::string text = csv_line(head);
  for (const SweepResult& result : results) {
    const Json known = result_json(result);
    const auto cell = [&](const char* key) { return known[key].is_null() ? "" : known[key].dump(); };
    std::vector<std::string> cells = {cell("rank")};
    append_labels(cells, sweep.configurations[result.configuration]);
    if (rungs) cells.push_back(cell("rung"));
    for (const char* key : {"mean", "sd", "interval", "n", "failed", "behind_best", "behind_best_interval"})
      cells.push_back(cell(key));
    cells.push_back(result.tied_for_best ? "yes" : "");
    text += csv_line(cells);
  }
  return text;
}

std::string results_json(const Sweep& sweep, const std::vector<SweepResult>& results) {
  const std::vector<std::string> names = columns(sweep.file);
  Json json;
  json["metric"] = sweep.file.metric.name;
  json["goal"] = sweep.file.metric.maximize ? "maximize" : "minimize";
  json["verdict"] = verdict_text(sweep, results);
  json["configurations"] = Json::array();
  for (const SweepResult& result : results) {
    const Configuration& configuration = sweep.configurations[result.configuration];
    Json one = result_json(result);
    one["values"] = Json::object();
    for (std::size_t i = 0; i < names.size(); ++i) one["values"][names[i]] = Json::parse(to_text(configuration.labels[i]));
    one["trials"] = Json::array();
    for (std::size_t seed = 0; seed < sweep.file.seeds.size(); ++seed) {
      one["trials"].push_back(sweep.trial(result.rung, result.configuration, seed).id);
    }
    json["configurations"].push_back(one);
  }
  return json.dump(2) + "\n";
}

template <class Visit>
void for_each_trial(const SweepPlan& plan, Visit visit) {
  for (const auto& rung : plan.rungs) {
    for (const PlannedTrial& planned : rung) visit(*planned.trial, planned.status);
  }
}

std::string trials_csv(const Sweep& sweep, const SweepPlan& plan) {
  std::vector<std::string> head = {"trial"};
  for (const std::string& name : columns(sweep.file)) head.push_back(name);
  for (const std::string& name : {std::string("seed"), std::string("steps"), std::string("state"), sweep.file.metric.name})
    head.push_back(name);
  head.push_back("failure");
  std::string text = csv_line(head);
  for_each_trial(plan, [&](const Trial& trial, const TrialStatus& status) {
    std::vector<std::string> cells = {trial.id};
    append_labels(cells, sweep.configurations[trial.configuration]);
    cells.push_back(std::to_string(trial.seed));
    cells.push_back(std::to_string(total_steps(trial.config)));
    cells.emplace_back(to_string(status.state));
    cells.push_back(exact(status.metric));
    cells.push_back(status.failure);
    text += csv_line(cells);
  });
  return text;
}

double tokens_done(const Trial& trial, const TrialStatus& status) {
  return static_cast<double>(tokens_before(trial.config, status.steps));
}

std::string timing_csv(const SweepPlan& plan) {
  std::string text = csv_line({"trial", "train_seconds", "tokens_per_second"});
  for_each_trial(plan, [&](const Trial& trial, const TrialStatus& status) {
    const std::optional<double> rate =
        status.train_seconds > 0 ? std::optional(tokens_done(trial, status) / status.train_seconds) : std::nullopt;
    text += csv_line({trial.id, to_text({status.train_seconds}), exact(rate)});
  });
  return text;
}

/// Its name says how many others are as good.
std::string best_config(const Sweep& sweep, const std::vector<SweepResult>& results) {
  RunConfig config = sweep.trial(sweep.rungs.size() - 1, results.front().configuration, 0).config;
  constexpr std::size_t longest_name = 128;
  const auto tied = std::count_if(results.begin(), results.end(), [](const SweepResult& result) { return result.tied_for_best; });
  const std::string ending = tied > 0 ? "-one-of-" + std::to_string(tied) + "-tied-for-best" : "-best";
  if (config.name.size() + ending.size() <= longest_name) config.name += ending;
  return config_to_json(config);
}

}  // namespace

nlohmann::ordered_json result_json(const SweepResult& result) {
  const auto number = [](const std::optional<double>& value) { return value ? Json(*value) : Json(); };
  const auto mean = [](const std::optional<Estimate>& of) { return of ? Json(of->mean) : Json(); };
  Json one;
  one["rank"] = result.metric ? Json(result.place) : Json();
  one["rung"] = result.rung + 1;
  one["mean"] = mean(result.metric);
  one["sd"] = result.metric ? number(result.metric->sd) : Json();
  one["interval"] = result.metric ? number(result.metric->interval) : Json();
  one["n"] = result.finished;
  one["failed"] = result.failed;
  one["behind_best"] = mean(result.behind);
  one["behind_best_interval"] = result.behind ? number(result.behind->interval) : Json();
  one["tied_for_best"] = result.tied_for_best;
  return one;
}

std::string number_text(const std::optional<double>& number, bool sign) {
  if (!number) return "";
  char text[64];
  std::snprintf(text, sizeof(text), std::abs(*number) < 1e5 ? "%+.4f" : "%+.2e", *number);
  return text + (*text == '+' && !sign ? 1 : 0);
}

std::vector<std::vector<std::string>> result_rows(const Sweep& sweep, const std::vector<SweepResult>& results, std::size_t most,
                                                  std::string (*shown)(const std::string&)) {
  const bool rungs = sweep.rungs.size() > 1;
  std::vector<std::vector<std::string>> rows = {{"rank"}};
  for (const std::string& name : columns(sweep.file)) rows[0].push_back(shown(name));
  if (rungs) rows[0].emplace_back("rung");
  for (const char* name : {sweep.file.metric.name.c_str(), "sd", "n", "behind", ""}) rows[0].emplace_back(name);
  for (std::size_t i = 0; i < std::min(most, results.size()); ++i) {
    const SweepResult& result = results[i];
    const auto &metric = result.metric, &behind = result.behind;
    std::vector<std::string> row = {metric ? std::to_string(result.place) + (result.shares_place ? "=" : "") : ""};
    for (const Value& label : sweep.configurations[result.configuration].labels) row.push_back(shown(label_text(label)));
    if (rungs) row.push_back(std::to_string(result.rung + 1));
    row.push_back(metric ? number_text(metric->mean) : "");
    row.push_back(metric ? number_text(metric->sd) : "");
    row.push_back(std::to_string(result.finished));
    row.push_back(behind ? number_text(behind->mean, true) : "");
    if (behind && behind->interval) row.back() += " ± " + number_text(behind->interval);
    std::string note = result.tied_for_best ? "tied for the best" : metric && result.place == 1 ? "best" : "";
    if (result.failed > 0) note += (note.empty() ? "" : ", ") + std::to_string(result.failed) + " failed";
    row.push_back(note);
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string verdict_text(const Sweep& sweep, const std::vector<SweepResult>& results) {
  if (results.size() < 2 || !results[1].metric) return "";
  std::size_t tied = 0, compared = 0, fewest = sweep.file.seeds.size();
  double widest = 0.0;  // of the differences that count as ties
  for (const SweepResult& result : results) {
    tied += result.tied_for_best;
    if (result.behind && result.tied_for_best) widest = std::max(widest, std::abs(result.behind->mean));
    if (!result.behind || !result.behind->interval) continue;
    ++compared;
    fewest = std::min(fewest, result.behind->n);
  }
  std::string text = "The first is the best.\n";
  if (tied > 0) {
    text = std::to_string(tied) + " configurations tie for the best: ";
    text += widest <= equal_metrics ? "their " + sweep.file.metric.name + " is the same within 1e-5, the precision of a measurement"
                                    : "what sets them apart is inside the noise";
    text += ". best.json is the first of them, and no winner.\n";
  }
  if (compared == 0) return text + "One seed tells nothing of the noise: no interval, and no difference is judged.\n";
  char rest[256];
  std::snprintf(
      rest, sizeof(rest),
      "%zu comparison%s with the best, each by a 95 %% interval of the differences within seeds (Student's t: with %zu seeds "
      "%.1f standard errors), not corrected for their number.\n",
      compared, compared == 1 ? "" : "s", fewest, student_t95(fewest - 1));
  return text + rest;
}

std::string results_markdown(const Sweep& sweep, const SweepPlan& plan) {
  const std::vector<SweepResult> results = rank_configurations(sweep, plan);
  const auto rows = result_rows(sweep, results, results.size(), [](const std::string& text) { return text; });
  std::string text = markdown_line(rows[0]) + markdown_line(std::vector<std::string>(rows[0].size(), "---"));
  for (std::size_t i = 1; i < rows.size(); ++i) text += markdown_line(rows[i]);
  const std::string verdict = verdict_text(sweep, results);
  return text + (verdict.empty() ? "" : "\n") + verdict;
}

void write_tables(const Sweep& sweep, const SweepPlan& plan) {
  const std::vector<SweepResult> results = rank_configurations(sweep, plan);
  const auto write = [&](const char* name, const std::string& text) { write_file_atomically(sweep.folder / name, text); };
  write("results.csv", results_csv(sweep, results));
  write("results.md", results_markdown(sweep, plan));
  write("results.json", results_json(sweep, results));
  write("trials.csv", trials_csv(sweep, plan));
  write("timing.csv", timing_csv(plan));
  if (results.front().metric) {
    write("best.json", best_config(sweep, results));
  } else {
    fs::remove(sweep.folder / "best.json");
  }
}

std::string timing_text(const Sweep& sweep, const SweepPlan& plan) {
  double tokens = 0.0, training = 0.0;
  std::vector<ProcessTimes> processes;
  for_each_trial(plan, [&](const Trial& trial, const TrialStatus& status) {
    tokens += tokens_done(trial, status);
    training += status.train_seconds;
    for (const ProcessTimes& times : read_processes(trial_folder(sweep.folder, trial))) processes.push_back(times);
  });
  // The time in which at least one of them ran.
  std::sort(processes.begin(), processes.end(), [](const auto& a, const auto& b) { return a.started < b.started; });
  double busy = 0.0, until = 0.0, side_by_side = 0.0;
  for (const ProcessTimes& times : processes) {
    side_by_side += times.ended - times.started;
    busy += std::max(0.0, times.ended - std::max(until, times.started));
    until = std::max(until, times.ended);
  }
  if (busy == 0 || training == 0) return "";
  char text[256];
  std::snprintf(text, sizeof(text), "%s of trials in %s, %.1f side by side on average: %s tokens/s together, %s tokens/s each\n",
                format_duration(side_by_side).c_str(), format_duration(busy).c_str(), side_by_side / busy,
                format_count(tokens / busy).c_str(), format_count(tokens / training).c_str());
  return text;
}

std::string cost_text(const Sweep& sweep, const SweepPlan& plan,
                      const std::function<std::optional<std::size_t>(const RunConfig&)>& memory_of) {
  const Spent so_far = spent(plan);
  double tokens = 0.0, flops = plan.flops_to_come;
  std::string text = "trial             state        tokens      FLOP      memory    training  what varies\n";
  for_each_trial(plan, [&](const Trial& trial, const TrialStatus& status) {
    const double trial_tokens = static_cast<double>(tokens_of(trial.config));
    const std::string time = so_far.flops > 0 ? format_duration(trial.flops * so_far.seconds / so_far.flops) : "-";
    const std::optional<std::size_t> memory = memory_of(trial.config);
    char line[160];
    std::snprintf(line, sizeof(line), "%s  %-11s  %-10s  %-8.2e  %-8s  %-8s  ", trial.id.c_str(),
                  std::string(to_string(status.state)).c_str(), format_count(trial_tokens).c_str(), trial.flops,
                  memory ? format_bytes(*memory).c_str() : "-", time.c_str());
    text += line + describe(sweep.file, sweep.configurations[trial.configuration]) + ", seed " + std::to_string(trial.seed) + "\n";
    tokens += trial_tokens;
    flops += trial.flops;
  });
  char sum[256];
  std::snprintf(sum, sizeof(sum), "%zu configurations x %zu seeds, %zu trials: %s tokens, %.2e FLOP\n", sweep.configurations.size(),
                sweep.file.seeds.size(), plan.known() + plan.trials_to_come, format_count(tokens).c_str(), flops);
  text += sum;
  if (plan.trials_to_come > 0) {
    text += std::to_string(plan.trials_to_come) + " of them are of later rungs, whose configurations the results will choose\n";
  }
  return text + status_text(sweep, plan);
}

std::string status_text(const Sweep& sweep, const SweepPlan& plan) {
  std::string text;
  for (const TrialState state : {TrialState::finished, TrialState::failed, TrialState::interrupted, TrialState::waiting}) {
    if (const std::size_t count = plan.count(state))
      text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + std::string(to_string(state));
  }
  if (plan.trials_to_come > 0) text += ", " + std::to_string(plan.trials_to_come) + " to be chosen";
  if (const std::optional<double> left = seconds_left(plan); left && !plan.ended()) {
    const double at_once = static_cast<double>(sweep.file.resources.trials_at_once);
    text += "; about " + format_duration(*left / at_once) + " of training left";
  }
  return "trials: " + text + "\n";
}

}  // namespace temper
