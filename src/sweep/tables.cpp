#include "sweep/tables.h"

#include <algorithm>
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

std::string four_decimals(const std::optional<double>& number) {
  if (!number) return "";
  char text[64];
  std::snprintf(text, sizeof(text), "%.4f", *number);
  return text;
}

void append_labels(std::vector<std::string>& cells, const Configuration& configuration) {
  for (const Value& label : configuration.labels) cells.push_back(label_text(label));
}

struct Ranked {
  const SweepResult* result;
  std::string rank;  // empty: no result to rank
};

std::vector<Ranked> numbered(const std::vector<SweepResult>& results) {
  std::vector<Ranked> rows;
  for (std::size_t i = 0; i < results.size(); ++i) rows.push_back({&results[i], results[i].mean ? std::to_string(i + 1) : ""});
  return rows;
}

std::string results_csv(const Sweep& sweep, const std::vector<SweepResult>& results) {
  const bool rungs = sweep.rungs.size() > 1;
  const std::string& metric = sweep.file.metric.name;
  std::vector<std::string> head = {"rank"};
  for (const std::string& name : columns(sweep.file)) head.push_back(name);
  if (rungs) head.push_back("rung");
  for (const std::string& name : {metric, metric + "_sd", metric + "_se", std::string("n"), std::string("failed")})
    head.push_back(name);
  head.push_back("tied_with_best");
  std::string text = csv_line(head);
  for (const Ranked& row : numbered(results)) {
    const SweepResult& result = *row.result;
    std::vector<std::string> cells = {row.rank};
    append_labels(cells, sweep.configurations[result.configuration]);
    if (rungs) cells.push_back(std::to_string(result.rung + 1));
    for (const auto& number : {result.mean, result.sd, result.error}) cells.push_back(exact(number));
    cells.push_back(std::to_string(result.finished));
    cells.push_back(std::to_string(result.failed));
    cells.push_back(result.tied_with_best ? "yes" : "");
    text += csv_line(cells);
  }
  return text;
}

std::string results_json(const Sweep& sweep, const std::vector<SweepResult>& results) {
  const auto number = [](const std::optional<double>& value) { return value ? Json(*value) : Json(); };
  const std::vector<std::string> names = columns(sweep.file);
  Json json;
  json["metric"] = sweep.file.metric.name;
  json["goal"] = sweep.file.metric.maximize ? "maximize" : "minimize";
  json["configurations"] = Json::array();
  for (const Ranked& row : numbered(results)) {
    const SweepResult& result = *row.result;
    const Configuration& configuration = sweep.configurations[result.configuration];
    Json one;
    one["rank"] = row.rank.empty() ? Json() : Json(std::stoll(row.rank));
    one["values"] = Json::object();
    for (std::size_t i = 0; i < names.size(); ++i) one["values"][names[i]] = Json::parse(to_text(configuration.labels[i]));
    one["rung"] = result.rung + 1;
    one["mean"] = number(result.mean);
    one["sd"] = number(result.sd);
    one["standard_error"] = number(result.error);
    one["n"] = result.finished;
    one["failed"] = result.failed;
    one["tied_with_best"] = result.tied_with_best;
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

std::string best_config(const Sweep& sweep, const SweepResult& best) {
  RunConfig config = sweep.trial(sweep.rungs.size() - 1, best.configuration, 0).config;
  constexpr std::size_t longest_name = 128;
  if (config.name.size() + 5 <= longest_name) config.name += "-best";
  return config_to_json(config);
}

}  // namespace

std::string results_markdown(const Sweep& sweep, const SweepPlan& plan) {
  const std::vector<SweepResult> results = rank_configurations(sweep, plan);
  const bool rungs = sweep.rungs.size() > 1;
  std::vector<std::string> head = {"rank"};
  for (const std::string& name : columns(sweep.file)) head.push_back(name);
  if (rungs) head.push_back("rung");
  for (const std::string& name : {sweep.file.metric.name, std::string("sd"), std::string("n"), std::string("")})
    head.push_back(name);
  std::string text = markdown_line(head) + markdown_line(std::vector<std::string>(head.size(), "---"));
  for (const Ranked& row : numbered(results)) {
    const SweepResult& result = *row.result;
    std::vector<std::string> cells = {row.rank};
    append_labels(cells, sweep.configurations[result.configuration]);
    if (rungs) cells.push_back(std::to_string(result.rung + 1));
    cells.push_back(four_decimals(result.mean));
    cells.push_back(four_decimals(result.sd));
    cells.push_back(std::to_string(result.finished));
    std::string note = result.tied_with_best ? "tied with the best" : "";
    if (result.failed > 0) note += (note.empty() ? "" : ", ") + std::to_string(result.failed) + " failed";
    cells.push_back(note);
    text += markdown_line(cells);
  }
  return text;
}

void write_tables(const Sweep& sweep, const SweepPlan& plan) {
  const std::vector<SweepResult> results = rank_configurations(sweep, plan);
  const auto write = [&](const char* name, const std::string& text) { write_file_atomically(sweep.folder / name, text); };
  write("results.csv", results_csv(sweep, results));
  write("results.md", results_markdown(sweep, plan));
  write("results.json", results_json(sweep, results));
  write("trials.csv", trials_csv(sweep, plan));
  write("timing.csv", timing_csv(plan));
  if (results.front().mean) {
    write("best.json", best_config(sweep, results.front()));
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
