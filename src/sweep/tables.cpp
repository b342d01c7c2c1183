#include "sweep/tables.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/resolved.h"
#include "config/validate.h"
#include "io/file.h"
#include "io/json.h"
#include "io/text.h"
#include "io/text_table.h"
#include "sweep/ranking_table.h"
#include "sweep/scheduler.h"
#include "train/progress.h"

namespace temper {
namespace {

namespace fs = std::filesystem;
std::string results_json(const Sweep& sweep, const RankingTable& ranking) {
  Json json;
  json["metric"] = sweep.file.metric.name;
  json["goal"] = sweep.file.metric.maximize() ? "maximize" : "minimize";
  json["verdict"] = ranking.verdict();
  json["statistics"] = ranking.statistics();
  json["effects"] = effects_json(ranking.effects());
  json["fits"] = ranking.fits().json(false);
  json["configurations"] = Json::array();
  for (std::size_t i = 0; i < ranking.results().size(); ++i) {
    Json one = ranking.json(i);
    one["trials"] = Json::array();
    for (std::size_t seed = 0; seed < sweep.file.seeds.size(); ++seed)
      one["trials"].push_back(sweep.trial(ranking.results()[i].rung, ranking.results()[i].configuration, seed).id);
    json["configurations"].push_back(one);
  }
  return json_text(json, 2) + "\n";
}

std::string trials_csv(const Sweep& sweep, const SweepPlan& plan) {
  TextRows rows = {{"trial"}};
  for (const std::string& name : columns(sweep.file)) rows[0].push_back(name);
  rows[0].insert(rows[0].end(), {"seed", "steps", "state", sweep.file.metric.name, "failure"});
  for (const PlannedTrial* planned : plan.trials()) {
    const auto& [trial, status] = *planned;
    auto& row = rows.emplace_back(1, trial->id);
    for (const Value& label : sweep.configurations[trial->configuration].labels) row.push_back(label_text(label));
    row.insert(row.end(), {std::to_string(trial->seed), std::to_string(total_steps(trial->config)),
                           std::string(to_string(status.state)), status.metric ? to_text({*status.metric}) : "", status.failure});
  }
  return csv_table(rows);
}

double tokens_done(const PlannedTrial& planned) {
  return static_cast<double>(tokens_before(planned.trial->config, planned.status.steps));
}

std::string timing_csv(const SweepPlan& plan) {
  TextRows rows = {{"trial", "train_seconds", "tokens_per_second"}};
  for (const PlannedTrial* planned : plan.trials()) {
    const auto& [trial, status] = *planned;
    const double seconds = status.train_seconds;
    rows.push_back({trial->id, to_text({seconds}), seconds > 0 ? to_text({tokens_done(*planned) / seconds}) : ""});
  }
  return csv_table(rows);
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

void write_tables(const Sweep& sweep, const SweepPlan& plan, const fs::path& folder) {
  const RankingTable ranking(sweep, plan);
  const auto write = [&](const char* name, const std::string& text) { write_file_atomically(folder / name, text); };
  write("results.csv", ranking.csv());
  write("results.md", ranking.markdown());
  write("results.json", results_json(sweep, ranking));
  write("trials.csv", trials_csv(sweep, plan));
  write("timing.csv", timing_csv(plan));
  if (ranking.results().front().metric)
    write("best.json", best_config(sweep, ranking.results()));
  else
    fs::remove(folder / "best.json");
}

std::string timing_text(const Sweep& sweep, const SweepPlan& plan) {
  double tokens = 0.0, training = 0.0;
  std::vector<ProcessTimes> processes;
  for (const PlannedTrial* planned : plan.trials()) {
    const auto& [trial, status] = *planned;
    tokens += tokens_done(*planned);
    training += status.train_seconds;
    for (const ProcessTimes& times : read_processes(trial_folder(sweep.folder, *trial))) processes.push_back(times);
  }
  // The time in which at least one of them ran.
  std::sort(processes.begin(), processes.end(), [](const auto& a, const auto& b) { return a.started < b.started; });
  double busy = 0.0, until = 0.0, side_by_side = 0.0;
  for (const ProcessTimes& times : processes) {
    side_by_side += times.ended - times.started;
    busy += std::max(0.0, times.ended - std::max(until, times.started));
    until = std::max(until, times.ended);
  }
  if (busy == 0 || training == 0) return "";
  return fmt::format("{} of trials in {}, {:.1f} side by side on average: {} tokens/s together, {} tokens/s each\n",
                     format_duration(side_by_side), format_duration(busy), side_by_side / busy, format_count(tokens / busy),
                     format_count(tokens / training));
}

std::string cost_text(const Sweep& sweep, const SweepPlan& plan,
                      const std::function<std::optional<std::size_t>(const RunConfig&)>& memory_of) {
  const Spent so_far = spent(plan);
  double tokens = 0.0, flops = plan.flops_to_come;
  std::string text = "trial             state        tokens      FLOP      memory    training  what varies\n";
  for (const PlannedTrial* planned : plan.trials()) {
    const auto& [trial, status] = *planned;
    const double trial_tokens = static_cast<double>(tokens_of(trial->config));
    const std::string time = so_far.flops > 0 ? format_duration(trial->flops * so_far.seconds / so_far.flops) : "-";
    const std::optional<std::size_t> memory = memory_of(trial->config);
    text += fmt::format("{}  {:<11}  {:<10}  {:<8.2e}  {:<8}  {:<8}  {}, seed {}\n", trial->id, to_string(status.state),
                        format_count(trial_tokens), trial->flops, memory ? format_bytes(*memory) : "-", time,
                        shown(describe(sweep.file, sweep.configurations[trial->configuration])), trial->seed);
    tokens += trial_tokens;
    flops += trial->flops;
  }
  text += fmt::format("{} configurations x {} seeds, {} trials: {} tokens, {:.2e} FLOP\n", sweep.configurations.size(),
                      sweep.file.seeds.size(), plan.known() + plan.trials_to_come, format_count(tokens), flops);
  if (plan.trials_to_come > 0)
    text += std::to_string(plan.trials_to_come) + " of them are of later rungs, whose configurations the results will choose\n";
  return text + status_text(sweep, plan);
}

std::string status_text(const Sweep& sweep, const SweepPlan& plan) {
  std::string text;
  for (const TrialState state :
       {TrialState::finished, TrialState::stopped, TrialState::failed, TrialState::interrupted, TrialState::waiting})
    if (const std::size_t count = plan.count(state))
      text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + std::string(to_string(state));
  if (plan.trials_to_come > 0) text += ", " + std::to_string(plan.trials_to_come) + " to be chosen";
  if (const std::optional<double> left = seconds_left(plan); left && !plan.ended()) {
    const double at_once = static_cast<double>(sweep.file.resources.trials_at_once);
    text += "; about " + format_duration(*left / at_once) + " of training left";
  }
  return "trials: " + text + "\n";
}

}  // namespace temper
