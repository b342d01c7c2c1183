// How far all trials are, on stderr: a line that rewrites itself on a terminal, a line per ended trial and per minute elsewhere.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "sweep/sweep.h"
#include "train/progress.h"

namespace temper {

class SweepProgress {
 public:
  SweepProgress();

  /// What is done already: it does not count for the rate.
  void begin(const SweepPlan& plan);
  /// Whether the line is old enough to be shown anew.
  bool due() const;
  void show(const SweepPlan& plan, std::size_t running);
  /// A trial finished or failed.
  void ended(const Sweep& sweep, const SweepPlan& plan, const PlannedTrial& trial);
  void note(const std::string& text) { line_.note(text); }

 private:
  using Clock = std::chrono::steady_clock;

  std::string summary(const SweepPlan& plan) const;
  double share(const SweepPlan& plan) const;

  Progress line_{1, 1};
  bool terminal_;
  Clock::time_point begin_ = Clock::now(), shown_ = Clock::now(), minute_ = Clock::now();
  double flops_before_ = 0.0;
};

}  // namespace temper
