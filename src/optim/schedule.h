// Learning-rate schedules: pure functions of the update's index, so that nothing about them needs saving.
#pragma once

#include <cstdint>

#include "config/run_config.h"

namespace temper {

/// A schedule for a run of `total` updates, k = 0 .. total-1; computed in double precision.
class Schedule {
 public:
  Schedule(const ScheduleConfig& config, std::int64_t total);

  /// The multiplier s_k in [0, 1]; the rate of update k is peak * s_k.
  /// Warmup over W updates: (k+1)/W, so that the first update moves and the last of the warmup has the full rate (llm.c).
  /// Then with x = (k-W)/(total-W) and f = min_ratio:
  ///   constant 1; linear 1 - (1-f) x; cosine f + (1-f) (1 + cos(pi x))/2;
  ///   wsd 1 until the last cooldown_fraction of the run (to the nearest update), then f + (1-f) (1 - sqrt(x')) with x' from 0 to 1
  ///   over it.
  /// Past the end: as at x = 1.
  double multiplier(std::int64_t k) const;
  std::int64_t warmup_steps() const { return warmup_; }

 private:
  ScheduleConfig config_;
  std::int64_t total_;
  std::int64_t warmup_;
};

}  // namespace temper
