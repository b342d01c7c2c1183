// What a schedule refuses, and what follows from one that is accepted.
#include <functional>

#include "config/validate.h"
#include "config_files.h"

namespace temper {
namespace {

/// valid_config() has 1000 steps of 128 micro-batches of 4096 tokens.
struct Case {
  std::function<void(RunConfig&)> change;
  std::vector<std::string> says;  ///< empty: accepted
};

void expect_all(const std::vector<Case>& cases) {
  for (std::size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(i);
    RunConfig config = valid_config();
    cases[i].change(config);
    if (cases[i].says.empty()) {
      EXPECT_NO_THROW(validate(config));
    } else {
      expect_parts(usage_error([&] { validate(config); }), cases[i].says);
    }
  }
}

TEST(ValidateSchedule, WarmupIsGivenOnceAndFits) {
  expect_all({
      {[](RunConfig& c) { c.schedule.warmup_steps = 5, c.schedule.warmup_fraction = 0.5; },
       {"schedule.warmup_steps is 5 and schedule.warmup_fraction is 0.5; give only one"}},
      {[](RunConfig& c) { c.schedule.warmup_steps = 5, c.schedule.warmup_tokens = 7; },
       {"schedule.warmup_steps is 5 and schedule.warmup_tokens is 7"}},
      {[](RunConfig& c) { c.schedule.warmup_fraction = 0.5, c.schedule.warmup_tokens = 7; },
       {"schedule.warmup_fraction is 0.5 and schedule.warmup_tokens is 7"}},
      {[](RunConfig& c) { c.schedule.warmup_steps = 1000; }, {}},
      {[](RunConfig& c) { c.schedule.warmup_steps = 1001; }, {"schedule.warmup_steps is 1001", "1000 steps", "shorten the warmup"}},
      {[](RunConfig& c) { c.schedule.warmup_tokens = 1000 * 524288; }, {}},
      {[](RunConfig& c) { c.schedule.warmup_tokens = 1000 * 524288 + 1; },
       {"schedule.warmup_tokens is 524288001 = 1001 steps", "the run has 1000 steps"}},
  });
}

TEST(ValidateSchedule, AnExponentialNeverLeavesZero) {
  expect_all({
      {[](RunConfig& c) {
         c.schedule.warmup_steps = 10;
         c.schedule.warmup_shape = WarmupShape::exponential;
         c.schedule.warmup_first = WarmupFirst::zero;
       },
       {"warmup_shape is exponential", "warmup_first zero", "use percent"}},
      {[](RunConfig& c) {
         c.schedule.warmup_steps = 10;
         c.schedule.warmup_shape = WarmupShape::exponential;
         c.schedule.warmup_first = WarmupFirst::percent;
       },
       {}},
      {[](RunConfig& c) {
         c.schedule.name = ScheduleName::wsd;
         c.schedule.cooldown_shape = CooldownShape::exponential;
       },
       {"cooldown_shape is exponential", "min_ratio 0", "such as 0.01"}},
      {[](RunConfig& c) {
         c.schedule.name = ScheduleName::wsd;
         c.schedule.cooldown_shape = CooldownShape::exponential;
         c.schedule.min_ratio = 0.01;
       },
       {}},
  });
}

TEST(ValidateSchedule, TheHorizonLiesBehindTheWarmupAndLeavesNoDeadSteps) {
  for (const ScheduleName name : {ScheduleName::linear, ScheduleName::cosine}) {
    expect_all({
        {[&](RunConfig& c) { c.schedule.name = name, c.schedule.horizon_steps = 100, c.schedule.warmup_steps = 100; },
         {"horizon_steps is 100", "warmup of 100"}},
        {[&](RunConfig& c) { c.schedule.name = name, c.schedule.horizon_steps = 900; },
         {"horizon_steps is 900", "the last 100 of 1000 steps", "min_ratio above 0 or a horizon of at least 1000"}},
        {[&](RunConfig& c) { c.schedule.name = name, c.schedule.horizon_steps = 900, c.schedule.min_ratio = 0.1; }, {}},
        {[&](RunConfig& c) { c.schedule.name = name, c.schedule.horizon_steps = 1100; }, {}},
    });
  }
}

TEST(ValidateSchedule, CooldownFitsBesideTheWarmup) {
  expect_all({
      {[](RunConfig& c) { c.schedule.name = ScheduleName::wsd, c.schedule.warmup_steps = 800; }, {}},
      {[](RunConfig& c) { c.schedule.name = ScheduleName::wsd, c.schedule.warmup_steps = 801; },
       {"warmup of 801", "0.2 x 1000 = 200", "1000 steps", "shorten one"}},
  });
}

TEST(ValidateSchedule, MilestonesRiseBehindTheWarmup) {
  expect_all({
      {[](RunConfig& c) { c.schedule.name = ScheduleName::step, c.schedule.milestones = {}; },
       {"milestones is empty", "schedule.name constant"}},
      {[](RunConfig& c) {
         c.schedule.name = ScheduleName::step, c.schedule.milestones = {0.5, 0.25};
       },
       {"0.25 after 0.5", "rising order"}},
      {[](RunConfig& c) {
         c.schedule.name = ScheduleName::step, c.schedule.milestones = {0.5, 0.5};
       },
       {"0.5 after 0.5"}},
      {[](RunConfig& c) { c.schedule.name = ScheduleName::step, c.schedule.warmup_steps = 300; }, {}},
      {[](RunConfig& c) { c.schedule.name = ScheduleName::step, c.schedule.warmup_steps = 301; },
       {"milestones has 0.3, which is step 300 of 1000", "warmup of 301"}},
      {[](RunConfig& c) { c.schedule.milestones = {1.5}; }, {"schedule.milestones is [1.5]", "below 1"}},
  });
}

TEST(ValidateSchedule, ACycleIsGivenAndFits) {
  expect_all({
      {[](RunConfig& c) { c.schedule.name = ScheduleName::restarts; }, {"schedule.cycle_steps is not given"}},
      {[](RunConfig& c) { c.schedule.name = ScheduleName::restarts, c.schedule.cycle_steps = 900, c.schedule.warmup_steps = 100; },
       {}},
      {[](RunConfig& c) { c.schedule.name = ScheduleName::restarts, c.schedule.cycle_steps = 901, c.schedule.warmup_steps = 100; },
       {"cycle_steps is 901", "warmup of 100", "900 left", "shorten the cycle"}},
  });
}

// Every step counts through them.
TEST(ValidateSchedule, CyclesAreNotWithoutNumber) {
  const auto cycles = [](std::int64_t first, double growth, std::int64_t steps) {
    return [=](RunConfig& c) {
      c.schedule.name = ScheduleName::restarts, c.schedule.cycle_steps = first, c.schedule.cycle_growth = growth;
      c.train.steps = steps;
    };
  };
  expect_all({
      {cycles(10, 1.0, 1'000'000), {}},
      {cycles(10, 1.0, 1'000'010), {"cycle_steps is 10 with", "cycle_growth 1.0", "about 100001 cycles", "at most 100000"}},
      {cycles(1, 1.0, 1'000'000'000), {"about 1000000000 cycles", "lengthen the cycle"}},
      {cycles(1, 1.001, 1'000'000'000), {}},
      {cycles(1, 1.0000001, 1'000'000'000), {"about 461512"}},  // log(1 + 1e9 x 1e-7) / log(1 + 1e-7)
  });
}

TEST(ValidateSchedule, TokensComeToNoMoreStepsThanARunMayHave) {
  const auto tokens = [](RunConfig& c, std::int64_t many) {
    c.train.steps.reset(), c.train.tokens = many;
    c.batch = {1, 1};
    c.model.n_ctx = 1;
  };
  expect_all({
      {[&](RunConfig& c) { tokens(c, 1'000'000'000); }, {}},
      {[&](RunConfig& c) { tokens(c, 1'000'000'001); },
       {"train.tokens is 1000000001 = 1000000001 steps", "at most 1000000000", "raise batch.tokens_per_step"}},
  });
}

TEST(ValidateSchedule, APowerCurveReachesThePeak) {
  expect_all({
      {[](RunConfig& c) { c.schedule.name = ScheduleName::power; },
       {"power_scale 0.0001 x (1000 steps", "is 0.398", "raise schedule.power_scale to 0.000254"}},  // 1000^1.2 = 3981
      {[](RunConfig& c) { c.schedule.name = ScheduleName::power, c.schedule.power_scale = 0.000254; }, {}},
      {[](RunConfig& c) { c.schedule.name = ScheduleName::power, c.train.steps = 2155; }, {}},
      {[](RunConfig& c) { c.schedule.name = ScheduleName::power, c.train.steps = 2155, c.schedule.warmup_steps = 1; },
       {"2154 steps after warmup"}},
  });
}

TEST(ValidateSchedule, AFileIsNamedAndHoldsTheWarmup) {
  const auto file = [](RunConfig& c) { c.schedule.name = ScheduleName::file, c.schedule.file = "rates.csv"; };
  expect_all({
      {file, {}},
      {[&](RunConfig& c) { file(c), c.schedule.file.reset(); }, {"schedule.file is not given", "metrics.jsonl"}},
      {[&](RunConfig& c) { file(c), c.schedule.warmup_steps = 5; }, {"schedule.warmup_steps is 5", "part of the file; remove it"}},
      {[](RunConfig& c) { c.schedule.file = "rates.csv"; }, {"schedule.file is rates.csv", "for file"}},
      {[](RunConfig& c) { c.schedule.file_column = "effective_rate"; }, {"schedule.file_column is effective_rate"}},
  });
}

TEST(ValidateSchedule, ScheduleFreeKeepsItsRate) {
  const auto with = [](ScheduleName name) {
    return [name](RunConfig& c) { c.optimizer.name = OptimizerName::schedule_free_adamw, c.schedule.name = name; };
  };
  expect_all({
      {with(ScheduleName::cosine), {"schedule.name is cosine with optimizer.name schedule_free_adamw", "schedule.name=constant"}},
      {with(ScheduleName::inverse_sqrt), {"schedule.name is inverse_sqrt"}},
      {[&](RunConfig& c) { with(ScheduleName::constant)(c), c.schedule.warmup_steps = 50; }, {}},
      {[&](RunConfig& c) { with(ScheduleName::constant)(c), c.eval.weight_average = 0.9; },
       {"eval.weight_average is 0.9 with optimizer.name schedule_free_adamw", "an average of its own"}},
  });
}

// Without warmup its shape and first value may be set all the same: a sweep over the length of the warmup may start at 0.
TEST(ValidateSchedule, KeysThatNothingReadsAreRefused) {
  expect_all({
      {[](RunConfig& c) { c.schedule.name = ScheduleName::constant, c.schedule.min_ratio = 0.1; },
       {"schedule.min_ratio is 0.1 with schedule.name constant", "linear, cosine, wsd and restarts", "set it back to 0.0"}},
      {[](RunConfig& c) { c.schedule.name = ScheduleName::wsd, c.schedule.horizon_steps = 2000; },
       {"horizon_steps", "linear and cosine"}},
      {[](RunConfig& c) { c.schedule.cooldown_fraction = 0.5; }, {"cooldown_fraction is 0.5", "schedule.name cosine", "for wsd"}},
      {[](RunConfig& c) { c.schedule.cooldown_shape = CooldownShape::linear; }, {"cooldown_shape is linear"}},
      {[](RunConfig& c) { c.schedule.milestones = {0.5}; }, {"milestones is [0.5]", "for step", "back to [0.3, 0.6, 0.8]"}},
      {[](RunConfig& c) { c.schedule.step_factor = 0.5; }, {"step_factor is 0.5"}},
      {[](RunConfig& c) { c.schedule.cycle_steps = 5; }, {"cycle_steps is 5", "for restarts; remove it"}},
      {[](RunConfig& c) { c.schedule.cycle_growth = 1.0; }, {"cycle_growth is 1.0"}},
      {[](RunConfig& c) { c.schedule.power = 2.0; }, {"schedule.power is 2.0"}},
      {[](RunConfig& c) { c.schedule.power_scale = 2.0; }, {"power_scale is 2.0"}},
      {[](RunConfig& c) { c.schedule.momentum_start = 0.5; }, {"momentum_start is 0.5", "momentum_warmup_steps"}},
      {[](RunConfig& c) { c.schedule.warmup_shape = WarmupShape::cosine, c.schedule.warmup_first = WarmupFirst::zero; }, {}},
  });
}

TEST(ValidateSchedule, MomentumsWarmupAndCooldownFit) {
  expect_all({
      {[](RunConfig& c) { c.schedule.momentum_warmup_steps = 300, c.schedule.momentum_cooldown_steps = 700; }, {}},
      {[](RunConfig& c) { c.schedule.momentum_warmup_steps = 300, c.schedule.momentum_cooldown_steps = 701; },
       {"momentum_warmup_steps 300", "momentum_cooldown_steps 701", "1000 steps"}},
  });
}

TEST(ValidateSchedule, TheBatchGrowsFromGivenTokensOverPartOfTheRun) {
  expect_all({
      {[](RunConfig& c) { c.schedule.batch_warmup_steps = 10; }, {"batch_warmup_steps is 10", "batch_start_tokens is not given"}},
      {[](RunConfig& c) { c.schedule.batch_start_tokens = 10; }, {"batch_start_tokens is 10", "batch_warmup_steps is 0"}},
      {[](RunConfig& c) { c.schedule.batch_warmup_steps = 10, c.schedule.batch_start_tokens = 524288; },
       {"batch_start_tokens is 524288", "not below batch.tokens_per_step = 524288"}},
      {[](RunConfig& c) { c.schedule.batch_warmup_steps = 1000, c.schedule.batch_start_tokens = 4096; }, {}},
      {[](RunConfig& c) { c.schedule.batch_warmup_steps = 1001, c.schedule.batch_start_tokens = 4096; },
       {"batch_warmup_steps is 1001", "1000 steps"}},
      {[](RunConfig& c) {
         c.schedule.batch_warmup_steps = 10;
         c.schedule.batch_start_tokens = 4096;
         c.schedule.warmup_tokens = 100;
       },
       {"batch_warmup_steps is 10 and schedule.warmup_tokens 100", "schedule.warmup_fraction"}},
  });
}

TEST(ValidateSchedule, SequencesGrowFromALengthThatCutsTheContext) {
  const auto growth = [](std::int64_t n_ctx, std::int64_t steps, std::int64_t start) {
    return [=](RunConfig& c) {
      c.model.n_ctx = n_ctx, c.batch = {64 * n_ctx, 4};
      c.schedule.context_warmup_steps = steps, c.schedule.context_start = start;
    };
  };
  expect_all({
      {growth(1024, 1000, 8), {}},
      {growth(1024, 10, 512), {}},
      {growth(37, 10, 1), {}},
      {[](RunConfig& c) { c.schedule.context_warmup_steps = 10; }, {"context_warmup_steps is 10", "context_start is not given"}},
      {[](RunConfig& c) { c.schedule.context_start = 64; },
       {"context_start is 64", "context_warmup_steps is 0", "both or neither"}},
      {growth(1024, 1001, 8), {"context_warmup_steps is 1001", "1000 steps", "lengthen the run"}},
      {growth(1024, 10, 48), {"context_start is 48", "n_ctx = 1024", "a multiple of 8 tokens", "nearest: 32 or 64"}},
      {growth(1024, 10, 4), {"context_start is 4", "nearest: 8"}},
      {growth(1024, 10, 1024), {"context_start is 1024", "nearest: 512"}},
      {growth(1024, 10, 2000), {"context_start is 2000", "nearest: 512"}},
      {growth(12, 10, 6), {"context_start is 6", "a multiple of 4 tokens", "nearest: 4"}},
      {growth(8, 10, 4), {"context_start is 4", "n_ctx allows none"}},
  });
}

TEST(Derived, WarmupIsStepsOrAShareOrTokensOrNone) {
  RunConfig config = valid_config();
  EXPECT_EQ(warmup_steps(config), 0);
  config.schedule.warmup_fraction = 0.0126;
  EXPECT_EQ(warmup_steps(config), 13);
  config.schedule.warmup_fraction.reset();
  config.schedule.warmup_steps = 42;
  EXPECT_EQ(warmup_steps(config), 42);
  config.schedule.warmup_steps.reset();
  config.schedule.warmup_tokens = 2 * 524288;
  EXPECT_EQ(warmup_steps(config), 2);
  ++*config.schedule.warmup_tokens;
  EXPECT_EQ(warmup_steps(config), 3);
  config.schedule.warmup_tokens = 0;
  EXPECT_EQ(warmup_steps(config), 0);
}

TEST(Derived, TheBatchIsWhatIsConfiguredWithoutGrowth) {
  const RunConfig config = valid_config();
  EXPECT_EQ(micro_batches_per_step(config), 128);
  for (const std::int64_t step : {0, 1, 999}) EXPECT_EQ(micro_batches_at(config, step), 128) << step;
  EXPECT_EQ(tokens_before(config, 0), 0);
  EXPECT_EQ(tokens_before(config, 1000), 1000 * 524288LL);
}

TEST(Derived, TheBatchGrowsLinearlyInWholeMicroBatches) {
  RunConfig config = valid_config();
  config.batch = {80, 1};
  config.model.n_ctx = 10;  // 8 micro-batches
  config.schedule.batch_start_tokens = 20;
  config.schedule.batch_warmup_steps = 8;
  // Tokens 20, 27.5, 35, 42.5, 50, 57.5, 65, 72.5, 80; halves are rounded up.
  const std::int64_t expected[] = {2, 3, 4, 4, 5, 6, 7, 7, 8, 8};
  std::int64_t tokens = 0;
  for (std::int64_t step = 0; step < 10; ++step) {
    EXPECT_EQ(micro_batches_at(config, step), expected[step]) << step;
    EXPECT_EQ(tokens_before(config, step), tokens) << step;
    tokens += 10 * expected[step];
  }
  config.schedule.batch_start_tokens = 1;
  EXPECT_EQ(micro_batches_at(config, 0), 1) << "never none";
}

TEST(Derived, LengthsThatCutAContext) {
  using Lengths = std::vector<std::int64_t>;
  EXPECT_EQ(context_lengths(1024), (Lengths{8, 16, 32, 64, 128, 256, 512, 1024}));
  EXPECT_EQ(context_lengths(96), (Lengths{8, 16, 24, 32, 48, 96}));
  EXPECT_EQ(context_lengths(12), (Lengths{4, 12}));
  EXPECT_EQ(context_lengths(37), (Lengths{1, 37}));
  EXPECT_EQ(context_lengths(1), Lengths{1});
}

TEST(Derived, SequencesGrowAlongALine) {
  RunConfig config = valid_config();
  EXPECT_EQ(context_stages(config).size(), 1u);
  for (const std::int64_t step : {0, 999}) EXPECT_EQ(context_at(config, step), 1024) << step;

  config.model.n_ctx = 96;
  for (const auto& [growth, start] : {std::pair<std::int64_t, std::int64_t>{11, 8}, {11, 24}, {400, 8}, {3, 8}, {1, 48}}) {
    config.schedule.context_warmup_steps = growth;
    config.schedule.context_start = start;
    std::int64_t before = 0;
    std::size_t changes = 0;
    for (std::int64_t step = 0; step < growth + 5; ++step) {
      const std::int64_t length = context_at(config, step);
      // The largest that is not above start + (96 - start) step / growth, in whole numbers.
      std::int64_t expected = 0;
      for (const std::int64_t one : {8, 16, 24, 32, 48, 96})
        if ((one - start) * growth <= (96 - start) * step) expected = one;
      EXPECT_EQ(length, expected) << step << " of " << growth << " from " << start;
      changes += length != before ? 1 : 0;
      before = length;
    }
    EXPECT_EQ(context_at(config, 0), start);
    EXPECT_EQ(context_at(config, growth), 96);
    EXPECT_EQ(context_stages(config).size(), changes) << "stages that no step has";
  }
}

TEST(Derived, TokensOfARunWhoseBatchGrows) {
  RunConfig config = valid_config();
  config.batch = {80, 1};
  config.model.n_ctx = 10;
  config.schedule.batch_start_tokens = 20;
  config.schedule.batch_warmup_steps = 8;
  config.train.steps.reset();
  for (std::int64_t steps = 1; steps < 20; ++steps) {
    const std::int64_t before = tokens_before(config, steps - 1), all = tokens_before(config, steps);
    config.train.tokens = before + 1;
    EXPECT_EQ(total_steps(config), steps);
    config.train.tokens = all;
    EXPECT_EQ(total_steps(config), steps);
  }
  config.train.tokens = 1'000'000'000'000'000;  // no sum overflows at the largest sizes
  config.batch.tokens_per_step = 1LL << 31;
  config.schedule.batch_warmup_steps = 1'000'000;
  config.model.n_ctx = 1 << 20;
  config.schedule.batch_start_tokens = (1LL << 31) - 1;
  EXPECT_EQ(micro_batches_at(config, 999'999), 1 << 11);
  EXPECT_EQ(total_steps(config), 465'662);  // 10^15 / 2^31 = 465661.3
}

}  // namespace
}  // namespace temper
