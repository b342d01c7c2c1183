// Runs a sweep's trials until none is left, a signal comes, or the budget of seconds is spent.
#pragma once

#include <cstddef>

#include "sweep/executor.h"
#include "sweep/sweep.h"

namespace temper {

struct SweepOutcome {
  bool interrupted = false;  ///< by a signal; the trials that ran have saved
  bool out_of_seconds = false;
  std::size_t failed = 0;
  std::size_t left = 0;  ///< trials that have not ended, those of later rungs too
};

/// Starts trials in their order as there is room, and resumes those that were interrupted. What has finished never runs again; what
/// has failed runs again with `retry_failed` only. A trial that is killed from outside (SIGKILL, any signal that asks a run to
/// stop, exit 75) goes on, and counts as failed when that happens a fourth time without a step in between. Progress goes to stderr.
/// Remaining work that budget.seconds cannot hold, as far as earlier trials tell: Error(ExitCode::usage).
SweepOutcome run_sweep(const Sweep& sweep, Executor& executor, bool retry_failed);

/// Seconds that all that is left will take, trials one after the other; none before an earlier trial has been measured.
std::optional<double> seconds_left(const SweepPlan& plan);

}  // namespace temper
