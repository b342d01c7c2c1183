#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <numeric>

#include "config/fields.h"
#include "config/validate.h"

namespace temper {
namespace {

using Problems = std::vector<std::string>;

std::string text(std::int64_t number) { return std::to_string(number); }
std::string text(double number) { return to_text({number}); }

std::string three_digits(double number) { return fmt::format("{:.3g}", number); }

std::string warmup_as_given(const ScheduleConfig& schedule, std::int64_t warmup) {
  if (schedule.warmup_tokens) return "schedule.warmup_tokens is " + text(*schedule.warmup_tokens) + " = " + text(warmup) + " steps";
  return "schedule.warmup_steps is " + text(warmup);
}

/// The growing batch, on which the number of steps depends.
void check_batch_warmup(const RunConfig& config, Problems& problems) {
  const ScheduleConfig& schedule = config.schedule;
  if (schedule.batch_warmup_steps == 0) {
    if (schedule.batch_start_tokens)
      problems.push_back("schedule.batch_start_tokens is " + text(*schedule.batch_start_tokens) +
                         ", but schedule.batch_warmup_steps is 0; give both or neither");
    return;
  }
  const std::string growth = "schedule.batch_warmup_steps is " + text(schedule.batch_warmup_steps);
  if (!schedule.batch_start_tokens)
    problems.push_back(growth + ", but schedule.batch_start_tokens is not given; say how many tokens the first step has");
  if (schedule.batch_start_tokens.value_or(0) >= config.batch.tokens_per_step)
    problems.push_back("schedule.batch_start_tokens is " + text(*schedule.batch_start_tokens) +
                       ", not below batch.tokens_per_step = " + text(config.batch.tokens_per_step) +
                       ", so the batch could not grow; lower it");
  if (schedule.warmup_tokens)
    problems.push_back(growth + " and schedule.warmup_tokens " + text(*schedule.warmup_tokens) +
                       ", but while the batch grows steps differ in tokens; give the warmup as schedule.warmup_steps or "
                       "schedule.warmup_fraction");
}

/// The growing sequences.
void check_context_warmup(const RunConfig& config, std::int64_t steps, Problems& problems) {
  const std::int64_t n_ctx = config.model.n_ctx, growth = config.schedule.context_warmup_steps;
  const std::optional<std::int64_t>& start = config.schedule.context_start;
  const std::string grows = "schedule.context_warmup_steps is " + text(growth);
  if ((growth > 0) != start.has_value()) {
    problems.push_back(start ? "schedule.context_start is " + text(*start) + ", but " + grows + "; give both or neither"
                             : grows + ", but schedule.context_start is not given; say how long the first step's sequences are");
    return;
  }
  if (!start) return;
  if (growth > steps)
    problems.push_back(grows + ", but the run has " + text(steps) +
                       " steps; shorten the growth of the sequences or lengthen the run");
  std::vector<std::int64_t> lengths = context_lengths(n_ctx);
  lengths.pop_back();
  const auto above = std::lower_bound(lengths.begin(), lengths.end(), *start);
  if (above != lengths.end() && *above == *start) return;
  std::string nearest = above == lengths.begin() ? "" : text(*(above - 1));
  if (above != lengths.end()) nearest += (nearest.empty() ? "" : " or ") + text(*above);
  problems.push_back("schedule.context_start is " + text(*start) + ", but windows of model.n_ctx = " + text(n_ctx) +
                     " tokens are cut into equal shorter sequences, of a multiple of " + text(std::gcd(n_ctx, std::int64_t{8})) +
                     " tokens; " + (nearest.empty() ? "n_ctx allows none" : "nearest: " + nearest));
}

void check_warmups(const RunConfig& config, std::int64_t steps, std::int64_t warmup, Problems& problems) {
  const ScheduleConfig& schedule = config.schedule;
  const std::string run = "the run has " + text(steps) + " steps";
  if (warmup > steps)
    problems.push_back(warmup_as_given(schedule, warmup) + ", but " + run + "; shorten the warmup or lengthen the run");
  if (warmup > 0 && schedule.warmup_shape == WarmupShape::exponential && schedule.warmup_first == WarmupFirst::zero)
    problems.push_back(
        "schedule.warmup_shape is exponential, which cannot start from schedule.warmup_first zero; use percent, which starts at "
        "0.01");
  if (schedule.batch_warmup_steps > steps)
    problems.push_back("schedule.batch_warmup_steps is " + text(schedule.batch_warmup_steps) + ", but " + run +
                       "; shorten the growth of the batch or lengthen the run");
  if (schedule.momentum_warmup_steps + schedule.momentum_cooldown_steps > steps)
    problems.push_back("schedule.momentum_warmup_steps " + text(schedule.momentum_warmup_steps) +
                       " and schedule.momentum_cooldown_steps " + text(schedule.momentum_cooldown_steps) + " do not fit, since " +
                       run + "; shorten one of them");
}

void check_horizon(const ScheduleConfig& schedule, std::int64_t steps, std::int64_t warmup, Problems& problems) {
  const std::int64_t horizon = schedule.horizon_steps;
  if (horizon == 0) return;
  if (horizon <= warmup) {
    problems.push_back("schedule.horizon_steps is " + text(horizon) + ", within the warmup of " + text(warmup) +
                       " steps; raise it, or leave it away to end with the run");
  } else if (horizon < steps && schedule.min_ratio == 0.0) {
    problems.push_back("schedule.horizon_steps is " + text(horizon) + " with schedule.min_ratio 0, so the last " +
                       text(steps - horizon) + " of " + text(steps) +
                       " steps would have rate 0; give a min_ratio above 0 or a horizon of at least " + text(steps));
  }
}

void check_cooldown(const ScheduleConfig& schedule, std::int64_t steps, std::int64_t warmup, Problems& problems) {
  const std::int64_t cooldown = std::llround(schedule.cooldown_fraction * static_cast<double>(steps));
  if (warmup + cooldown > steps)
    problems.push_back("schedule: a warmup of " + text(warmup) + " steps and a cooldown of schedule.cooldown_fraction " +
                       text(schedule.cooldown_fraction) + " x " + text(steps) + " = " + text(cooldown) + " steps do not fit into " +
                       text(steps) + " steps; shorten one of them");
  if (schedule.cooldown_shape == CooldownShape::exponential && schedule.min_ratio == 0.0)
    problems.push_back(
        "schedule.cooldown_shape is exponential, which never reaches schedule.min_ratio 0; give a min_ratio above 0, such as 0.01");
}

void check_milestones(const ScheduleConfig& schedule, std::int64_t steps, std::int64_t warmup, Problems& problems) {
  const std::vector<double>& milestones = schedule.milestones;
  if (milestones.empty()) problems.push_back("schedule.milestones is empty; name at least one, or use schedule.name constant");
  for (std::size_t i = 0; i < milestones.size(); ++i) {
    const std::int64_t at = std::llround(milestones[i] * static_cast<double>(steps));
    if (i > 0 && milestones[i] <= milestones[i - 1])
      problems.push_back("schedule.milestones has " + text(milestones[i]) + " after " + text(milestones[i - 1]) +
                         "; write them in rising order");
    if (at < warmup)
      problems.push_back("schedule.milestones has " + text(milestones[i]) + ", which is step " + text(at) + " of " + text(steps) +
                         ", within the warmup of " + text(warmup) + " steps; shorten the warmup or drop the rate later");
  }
}

void check_cycles(const ScheduleConfig& schedule, std::int64_t steps, std::int64_t warmup, Problems& problems) {
  if (!schedule.cycle_steps) {
    problems.push_back("schedule.cycle_steps is not given; schedule.name restarts needs the length of the first cycle");
  } else if (warmup + *schedule.cycle_steps > steps) {
    problems.push_back("schedule.cycle_steps is " + text(*schedule.cycle_steps) + ", but after a warmup of " + text(warmup) +
                       " steps the run has " + text(steps - warmup) + " left; shorten the cycle or lengthen the run");
  } else {
    constexpr std::int64_t most_cycles = 100'000;  // which every step counts through
    const double first_cycles = static_cast<double>(steps - warmup) / static_cast<double>(*schedule.cycle_steps);
    const double growth = schedule.cycle_growth - 1.0;
    const double cycles = growth > 0.0 ? std::log1p(first_cycles * growth) / std::log1p(growth) : first_cycles;
    if (cycles > static_cast<double>(most_cycles))
      problems.push_back("schedule.cycle_steps is " + text(*schedule.cycle_steps) + " with schedule.cycle_growth " +
                         text(schedule.cycle_growth) + ", which makes about " + text(static_cast<std::int64_t>(cycles)) +
                         " cycles of the run; at most " + text(most_cycles) + " are allowed, so lengthen the cycle");
  }
}

void check_file(const ScheduleConfig& schedule, std::int64_t warmup, Problems& problems) {
  if (!schedule.file)
    problems.push_back(
        "schedule.file is not given; schedule.name file takes the rates from it: name a run's metrics.jsonl, or a CSV");
  if (warmup > 0)
    problems.push_back(warmup_as_given(schedule, warmup) +
                       ", but with schedule.name file the warmup is part of the file; remove it");
}

/// A curve that is below 1 where the warmup ends would drop from the peak at once.
void check_power(const ScheduleConfig& schedule, std::int64_t steps, std::int64_t warmup, Problems& problems) {
  const double left = std::pow(static_cast<double>(steps - warmup), schedule.power);
  if (steps > warmup && schedule.power_scale * left < 1.0)
    problems.push_back("schedule: power_scale " + text(schedule.power_scale) + " x (" + text(steps - warmup) +
                       " steps after warmup) to the power of " + text(schedule.power) + " is " +
                       three_digits(schedule.power_scale * left) +
                       ", so the rate would drop as the warmup ends; lengthen the run or raise schedule.power_scale to " +
                       three_digits(1.01 / left) + " or more");
}

}  // namespace

void check_schedule(const RunConfig& config, Problems& problems) {
  const std::size_t before = problems.size();
  check_batch_warmup(config, problems);
  if (problems.size() > before) return;  // without it the number of steps is not known

  const ScheduleConfig& schedule = config.schedule;
  if (config.optimizer.name == OptimizerName::schedule_free_adamw && schedule.name != ScheduleName::constant)
    problems.push_back("schedule.name is " + std::string(schedules[static_cast<std::size_t>(schedule.name)].text) +
                       " with optimizer.name schedule_free_adamw: its average of weights takes the place of a falling rate; set "
                       "schedule.name=constant, a warmup may stay");
  const std::int64_t steps = total_steps(config), warmup = warmup_steps(config);
  if (steps > most_steps) {
    problems.push_back("train.tokens is " + text(*config.train.tokens) + " = " + text(steps) + " steps, and a run has at most " +
                       text(most_steps) + "; lower it or raise batch.tokens_per_step");
  }
  check_warmups(config, steps, warmup, problems);
  check_context_warmup(config, steps, problems);
  if (warmup > steps) return;
  switch (schedule.name) {
    case ScheduleName::constant:
    case ScheduleName::inverse_sqrt:
      return;
    case ScheduleName::linear:
    case ScheduleName::cosine:
      return check_horizon(schedule, steps, warmup, problems);
    case ScheduleName::step:
      return check_milestones(schedule, steps, warmup, problems);
    case ScheduleName::wsd:
      return check_cooldown(schedule, steps, warmup, problems);
    case ScheduleName::restarts:
      return check_cycles(schedule, steps, warmup, problems);
    case ScheduleName::power:
      return check_power(schedule, steps, warmup, problems);
    case ScheduleName::file:
      return check_file(schedule, warmup, problems);
  }
}

}  // namespace temper
