// A sweep in its folder: all trials it could come to, and how far they are.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sweep/statistics.h"
#include "sweep/sweep_file.h"
#include "sweep/trial_folder.h"
#include "sweep/trials.h"

namespace temper {

struct Sweep {
  SweepFile file;
  std::filesystem::path folder;
  std::vector<Configuration> configurations;
  std::vector<std::vector<Trial>> rungs;  ///< of each rung the trials of all configurations, seed by seed
  std::vector<std::string> notes;         ///< for people: see drop_repeated()

  const Trial& trial(std::size_t rung, std::size_t configuration, std::size_t seed) const {
    return rungs[rung][configuration * file.seeds.size() + seed];
  }
};

/// Expands and checks everything before anything runs; see configurations(), make_trials() and check_budget() for what is refused.
Sweep make_sweep(SweepFile file, std::filesystem::path folder);

struct PlannedTrial {
  const Trial* trial;
  TrialStatus status;

  bool ended() const { return status.state == TrialState::finished || status.state == TrialState::failed; }
};

/// Where a sweep stands, as its folders tell. Of halving it holds the rungs whose configurations are known: a rung begins when all
/// trials of the one before have ended.
struct SweepPlan {
  std::vector<std::vector<PlannedTrial>> rungs;
  std::size_t trials_to_come = 0;  ///< of rungs that are not known yet
  double flops_to_come = 0.0;      ///< at most

  std::size_t count(TrialState state) const;
  std::size_t known() const;
  bool ended() const;  ///< nothing is left to run, failed trials aside
};

SweepPlan read_plan(const Sweep& sweep);

/// Metrics that lie no further apart are equal: a measurement comes out the same to this precision, and not to more, whatever the
/// micro-batch and the number of ranks.
constexpr double equal_metrics = 1e-5;

/// A configuration with its seeds taken together.
struct SweepResult {
  std::size_t configuration = 0;
  std::size_t rung = 0;      ///< the furthest in which one of its trials ended
  std::size_t finished = 0;  ///< trials of that rung
  std::size_t failed = 0;
  std::optional<Estimate> metric;           ///< over the finished trials
  std::map<std::uint64_t, double> metrics;  ///< of the finished trials, by seed
  /// Of the differences from the best within the seeds that both have, in the same rung; none for the best itself. A seed is an
  /// initialisation and an order of the data, which configurations share and which sets trials apart more than most settings do.
  std::optional<Estimate> behind;
  bool tied_for_best = false;  ///< with others: `behind` is within equal_metrics or within its own interval
  std::size_t place = 0;       ///< from 1; those that tie for the best and those with equal metrics share one; 0 without a result
  bool shares_place = false;
};

/// Best first: of the furthest rung, without failed trials before those with some, by the metric; equal metrics in the
/// configurations' order. Last come configurations without a result.
std::vector<SweepResult> rank_configurations(const Sweep& sweep, const SweepPlan& plan);

/// What trials took so far.
struct Spent {
  double flops = 0.0;
  double seconds = 0.0;  ///< of training, trials side by side each counted
};
Spent spent(const SweepPlan& plan);

}  // namespace temper
