// How rate, momentum, batch and length of sequences change over the run: all keys of the section. The formulas stand in optim/schedule.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "config/row.h"

namespace temper {

// Limits that keep every product of sizes within 64 bits: tokens_per_step * steps < 2^61, micro_batch * n_ctx <= 2^40.
inline constexpr std::int64_t most_steps = 1'000'000'000;
inline constexpr std::int64_t most_tokens = 1'000'000'000'000'000;
inline constexpr std::int64_t most_tokens_per_step = std::int64_t{1} << 31;

enum class ScheduleName { constant, linear, cosine, step, wsd, inverse_sqrt, restarts, power, file };
enum class WarmupShape { linear, exponential, cosine };
/// The multiplier of the first of W warmup updates.
enum class WarmupFirst {
  zero,      ///< k/W: 0
  one_step,  ///< (k+1)/W
  percent,   ///< 0.01 + 0.99 k/W
};
enum class CooldownShape { linear, one_minus_sqrt, cosine, one_minus_square, mirror_cosine, exponential };

/// What a schedule's name means.
struct ScheduleTraits {
  ScheduleName name;
  std::string_view text;   ///< as configurations spell it
  std::string_view reads;  ///< of the keys that say read_by(schedules), those that it reads
};
/// In the enumerators' order.
inline constexpr ScheduleTraits schedules[] = {
    {ScheduleName::constant, "constant", ""},
    {ScheduleName::linear, "linear", "min_ratio horizon_steps"},
    {ScheduleName::cosine, "cosine", "min_ratio horizon_steps"},
    {ScheduleName::step, "step", "milestones step_factor"},
    {ScheduleName::wsd, "wsd", "min_ratio cooldown_fraction cooldown_shape"},
    {ScheduleName::inverse_sqrt, "inverse_sqrt", ""},
    {ScheduleName::restarts, "restarts", "min_ratio cycle_steps cycle_growth"},
    {ScheduleName::power, "power", "power power_scale"},
    {ScheduleName::file, "file", "file file_column"},
};

struct ScheduleConfig {
  ScheduleName name = ScheduleName::cosine;
  std::optional<std::int64_t> warmup_steps = {};  // at most one of the three is given
  std::optional<double> warmup_fraction = {};
  std::optional<std::int64_t> warmup_tokens = {};
  WarmupShape warmup_shape = WarmupShape::linear;
  WarmupFirst warmup_first = WarmupFirst::one_step;
  double min_ratio = 0.0;
  std::int64_t horizon_steps = 0;
  double cooldown_fraction = 0.2;
  CooldownShape cooldown_shape = CooldownShape::one_minus_sqrt;
  std::vector<double> milestones = {0.3, 0.6, 0.8};
  double step_factor = 0.1;
  std::optional<std::int64_t> cycle_steps = {};
  double cycle_growth = 2.0;
  double power = 1.2;
  double power_scale = 1e-4;
  std::optional<std::string> file = {};
  std::string file_column = "learning_rate";
  std::int64_t momentum_warmup_steps = 0;
  double momentum_start = 0.85;
  std::int64_t momentum_cooldown_steps = 0;
  std::int64_t batch_warmup_steps = 0;
  std::optional<std::int64_t> batch_start_tokens = {};
  std::int64_t context_warmup_steps = 0;
  std::optional<std::int64_t> context_start = {};

