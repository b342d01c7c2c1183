// Rows of the schedule. The formulas stand in optim/schedule.h.
#include "config/field_rows.h"

namespace temper {

void add_schedule_fields(std::vector<Field>& fields) {
  using enum ResumeClass;
  constexpr std::int64_t longest_batch_warmup = 1'000'000;  // its steps are counted one by one
  const std::vector<Field> rows = {
      {"schedule.name",
       choice([](auto& c) -> auto& { return c.schedule.name; },
              {"constant", "linear", "cosine", "step", "wsd", "inverse_sqrt", "restarts", "power"}),
       trajectory,
       "rate after warmup: constant; linear or cosine fall to min_ratio; step drops at milestones; wsd holds and then cools down "
       "(with "
       "cooldown_shape linear: a trapezoid); inverse_sqrt falls as 1/sqrt(step); restarts repeats a cosine; power is "
       "min(1, power_scale x (steps left)^power)"},
      {"schedule.warmup_steps",
       IntegerKind{IntegerMember([](auto& c) -> auto& { return c.schedule.warmup_steps; }), 0, most_steps, -1}, trajectory,
       "warmup of the rate in steps; 0, or none of the three keys: no warmup", "warmup"},
      {"schedule.warmup_fraction",
       NumberKind{NumberMember([](auto& c) -> auto& { return c.schedule.warmup_fraction; }), 0, 1, false, false, -1.0}, trajectory,
       "warmup as a share of the run, rounded to the nearest step", "warmup"},
      {"schedule.warmup_tokens",
       IntegerKind{IntegerMember([](auto& c) -> auto& { return c.schedule.warmup_tokens; }), 0, most_tokens, -1}, trajectory,
       "warmup in tokens, rounded up to whole steps", "warmup"},
      {"schedule.warmup_shape",
       choice([](auto& c) -> auto& { return c.schedule.warmup_shape; }, {"linear", "exponential", "cosine"}), trajectory,
       "how the rate rises: linear, exponential (by the same factor each step, from 0.01) or cosine (half a wave)"},
      {"schedule.warmup_first", choice([](auto& c) -> auto& { return c.schedule.warmup_first; }, {"zero", "one_step", "percent"}),
       trajectory,
       "rate of the first of W warmup steps: zero as in nanoGPT, one_step 1/W of the way as in llm.c, percent 0.01 of the peak"},
      {"schedule.min_ratio", NumberKind{NumberMember([](auto& c) -> auto& { return c.schedule.min_ratio; }), 0, 1}, trajectory,
       "linear, cosine, wsd, restarts: rate at the end, as a share of the peak"},
      {"schedule.horizon_steps",
       IntegerKind{IntegerMember([](auto& c) -> auto& { return c.schedule.horizon_steps; }), 0, most_steps}, trajectory,
       "linear, cosine: the step at which min_ratio is reached, before or after the end of the run; 0: at its end"},
      {"schedule.cooldown_fraction",
       NumberKind{NumberMember([](auto& c) -> auto& { return c.schedule.cooldown_fraction; }), 0, 1, true}, trajectory,
       "wsd: last share of the run, in which the rate falls, rounded to the nearest step"},
      {"schedule.cooldown_shape",
       choice([](auto& c) -> auto& { return c.schedule.cooldown_shape; },
              {"linear", "one_minus_sqrt", "cosine", "one_minus_square", "mirror_cosine", "exponential"}),
       trajectory,
       "wsd: how it falls, x from 0 to 1: 1-x, 1-sqrt(x), (1+cos(pi x))/2, 1-x^2, 2(1-x)-(1+cos(pi x))/2, or min_ratio^x"},
      {"schedule.milestones", NumberListKind{NumbersMember([](auto& c) -> auto& { return c.schedule.milestones; }), 0, 1},
       trajectory, "step: shares of the run after which the rate drops, in rising order, each rounded to the nearest step"},
      {"schedule.step_factor", NumberKind{NumberMember([](auto& c) -> auto& { return c.schedule.step_factor; }), 0, 1, true},
       trajectory, "step: what the rate is multiplied with at each milestone"},
      {"schedule.cycle_steps",
       IntegerKind{IntegerMember([](auto& c) -> auto& { return c.schedule.cycle_steps; }), 1, most_steps, 0}, trajectory,
       "restarts: length of the first cycle, which begins after the warmup"},
      {"schedule.cycle_growth", NumberKind{NumberMember([](auto& c) -> auto& { return c.schedule.cycle_growth; }), 1, 100},
       trajectory, "restarts: each cycle is longer than the one before by this factor, rounded to the nearest step"},
      {"schedule.power", NumberKind{NumberMember([](auto& c) -> auto& { return c.schedule.power; }), 0, 10, true}, trajectory,
       "power: the exponent"},
      {"schedule.power_scale",
       NumberKind{NumberMember([](auto& c) -> auto& { return c.schedule.power_scale; }), 0, 1'000'000, true}, trajectory,
       "power: the rate of the last update, as a share of the peak"},
      {"schedule.momentum_warmup_steps",
       IntegerKind{IntegerMember([](auto& c) -> auto& { return c.schedule.momentum_warmup_steps; }), 0, most_steps}, trajectory,
       "steps over which the first moment's decay rate goes from momentum_start to its value, linearly"},
      {"schedule.momentum_start",
       NumberKind{NumberMember([](auto& c) -> auto& { return c.schedule.momentum_start; }), 0, 1, false, true}, trajectory,
       "decay rate of the first moment before its warmup and after its cooldown"},
      {"schedule.momentum_cooldown_steps",
       IntegerKind{IntegerMember([](auto& c) -> auto& { return c.schedule.momentum_cooldown_steps; }), 0, most_steps}, trajectory,
       "last steps of the run, over which it goes back to momentum_start"},
      {"schedule.batch_warmup_steps",
       IntegerKind{IntegerMember([](auto& c) -> auto& { return c.schedule.batch_warmup_steps; }), 0, longest_batch_warmup},
       trajectory,
       "steps over which a step's tokens grow from batch_start_tokens to batch.tokens_per_step, linearly, in whole micro-batches"},
      {"schedule.batch_start_tokens",
       IntegerKind{IntegerMember([](auto& c) -> auto& { return c.schedule.batch_start_tokens; }), 1, most_tokens_per_step, 0},
       trajectory, "tokens of the first step, rounded to whole micro-batches; given together with batch_warmup_steps"},
  };
  fields.insert(fields.end(), rows.begin(), rows.end());
}

}  // namespace temper
