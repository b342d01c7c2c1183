// What must hold between the fields of a configuration, and the step counts that follow from them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/run_config.h"

namespace temper {

/// Everything wrong with a configuration, one line each with the numbers and the remedy; empty: it can run. Ranges first; where
/// one is violated, nothing else is looked at.
std::vector<std::string> config_problems(const RunConfig& config);

/// Throws Error(ExitCode::usage) listing config_problems().
void validate(const RunConfig& config);

/// Throws Error(ExitCode::usage) with the lines; does nothing where there are none.
void refuse_problems(const std::vector<std::string>& problems);

// The following expect a configuration that passed validate().

/// Optimizer steps of the run: train.steps, or train.tokens rounded up to whole steps.
std::int64_t total_steps(const RunConfig& config);
/// Steps of warmup in a run of `total` steps, 0 where none was asked for; a fraction is rounded to the nearest step.
std::int64_t warmup_steps(const ScheduleConfig& schedule, std::int64_t total);
std::int64_t warmup_steps(const RunConfig& config);
/// Forward and backward passes of one optimizer step, over all ranks together.
std::int64_t micro_batches_per_step(const RunConfig& config);

}  // namespace temper
