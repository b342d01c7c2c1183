#include "sweep/sweep.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "config/validate.h"
#include "io/error.h"

namespace temper {
namespace {

/// One rung's trials of these configurations.
std::vector<PlannedTrial> read_rung(const Sweep& sweep, std::size_t rung, const std::vector<std::size_t>& configurations) {
  std::vector<PlannedTrial> trials;
  for (const std::size_t configuration : configurations) {
    for (std::size_t seed = 0; seed < sweep.file.seeds.size(); ++seed) {
      const Trial& trial = sweep.trial(rung, configuration, seed);
      trials.push_back({&trial, read_trial(trial_folder(sweep.folder, trial), trial, sweep.file.metric)});
    }
  }
  return trials;
}

bool has_ended(const std::vector<PlannedTrial>& rung) {
  return std::all_of(rung.begin(), rung.end(), [](const PlannedTrial& trial) { return trial.ended(); });
}

SweepResult summarize(std::size_t configuration, std::size_t rung, const std::vector<PlannedTrial>& trials) {
  SweepResult result;
  result.configuration = configuration;
  result.rung = rung;
  std::vector<double> values;
  for (const PlannedTrial& planned : trials) {
    if (planned.trial->configuration != configuration) continue;
    result.finished += planned.status.state == TrialState::finished;
    result.failed += planned.status.state == TrialState::failed;
    if (!planned.status.metric) continue;
    values.push_back(*planned.status.metric);
    result.metrics[planned.trial->seed] = *planned.status.metric;
  }
  if (!values.empty()) result.metric = estimate(values);
  return result;
}

/// Whether they compete for one place: anything else of a ranking comes before the metric.
bool comparable(const SweepResult& a, const SweepResult& b) {
  return a.metric && b.metric && a.rung == b.rung && (a.failed > 0) == (b.failed > 0);
}

std::optional<Estimate> difference(const SweepResult& a, const SweepResult& b) {
  std::vector<double> differences;
  for (const auto& [seed, metric] : a.metrics) {
    if (const auto other = b.metrics.find(seed); other != b.metrics.end()) differences.push_back(metric - other->second);
  }
  return differences.empty() ? std::nullopt : std::optional(estimate(differences));
}

/// Sorts best first, configurations without a result last, and gives places.
void sort_results(std::vector<SweepResult>& results, bool maximize) {
  const auto key = [&](const SweepResult& result) {
    const double mean = result.metric ? result.metric->mean : 0.0;
    return std::tuple(!result.metric, -static_cast<std::ptrdiff_t>(result.rung), result.failed > 0, maximize ? -mean : mean,
                      result.configuration);
  };
  std::sort(results.begin(), results.end(), [&](const SweepResult& a, const SweepResult& b) { return key(a) < key(b); });
  // The last digits of equal metrics decide nothing.
  for (auto first = results.begin(); first != results.end() && first->metric;) {
    const auto last = std::find_if(first + 1, results.end(), [&](const SweepResult& other) {
      return !comparable(*first, other) || std::abs(first->metric->mean - other.metric->mean) > equal_metrics;
    });
    const auto place = static_cast<std::size_t>(first - results.begin()) + 1;
    std::sort(first, last, [](const SweepResult& a, const SweepResult& b) { return a.configuration < b.configuration; });
    for (; first != last; ++first) first->place = place;
  }
}

/// The configurations that go on to the next rung, in their order.
std::vector<std::size_t> promoted(const Sweep& sweep, std::size_t rung, const std::vector<PlannedTrial>& trials,
                                  const std::vector<std::size_t>& configurations) {
  std::vector<SweepResult> results;
  results.reserve(configurations.size());
  for (const std::size_t configuration : configurations) results.push_back(summarize(configuration, rung, trials));
  sort_results(results, sweep.file.metric.maximize);
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

Sweep make_sweep(SweepFile file, std::filesystem::path folder) {
  Sweep sweep{std::move(file), std::move(folder), {}, {}, {}};
  sweep.configurations = configurations(sweep.file);
  sweep.notes = drop_repeated(sweep.file, sweep.configurations);
  // The longest first: what is wrong with a configuration itself is told as that.
  sweep.rungs.resize(rung_shares(sweep.file).size());
  for (std::size_t rung = sweep.rungs.size(); rung-- > 0;) sweep.rungs[rung] = make_trials(sweep.file, sweep.configurations, rung);
  check_rungs_grow(sweep);
  check_budget(sweep.file, sweep.rungs);
  return sweep;
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

std::size_t SweepPlan::count(TrialState state) const {
  std::size_t number = 0;
  for (const auto& rung : rungs) {
    for (const PlannedTrial& trial : rung) number += trial.status.state == state;
  }
  return number;
}

std::size_t SweepPlan::known() const {
  std::size_t number = 0;
  for (const auto& rung : rungs) number += rung.size();
  return number;
}

bool SweepPlan::ended() const { return count(TrialState::finished) + count(TrialState::failed) == known(); }

std::vector<SweepResult> rank_configurations(const Sweep& sweep, const SweepPlan& plan) {
  std::vector<SweepResult> results;
  for (std::size_t configuration = 0; configuration < sweep.configurations.size(); ++configuration) {
    SweepResult result;
    result.configuration = configuration;
    for (std::size_t rung = 0; rung < plan.rungs.size(); ++rung) {
      const SweepResult here = summarize(configuration, rung, plan.rungs[rung]);
      if (here.finished + here.failed > 0) result = here;
    }
    results.push_back(result);
  }
  sort_results(results, sweep.file.metric.maximize);
  SweepResult& best = results.front();
  std::map<std::size_t, std::size_t> sharing;
  for (SweepResult& result : results) {
    if (&result != &best && result.metric && result.rung == best.rung) result.behind = difference(result, best);
    if (result.behind && comparable(result, best)) {
      result.tied_for_best = std::abs(result.behind->mean) <= std::max(equal_metrics, result.behind->interval.value_or(0.0));
    }
    if (result.tied_for_best) result.place = best.place;
    best.tied_for_best |= result.tied_for_best;
    ++sharing[result.place];
  }
  for (SweepResult& result : results) result.shares_place = result.place > 0 && sharing[result.place] > 1;
  return results;
}

Spent spent(const SweepPlan& plan) {
  Spent all;
  for (const auto& rung : plan.rungs) {
    for (const PlannedTrial& planned : rung) {
      const double share = static_cast<double>(planned.status.steps) / static_cast<double>(total_steps(planned.trial->config));
      all.flops += share * planned.trial->flops;
      all.seconds += planned.status.train_seconds;
    }
  }
  return all;
}

}  // namespace temper
