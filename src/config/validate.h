// What must hold between the fields of a configuration, and the step counts that follow from them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "config/value.h"

namespace temper {

/// Everything wrong with a configuration, one line each with the numbers and the remedy; empty: it can run. Ranges first; where
/// one is violated, nothing else is looked at.
std::vector<std::string> config_problems(const RunConfig& config);

// The parts of config_problems(), which add their lines. Every value by itself is in its range.
/// Combinations of optimizer settings that mean nothing: the key, its value, why, and what to do instead.
void check_optimizer(const RunConfig& config, std::vector<std::string>& problems);
/// Schedules that do not fit into the run. The batch is valid.
void check_schedule(const RunConfig& config, std::vector<std::string>& problems);
/// Keys that are set although nothing reads them.
void check_unread(const RunConfig& config, std::vector<std::string>& problems);

/// Throws Error(ExitCode::usage) listing config_problems().
void validate(const RunConfig& config);

/// Throws Error(ExitCode::usage) with the lines; does nothing where there are none.
void refuse_problems(const std::vector<std::string>& problems);

/// A value as JSON without its quotation marks.
std::string bare_text(const Value& value);

// The following expect a configuration that passed validate(). Steps count from 0.

/// Optimizer steps of the run: train.steps, or those that train.tokens need, the last one rounded up.
std::int64_t total_steps(const RunConfig& config);
/// Steps of warmup in a run of `total` steps, 0 where none was asked for; a fraction is rounded to the nearest step, tokens up.
std::int64_t warmup_steps(const ScheduleConfig& schedule, std::int64_t total, std::int64_t tokens_per_step);
std::int64_t warmup_steps(const RunConfig& config);

/// Forward and backward passes of an optimizer step, over all ranks together, once the batch has grown.
std::int64_t micro_batches_per_step(const RunConfig& config);
/// Where batch.micro_batch is not decided yet, of one sequence.
std::int64_t tokens_of_micro_batch(const RunConfig& config);
/// The same of one step: while the batch grows, as many as come nearest to its tokens, and at least one.
std::int64_t micro_batches_at(const RunConfig& config, std::int64_t step);
/// The lengths into which windows of n_ctx tokens can be cut, rising to n_ctx: its divisors that are multiples of 8 or, where it is
/// no such multiple itself, of the power of two that divides it.
std::vector<std::int64_t> context_lengths(std::int64_t n_ctx);
/// From update `first` on, sequences have `length` tokens.
struct ContextStage {
  std::int64_t first, length;
};
/// The lengths that the sequences grow through, up to model.n_ctx, each as the line from context_start to n_ctx reaches it.
std::vector<ContextStage> context_stages(const RunConfig& config);
/// Tokens of a sequence in that step.
std::int64_t context_at(const RunConfig& config, std::int64_t step);
/// Tokens of all steps before `step`. Takes time in proportion to the steps over which the batch grows.
std::int64_t tokens_before(const RunConfig& config, std::int64_t step);

}  // namespace temper
