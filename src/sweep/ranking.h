// The ranking of a sweep's configurations: means over seeds, differences from the best and which of them are seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sweep/statistics.h"
#include "sweep/sweep.h"

namespace temper {

/// Metrics that lie no further apart are equal: a measurement comes out the same to this precision, and not to more, whatever the
/// micro-batch and the number of ranks.
constexpr double equal_metrics = 1e-5;

/// A configuration with its seeds taken together.
struct SweepResult {
  std::size_t configuration = 0;
  std::size_t rung = 0;      ///< the furthest in which one of its trials ended
  std::size_t finished = 0;  ///< trials of that rung
  std::size_t failed = 0, stopped = 0;
  std::optional<Estimate> metric;    ///< over the finished trials
  SeedMetrics metrics;               ///< of the finished trials
  std::optional<Difference> behind;  ///< from the best, in the same rung; none for the best itself
  bool tied_for_best = false;        ///< with others: `behind` is not seen
  std::size_t place = 0;  ///< from 1; those that tie for the best and those with equal metrics share one; 0 without a result
  bool shares_place = false;

  /// Whether trials have no result and will have none.
  bool incomplete() const { return failed + stopped > 0; }
};

/// Whether it is more than equal_metrics and its interval leaves 0 out; nothing is seen without an interval.
bool seen(const Difference& difference);

/// Best first: of the furthest rung, without failed or stopped trials before those with some, by the metric; equal metrics in the
/// configurations' order. Last come configurations without a result.
struct Ranking {
  std::vector<SweepResult> results;
  std::optional<Noise> noise;      ///< of the rung of the best; none before two seeds
  std::size_t seeds = 0;           ///< the fewest that one of them has in common with the best; 0: nothing to compare
  std::optional<Difference> lead;  ///< of the best over the second, above 0 where it is the better; none where they do not compete
  bool winner = false;             ///< the best is seen to differ from all that compete with it
};

/// Sorts and judges; `maximize`: more is better.
Ranking rank_results(std::vector<SweepResult> results, bool maximize);

Ranking rank_configurations(const Sweep& sweep, const SweepPlan& plan);

/// These configurations by their trials at one rung, in the same order; without a judgement.
std::vector<SweepResult> rank_rung(const Sweep& sweep, std::size_t rung, const std::vector<PlannedTrial>& trials,
                                   const std::vector<std::size_t>& configurations);

/// What the ranking says: whether there is a winner, what was compared, the noise and what it hides; lines, empty before two results.
std::string verdict_text(const Sweep& sweep, const Ranking& ranking);

/// Four decimals, or powers of ten of what diverged.
std::string number_text(const std::optional<double>& number, bool sign = false);

/// With its interval.
std::string difference_text(const Difference& difference, bool sign);

}  // namespace temper
