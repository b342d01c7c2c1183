#include "sweep/sweep.h"

#include <algorithm>

#include "config/validate.h"
#include "io/error.h"
#include "sweep/metric.h"
#include "sweep/ranking.h"

namespace temper {
namespace {

/// One rung's trials of these configurations.
std::vector<PlannedTrial> read_rung(const Sweep& sweep, std::size_t rung, const std::vector<std::size_t>& configurations) {
  std::vector<PlannedTrial> trials;
  for (const std::size_t configuration : configurations) {
    for (std::size_t seed = 0; seed < sweep.file.seeds.size(); ++seed) {
      const Trial& trial = sweep.trial(rung, configuration, seed);
      const std::filesystem::path folder = trial_folder(sweep.folder, trial);
      check_trial_folder(folder, trial);
      trials.push_back({&trial, read_trial(folder, trial, sweep.file)});
    }
  }
  return trials;
}

bool has_ended(const std::vector<PlannedTrial>& rung) {
  return std::all_of(rung.begin(), rung.end(), [](const PlannedTrial& trial) { return trial.ended(); });
}

/// The configurations that go on to the next rung, in their order.
std::vector<std::size_t> promoted(const Sweep& sweep, std::size_t rung, const std::vector<PlannedTrial>& trials,
                                  const std::vector<std::size_t>& configurations) {
  std::vector<SweepResult> results = rank_rung(sweep, rung, trials, configurations);
  std::erase_if(results, [](const SweepResult& result) { return !result.metric; });
  results.resize(std::min(results.size(), rung_size(sweep.file, rung + 1, sweep.configurations.size())));
  std::vector<std::size_t> chosen;
  chosen.reserve(results.size());
  for (const SweepResult& result : results) chosen.push_back(result.configuration);
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

void check_rungs_grow(const Sweep& sweep) {
  for (std::size_t rung = 1; rung < sweep.rungs.size(); ++rung) {
    for (std::size_t i = 0; i < sweep.rungs[rung].size(); ++i) {
      const std::int64_t before = total_steps(sweep.rungs[rung - 1][i].config), after = total_steps(sweep.rungs[rung][i].config);
      if (before < after) continue;
      throw Error(ExitCode::usage, "halving: two rungs have " + std::to_string(before) + " and " + std::to_string(after) +
                                       " steps; give halving.rungs that are further apart, or longer runs");
    }
  }
}

}  // namespace

/// Results on different samples say nothing of each other.
void check_measured_alike(const Sweep& sweep) {
  const LoggedMetric& metric = find_metric(sweep.file.metric.name);
  if (metric.share.empty()) return;
  for (const Configuration& configuration : sweep.configurations)
    for (const Entry& entry : configuration.settings)
      if (entry.path == metric.needs || entry.path == metric.share)
        throw Error(ExitCode::usage,
                    "{}: {} decides what metric.name {} is measured on, so configurations that differ in it cannot be "
                    "ranked by it; take it out of the sweep, or choose another metric",
                    entry.where, entry.path, metric.name);
}

Sweep make_sweep(SweepFile file, std::filesystem::path folder) {
  Sweep sweep{std::move(file), std::move(folder), {}, {}, {}};
  sweep.configurations = configurations(sweep.file);
  check_measured_alike(sweep);
  sweep.notes = drop_repeated(sweep.file, sweep.configurations);
  // The longest first: what is wrong with a configuration itself is told as that.
  sweep.rungs.resize(rung_shares(sweep.file).size());
  for (std::size_t rung = sweep.rungs.size(); rung-- > 0;) sweep.rungs[rung] = make_trials(sweep.file, sweep.configurations, rung);
  check_rungs_grow(sweep);
  check_budget(sweep.file, sweep.rungs);
  return sweep;
}

double PlannedTrial::done() const { return static_cast<double>(status.steps) / static_cast<double>(total_steps(trial->config)); }

void SeenInputs::add(const Trial& trial, const std::map<std::string, std::string>& inputs, const std::string& who) {
  for (const auto& [key, fingerprint] : inputs) {
    const Field* field = find_field(key);
    if (field == nullptr) continue;
    const std::string name = key + " " + to_text(get_field(*field, trial.config));
    const auto [first, is_new] = seen_.emplace(name, Seen{fingerprint, who});
    if (is_new || first->second.fingerprint == fingerprint) continue;
    throw Error(ExitCode::data,
                "{} is not the same for all trials: {} found {} there, {} {}. Their results cannot be compared: put back what was "
                "there, or remove the folders of the trials that ran on what is not wanted, and run the sweep again",
                name, first->second.who, first->second.fingerprint, who, fingerprint);
  }
}

SeenInputs inputs_of(const SweepPlan& plan) {
  SeenInputs seen;
  for (const PlannedTrial* planned : plan.trials())
    seen.add(*planned->trial, planned->status.inputs, "trial " + planned->trial->id);
  return seen;
}

SweepPlan read_plan(const Sweep& sweep) {
  SweepPlan plan;
  std::vector<std::size_t> configurations(sweep.configurations.size());
  for (std::size_t i = 0; i < configurations.size(); ++i) configurations[i] = i;
  std::size_t rung = 0;
  while (true) {
    plan.rungs.push_back(read_rung(sweep, rung, configurations));
    if (rung + 1 == sweep.rungs.size() || !has_ended(plan.rungs[rung])) break;
    configurations = promoted(sweep, rung, plan.rungs[rung], configurations);
    if (configurations.empty()) break;  // everything failed
    ++rung;
  }
  inputs_of(plan);
  if (has_ended(plan.rungs.back())) return plan;
  for (++rung; rung < sweep.rungs.size(); ++rung) {
    const std::size_t trials = rung_size(sweep.file, rung, sweep.configurations.size()) * sweep.file.seeds.size();
    double largest = 0.0;
    for (const Trial& trial : sweep.rungs[rung]) largest = std::max(largest, trial.flops);
    plan.trials_to_come += trials;
    plan.flops_to_come += largest * static_cast<double>(trials);
  }
  return plan;
}

std::vector<const PlannedTrial*> SweepPlan::trials() const {
  std::vector<const PlannedTrial*> all;
  for (const auto& rung : rungs)
    for (const PlannedTrial& planned : rung) all.push_back(&planned);
  return all;
}

std::size_t SweepPlan::count(TrialState state) const {
  std::size_t number = 0;
  for (const PlannedTrial* planned : trials()) number += planned->status.state == state;
  return number;
}

bool SweepPlan::ended() const { return std::ranges::all_of(trials(), &PlannedTrial::ended); }

double SweepPlan::flops_left() const {
  double flops = flops_to_come;
  for (const PlannedTrial* planned : trials())
    if (!planned->ended()) flops += (1.0 - planned->done()) * planned->trial->flops;
  return flops;
}

Spent spent(const SweepPlan& plan) {
  Spent all;
  for (const PlannedTrial* planned : plan.trials()) {
    all.flops += planned->done() * planned->trial->flops;
    all.seconds += planned->status.train_seconds;
  }
  return all;
}

}  // namespace temper
