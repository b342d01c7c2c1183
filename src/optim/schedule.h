// Learning-rate schedules: pure functions of the update's index, so that nothing about them needs saving.
#pragma once

#include <cstdint>
#include <vector>

#include "config/run_config.h"
#include "optim/schedule_file.h"

namespace temper {

/// A schedule for a run of T = `total` updates, k = 0 .. T-1, of which W warm up; computed in double precision.
///
/// Warmup, k < W, with p = k/W, or (k+1)/W where the first value is one_step: p (linear), (1 - cos(pi p))/2 (cosine) or 0.01^(1-p)
/// (exponential). Where the first value is percent, linear and cosine run from 0.01 to 1.
///
/// Then, with f = min_ratio, x the share done of the stretch from W to the horizon or the end:
///   constant      1
///   linear        1 - (1-f) x
///   cosine        f + (1-f) (1 + cos(pi x))/2
///   step          step_factor to the power of the milestones m with k >= m T
///   wsd           1 until T-D, D = cooldown_fraction T; then f + (1-f) shape(x), or f^x (exponential), with x the share done of D
///   inverse_sqrt  sqrt(max(W, 1)/(k+1))
///   restarts      cosine, with x the share done of the cycle. Cycles follow one another from W on, each longer than the last by
///                 cycle_growth; the first update of a cycle has x = 0, the full rate. Loshchilov & Hutter, arXiv 1608.03983
///   power         min(1, power_scale (T-k)^power)
///   file          the file's rate for step k+1 over its largest one
/// The last update is k = T-1, so that "to 0" ends one update short of it. m T, D and cycles are rounded to the nearest update.
class Schedule {
 public:
  /// `tokens_per_step` turns a warmup given in tokens into updates. Reads schedule.file (read_rates), where the name is `file`.
  Schedule(const ScheduleConfig& config, std::int64_t total, std::int64_t tokens_per_step);

  /// The multiplier s_k in [0, 1]; the rate of update k is peak * s_k. Past the end: as at k = T (restarts and file: as at T-1).
  double multiplier(std::int64_t k) const;
  /// What the weight decay of update k is multiplied with, beside what its mode does with the rate: linear and cosine fall to 0
  /// over the whole run.
  double decay_multiplier(DecaySchedule shape, std::int64_t k) const;
  /// The first moment's decay rate at update k, where `value` is the one that is held.
  double momentum(double value, std::int64_t k) const;
  /// Updates of the restart cycle that update k belongs to (the first one's during warmup, the last one's in full); the run's
  /// without restarts. Normalized weight decay goes by it.
  std::int64_t cycle_length(std::int64_t k) const;

  std::int64_t total() const { return total_; }
  std::int64_t warmup_steps() const { return warmup_; }

 private:
  struct Cycle {
    std::int64_t begin, length;  // in updates
  };
  const Cycle& cycle_at(std::int64_t k) const;

  ScheduleConfig config_;
  std::int64_t total_;
  std::int64_t warmup_;
  std::vector<RatePoint> rates_ = {};  // of schedule.name file
  std::vector<Cycle> cycles_ = {};     // of schedule.name restarts
};

}  // namespace temper