  static void declare(auto& rows) {
    using Self = ScheduleConfig;
    using namespace row;
    constexpr std::int64_t longest_batch_warmup = 1'000'000;  // its steps are counted one by one
    const auto warms_up = [](const auto& c) {
      return c.schedule.warmup_steps.value_or(0) > 0 || c.schedule.warmup_fraction.value_or(0) > 0 ||
             c.schedule.warmup_tokens.value_or(0) > 0;
    };

    rows("name", &Self::name, also_called("lr_scheduler lr_schedule scheduler"), one_of(texts_of(schedules)),
         "rate after warmup: constant; linear or cosine fall to min_ratio; step drops at milestones; wsd holds and then cools "
         "down (with cooldown_shape linear: a trapezoid); inverse_sqrt falls as 1/sqrt(step); restarts repeats a cosine; power is "
         "min(1, power_scale x (steps left)^power); file is that of schedule.file");
    rows("warmup_steps", &Self::warmup_steps, also_called("warmup warmup_iters"), from(0), either("warmup"),
         "warmup of the rate in steps; 0, or none of the three keys: no warmup");
    rows("warmup_fraction", &Self::warmup_fraction, also_called("warmup warmup_ratio"), from(0), to(1), either("warmup"),
         "warmup as a share of the run, rounded to the nearest step");
    rows("warmup_tokens", &Self::warmup_tokens, also_called("warmup"), from(0), to(most_tokens), either("warmup"),
         "warmup in tokens, rounded up to whole steps");
    rows("warmup_shape", &Self::warmup_shape, one_of({"linear", "exponential", "cosine"}), read_by("a warmup", warms_up),
         or_ignored, "how the rate rises: linear, exponential (by the same factor each step, from 0.01) or cosine (half a wave)");
    rows("warmup_first", &Self::warmup_first, one_of({"zero", "one_step", "percent"}), read_by("a warmup", warms_up), or_ignored,
         "rate of the first of W warmup steps: zero as in nanoGPT before 2025, one_step 1/W of the way as in llm.c, percent 0.01 "
         "of the peak");
    rows("min_ratio", &Self::min_ratio, also_called("min_lr final_lr_fraction"), from(0), to(1), read_by(schedules),
         "rate at the end, as a share of the peak");
    rows("horizon_steps", &Self::horizon_steps, also_called("lr_decay_iters"), from(0), read_by(schedules),
         "the step at which min_ratio is reached, before or after the end of the run; 0: at its end");
    rows("cooldown_fraction", &Self::cooldown_fraction, also_called("warmdown_iters cooldown"), above(0), to(1), read_by(schedules),
         "last share of the run, in which the rate falls, rounded to the nearest step");
    rows("cooldown_shape", &Self::cooldown_shape, also_called("decay_shape"),
         one_of({"linear", "one_minus_sqrt", "cosine", "one_minus_square", "mirror_cosine", "exponential"}), read_by(schedules),
         "how it falls, x from 0 to 1: 1-x, 1-sqrt(x), (1+cos(pi x))/2, 1-x^2, 2(1-x)-(1+cos(pi x))/2, or min_ratio^x");
    rows("milestones", &Self::milestones, above(0), below(1), read_by(schedules),
         "shares of the run after which the rate drops, in rising order, each rounded to the nearest step");
    rows("step_factor", &Self::step_factor, also_called("gamma"), above(0), to(1), read_by(schedules),
         "what the rate is multiplied by at each milestone");
    rows("cycle_steps", &Self::cycle_steps, also_called("T_0"), from(1), read_by(schedules),
         "length of the first cycle, which begins after the warmup");
    rows("cycle_growth", &Self::cycle_growth, also_called("T_mult"), from(1), to(100), read_by(schedules),
         "each cycle is longer than the one before by this factor, rounded to the nearest step");
    rows("power", &Self::power, above(0), to(10), read_by(schedules), "the exponent");
    rows("power_scale", &Self::power_scale, above(0), to(1'000'000), read_by(schedules),
         "the rate of the last update, as a share of the peak");
    rows(
        "file", &Self::file, read_by(schedules),
        "rates by step, of which the largest is the peak: metrics.jsonl or diagnostics.jsonl of a run, or a CSV of step,rate; between "
        "lines the rate is interpolated");
    rows("file_column", &Self::file_column, read_by(schedules),
         "the number of a line of JSON that is the rate: learning_rate, or effective_rate of a run with diagnostics");
    rows("momentum_warmup_steps", &Self::momentum_warmup_steps, from(0),
         "steps over which the first moment's decay rate goes from momentum_start to its value, linearly");
    rows("momentum_start", &Self::momentum_start, from(0), below(1),
         read_by("schedule.momentum_warmup_steps and schedule.momentum_cooldown_steps above 0",
                 [](const auto& c) { return c.schedule.momentum_warmup_steps + c.schedule.momentum_cooldown_steps > 0; }),
         "decay rate of the first moment before its warmup and after its cooldown");
    rows("momentum_cooldown_steps", &Self::momentum_cooldown_steps, from(0),
         "last steps of the run, over which it goes back to momentum_start");
    rows("batch_warmup_steps", &Self::batch_warmup_steps, from(0), to(longest_batch_warmup),
         "steps over which a step's tokens grow from batch_start_tokens to batch.tokens_per_step, linearly, in whole "
         "micro-batches");
    rows("batch_start_tokens", &Self::batch_start_tokens, from(1), to(most_tokens_per_step),
         "tokens of the first step, rounded to whole micro-batches; given together with batch_warmup_steps");
    rows("context_warmup_steps", &Self::context_warmup_steps, also_called("total_curriculum_step"), from(0),
         as_before({std::int64_t{0}}),
         "steps over which sequences grow from context_start to model.n_ctx, linearly, rounded down to lengths that divide n_ctx: "
         "windows of n_ctx tokens are cut into so many sequences, and a step's tokens stay the same");
    rows("context_start", &Self::context_start, also_called("min_difficulty"), from(1), to(1 << 20),
         "tokens of the first step's sequences, which divide model.n_ctx and are a multiple of 8 where it is one; given together "
         "with context_warmup_steps");
  }
};

}  // namespace temper
