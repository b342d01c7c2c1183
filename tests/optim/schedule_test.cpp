// Schedules against closed forms worked out by hand.
#include "optim/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace temper {
namespace {

ScheduleConfig schedule(ScheduleName name, std::optional<std::int64_t> warmup, double min_ratio = 0.0) {
  ScheduleConfig config;
  config.name = name;
  config.warmup_steps = warmup;
  config.min_ratio = min_ratio;
  return config;
}

constexpr std::int64_t step_tokens = 1000;

Schedule made(const ScheduleConfig& config, std::int64_t total) { return {config, total, step_tokens}; }

// The figures have ten significant digits.
void expect_figure(double value, double figure) { EXPECT_NEAR(value, figure, 1e-9 * figure); }

TEST(Schedule, CosineOfThe124MRecipe) {
  const Schedule cosine = made(schedule(ScheduleName::cosine, 700), 19560);
  const double peak = 6e-4;
  expect_figure(peak * cosine.multiplier(0), 8.571428571e-7);
  expect_figure(peak * cosine.multiplier(349), 3e-4);
  expect_figure(peak * cosine.multiplier(699), 6e-4);
  expect_figure(peak * cosine.multiplier(700), 6e-4);
  expect_figure(peak * cosine.multiplier(10130), 3e-4);
  EXPECT_NEAR(peak * cosine.multiplier(19559), 4.162053e-12, 1e-17);  // seven digits of the figure, after 1 + cos cancels nine
  EXPECT_EQ(cosine.warmup_steps(), 700);
}

TEST(Schedule, CosineEndsAtItsMinimum) {
  const Schedule cosine = made(schedule(ScheduleName::cosine, 10, 0.1), 110);
  expect_figure(cosine.multiplier(60), 0.1 + 0.9 * 0.5);  // cos(pi/2) = 0
  EXPECT_DOUBLE_EQ(cosine.multiplier(110), 0.1);
  EXPECT_DOUBLE_EQ(cosine.multiplier(111), 0.1);
  EXPECT_DOUBLE_EQ(cosine.multiplier(1'000'000), 0.1);
}

TEST(Schedule, LinearDecayToZero) {
  const Schedule linear = made(schedule(ScheduleName::linear, 100), 1000);
  expect_figure(linear.multiplier(100), 1.0);
  expect_figure(linear.multiplier(550), 0.5);
  expect_figure(linear.multiplier(999), 1.0 / 900.0);
  EXPECT_EQ(linear.multiplier(1000), 0.0);
  EXPECT_EQ(linear.multiplier(1001), 0.0);
}

TEST(Schedule, LinearDecayToARatio) {
  const Schedule linear = made(schedule(ScheduleName::linear, 0, 0.2), 10);
  expect_figure(linear.multiplier(0), 1.0);
  expect_figure(linear.multiplier(5), 0.6);
  expect_figure(linear.multiplier(9), 0.28);
  expect_figure(linear.multiplier(10), 0.2);
}

TEST(Schedule, WsdHoldsThenFallsWithTheRoot) {
  ScheduleConfig config = schedule(ScheduleName::wsd, 100);
  config.cooldown_fraction = 0.2;
  const Schedule wsd = made(config, 1000);
  expect_figure(wsd.multiplier(99), 1.0);
  expect_figure(wsd.multiplier(799), 1.0);
  expect_figure(wsd.multiplier(800), 1.0);
  expect_figure(wsd.multiplier(850), 0.5);
  EXPECT_NEAR(wsd.multiplier(900), 0.2928932, 1e-7);  // 1 - sqrt(1/2), to the digits of the figure
  EXPECT_NEAR(wsd.multiplier(999), 0.0025031, 1e-7);
  EXPECT_EQ(wsd.multiplier(1000), 0.0);
  EXPECT_EQ(wsd.multiplier(1001), 0.0);

  config.min_ratio = 0.1;
  expect_figure(made(config, 1000).multiplier(850), 0.1 + 0.9 * 0.5);
}

TEST(Schedule, WsdCoolsOverTheNearestNumberOfUpdates) {
  ScheduleConfig config = schedule(ScheduleName::wsd, 0);
  config.cooldown_fraction = 0.29;  // times 100 a little less than 29 in binary
  const Schedule wsd = made(config, 100);
  expect_figure(wsd.multiplier(71), 1.0);
  expect_figure(wsd.multiplier(72), 1.0 - std::sqrt(1.0 / 29.0));

  config.cooldown_fraction = 1e-6;  // not one update
  EXPECT_EQ(made(config, 100).multiplier(99), 1.0);
  EXPECT_EQ(made(config, 100).multiplier(100), 0.0);
}

TEST(Schedule, ConstantStays) {
  const Schedule constant = made(schedule(ScheduleName::constant, 4, 0.5), 10);
  expect_figure(constant.multiplier(0), 0.25);
  expect_figure(constant.multiplier(3), 1.0);
  for (const std::int64_t k : {4, 9, 10, 11, 1000}) EXPECT_EQ(constant.multiplier(k), 1.0) << k;
}

/// Every name, with what it needs in a run of 50 updates.
std::vector<ScheduleConfig> all_schedules(std::optional<std::int64_t> warmup) {
  std::vector<ScheduleConfig> all;
  for (const ScheduleName name : {ScheduleName::constant, ScheduleName::linear, ScheduleName::cosine, ScheduleName::step,
                                  ScheduleName::wsd, ScheduleName::inverse_sqrt, ScheduleName::restarts, ScheduleName::power}) {
    all.push_back(schedule(name, warmup));
    all.back().cycle_steps = 12;
    all.back().power_scale = 0.05;
  }
  return all;
}

TEST(Schedule, EveryScheduleStartsAtFullRateWithoutWarmup) {
  for (const ScheduleConfig& config : all_schedules(0)) {
    EXPECT_EQ(made(config, 50).multiplier(0), 1.0) << static_cast<int>(config.name);
    if (config.name == ScheduleName::constant || config.name == ScheduleName::restarts) continue;
    EXPECT_LT(made(config, 50).multiplier(49), 0.15) << static_cast<int>(config.name);
  }
  for (const ScheduleConfig& config : all_schedules(std::nullopt))
    EXPECT_EQ(made(config, 50).multiplier(0), 1.0) << "no warmup given";
}

TEST(Schedule, WarmupMayFillTheRun) {
  for (const ScheduleName name : {ScheduleName::constant, ScheduleName::linear, ScheduleName::cosine, ScheduleName::wsd}) {
    const Schedule given = made(schedule(name, 5, 0.1), 5);
    expect_figure(given.multiplier(0), 0.2);
    expect_figure(given.multiplier(4), 1.0);
    EXPECT_DOUBLE_EQ(given.multiplier(5), name == ScheduleName::constant ? 1.0 : 0.1) << static_cast<int>(name);
  }
}

TEST(Schedule, WarmupMayBeAShareOfTheRun) {
  ScheduleConfig config = schedule(ScheduleName::linear, std::nullopt);
  config.warmup_fraction = 0.1;
  const Schedule linear = made(config, 300);
  EXPECT_EQ(linear.warmup_steps(), 30);
  expect_figure(linear.multiplier(0), 1.0 / 30.0);
  expect_figure(linear.multiplier(29), 1.0);
}

TEST(Schedule, CosineFromZeroToATenth) {
  ScheduleConfig config = schedule(ScheduleName::cosine, 400, 0.1);
  config.warmup_first = WarmupFirst::zero;
  const Schedule cosine = made(config, 50000);
  const double peak = 6e-4;
  EXPECT_EQ(cosine.multiplier(0), 0.0);
  expect_figure(peak * cosine.multiplier(1), 1.5e-6);
  expect_figure(peak * cosine.multiplier(200), 3e-4);
  expect_figure(peak * cosine.multiplier(400), 6e-4);
  expect_figure(peak * cosine.multiplier(25200), 3.3e-4);
  expect_figure(peak * cosine.multiplier(50000), 6e-5);
  double sum = 0.0;
  for (std::int64_t k = 0; k < 50000; ++k) sum += peak * cosine.multiplier(k);
  EXPECT_NEAR(sum, 16.48797, 5e-6);  // half of the figure's last digit
}

TEST(Schedule, AHorizonBehindTheEndIsNotReached) {
  ScheduleConfig config = schedule(ScheduleName::cosine, 0, 0.1);
  config.horizon_steps = 200;
  const Schedule cosine = made(config, 100);
  expect_figure(cosine.multiplier(50), 0.1 + 0.9 * 0.5 * (1.0 + std::sqrt(0.5)));  // cos(pi/4)
  expect_figure(cosine.multiplier(100), 0.1 + 0.9 * 0.5);
  EXPECT_EQ(cosine.multiplier(150), cosine.multiplier(100));

  config.name = ScheduleName::linear;
  config.warmup_steps = 20;
  config.horizon_steps = 60;  // before the end: the rest stays at the minimum
  const Schedule linear = made(config, 100);
  expect_figure(linear.multiplier(40), 0.55);
  expect_figure(linear.multiplier(60), 0.1);
  expect_figure(linear.multiplier(99), 0.1);
}

TEST(Schedule, StepDropsAtMilestones) {
  const Schedule step = made(schedule(ScheduleName::step, 10), 1000);
  expect_figure(step.multiplier(9), 1.0);
  expect_figure(step.multiplier(299), 1.0);
  expect_figure(step.multiplier(300), 0.1);
  expect_figure(step.multiplier(599), 0.1);
  expect_figure(step.multiplier(600), 0.01);
  expect_figure(step.multiplier(800), 0.001);
  expect_figure(step.multiplier(999), 0.001);

  ScheduleConfig config = schedule(ScheduleName::step, 0);
  config.milestones = {0.29};  // times 100 a little less than 29 in binary
  config.step_factor = 0.5;
  EXPECT_EQ(made(config, 100).multiplier(28), 1.0);
  EXPECT_EQ(made(config, 100).multiplier(29), 0.5);
}

TEST(Schedule, TrapezoidIsWsdWithALine) {
  ScheduleConfig config = schedule(ScheduleName::wsd, 250);
  config.warmup_first = WarmupFirst::zero;
  config.cooldown_fraction = 0.5;
  config.cooldown_shape = CooldownShape::linear;
  const Schedule trapezoid = made(config, 5000);
  EXPECT_EQ(trapezoid.multiplier(0), 0.0);
  expect_figure(trapezoid.multiplier(125), 0.5);
  expect_figure(trapezoid.multiplier(250), 1.0);
  expect_figure(trapezoid.multiplier(2500), 1.0);
  expect_figure(trapezoid.multiplier(3750), 0.5);
  expect_figure(trapezoid.multiplier(4999), 0.0004);
}

TEST(Schedule, WsdHasSixShapes) {
  const auto expect = [](CooldownShape shape, double min_ratio, double at_850, double at_900, double at_999) {
    ScheduleConfig config = schedule(ScheduleName::wsd, 100, min_ratio);
    config.cooldown_shape = shape;
    const Schedule wsd = made(config, 1000);
    const double digits = 1e-7;  // of the figures
    EXPECT_EQ(wsd.multiplier(800), 1.0) << static_cast<int>(shape);
    EXPECT_NEAR(wsd.multiplier(850), at_850, digits) << static_cast<int>(shape);
    EXPECT_NEAR(wsd.multiplier(900), at_900, digits) << static_cast<int>(shape);
    EXPECT_NEAR(wsd.multiplier(999), at_999, digits) << static_cast<int>(shape);
    EXPECT_NEAR(wsd.multiplier(1000), min_ratio, 1e-15) << static_cast<int>(shape);  // 1 + cos(pi) is not quite 0
  };
  expect(CooldownShape::linear, 0.0, 0.75, 0.5, 0.005);
  expect(CooldownShape::one_minus_sqrt, 0.0, 0.5, 0.2928932, 0.0025031);
  expect(CooldownShape::cosine, 0.0, 0.8535534, 0.5, 0.0000617);
  expect(CooldownShape::one_minus_square, 0.0, 0.9375, 0.75, 0.009975);
  expect(CooldownShape::mirror_cosine, 0.0, 0.6464466, 0.5, 0.0099383);
  expect(CooldownShape::exponential, 0.01, 0.3162278, 0.1, 0.0102329);
  expect(CooldownShape::linear, 0.2, 0.2 + 0.8 * 0.75, 0.6, 0.204);
}

TEST(Schedule, InverseRootGoesOnWhereWarmupEnds) {
  const Schedule root = made(schedule(ScheduleName::inverse_sqrt, 100), 10000);
  expect_figure(root.multiplier(99), 1.0);
  expect_figure(root.multiplier(100), std::sqrt(100.0 / 101.0));
  expect_figure(root.multiplier(399), 0.5);
  expect_figure(root.multiplier(9999), 0.1);
  const Schedule bare = made(schedule(ScheduleName::inverse_sqrt, 0), 100);
  EXPECT_EQ(bare.multiplier(0), 1.0);
  expect_figure(bare.multiplier(3), 0.5);
}

TEST(Schedule, RestartsRepeatLongerAndLongerCosines) {
  ScheduleConfig config = schedule(ScheduleName::restarts, 0);
  config.cycle_steps = 8;
  const Schedule restarts = made(config, 120);
  // Published for a cosine that is advanced before its use; here the first update of a cycle has the full rate.
  const double digits = 5e-7;
  const double first[] = {1.0, .961940, .853553, .691342, .5, .308658, .146447, .038060};
  for (std::int64_t k = 0; k < 8; ++k) EXPECT_NEAR(restarts.multiplier(k), first[k], digits) << k;
  EXPECT_EQ(restarts.multiplier(8), 1.0);
  EXPECT_NEAR(restarts.multiplier(9), .990393, digits);
  EXPECT_NEAR(restarts.multiplier(10), .961940, digits);
  for (const std::int64_t k : {8, 24, 56}) {  // epochs 2, 6 and 14 of 4 updates
    EXPECT_EQ(restarts.multiplier(k), 1.0) << k;
    EXPECT_LT(restarts.multiplier(k - 1), 0.04) << k;
  }
  EXPECT_EQ(restarts.multiplier(120), restarts.multiplier(119)) << "the end of the run does not start a cycle";

  config.min_ratio = 0.2;
  config.warmup_steps = 4;
  const Schedule later = made(config, 124);
  expect_figure(later.multiplier(1), 0.5);
  for (const std::int64_t k : {4, 12, 28}) EXPECT_EQ(later.multiplier(k), 1.0) << k;
  expect_figure(later.multiplier(8), 0.2 + 0.8 * 0.5);
}

TEST(Schedule, CyclesAreRoundedEachForItself) {
  ScheduleConfig config = schedule(ScheduleName::restarts, 0);
  config.cycle_steps = 5;
  config.cycle_growth = 1.5;
  const Schedule restarts = made(config, 60);
  const std::int64_t begin[] = {0, 5, 13, 24, 41}, length[] = {5, 8, 11, 17, 25};  // 5, 7.5, 11.25, 16.875, 25.3
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(restarts.multiplier(begin[i]), 1.0) << i;
    EXPECT_EQ(restarts.cycle_length(begin[i]), length[i]) << i;
    EXPECT_EQ(restarts.cycle_length(begin[i] + length[i] - 1), length[i]) << i;
  }
  config.cycle_growth = 1.0;
  EXPECT_EQ(made(config, 60).multiplier(55), 1.0);
  EXPECT_EQ(made(config, 60).cycle_length(59), 5);
}

// lambda sqrt(batch / (examples x epochs)), 50000 examples in batches of 128, lambda 0.025.
TEST(Schedule, NormalizedDecayGoesByTheRunOrItsCycle) {
  const auto decay = [](std::int64_t updates) { return 0.025 / std::sqrt(static_cast<double>(updates)); };
  const Schedule whole = made(schedule(ScheduleName::cosine, 10), 78125);  // 200 epochs
  EXPECT_NEAR(decay(whole.cycle_length(0)), 8.944271910e-5, 1e-14);
  EXPECT_EQ(whole.cycle_length(78124), 78125);

  ScheduleConfig config = schedule(ScheduleName::restarts, 10);
  config.cycle_steps = 39062;  // 100 epochs are 39062.5
  const Schedule restarts = made(config, 100000);
  EXPECT_NEAR(decay(restarts.cycle_length(0)), 1.264911064e-4, 1e-9);  // half an update of 39062.5: a relative 6.4e-6
  EXPECT_NEAR(decay(restarts.cycle_length(39071)), 1.264911064e-4, 1e-9);
  EXPECT_NEAR(decay(restarts.cycle_length(39072)), 8.944271910e-5, 6e-10);  // the same half, doubled
  EXPECT_EQ(restarts.cycle_length(99999), 78124) << "a cycle that the run cuts short counts in full";
  EXPECT_EQ(restarts.cycle_length(1'000'000), 78124) << "no cycle begins past the end";
}

TEST(Schedule, PowerHoldsUntilItsCurveFallsBelowThePeak) {
  ScheduleConfig config = schedule(ScheduleName::power, 10);
  config.power = 2.0;
  config.power_scale = 0.01;
  const Schedule power = made(config, 100);
  expect_figure(power.multiplier(10), 1.0);
  expect_figure(power.multiplier(90), 1.0);
  expect_figure(power.multiplier(91), 0.81);
  expect_figure(power.multiplier(95), 0.25);
  expect_figure(power.multiplier(99), 0.01);
  EXPECT_EQ(power.multiplier(100), 0.0);
  EXPECT_EQ(power.multiplier(101), 0.0);

  const Schedule published = made(schedule(ScheduleName::power, 0), 5000);  // min(1, 1e-4 (T-k)^1.2)
  EXPECT_EQ(published.multiplier(5000 - 2155), 1.0);
  EXPECT_LT(published.multiplier(5000 - 2154), 1.0);  // 10^(4/1.2) = 2154.4
  expect_figure(published.multiplier(4900), 1e-4 * std::pow(100.0, 1.2));
}

TEST(Schedule, WarmupsFirstValue) {
  ScheduleConfig config = schedule(ScheduleName::constant, 300);
  config.warmup_first = WarmupFirst::percent;
  const Schedule percent = made(config, 1000);
  expect_figure(percent.multiplier(0), 0.01);
  expect_figure(percent.multiplier(1), 0.0133);
  expect_figure(percent.multiplier(150), 0.505);
  expect_figure(percent.multiplier(300), 1.0);
  config.warmup_first = WarmupFirst::one_step;
  expect_figure(made(config, 1000).multiplier(0), 1.0 / 300.0);
  expect_figure(made(config, 1000).multiplier(299), 1.0);
  config.warmup_first = WarmupFirst::zero;
  EXPECT_EQ(made(config, 1000).multiplier(0), 0.0);
  expect_figure(made(config, 1000).multiplier(299), 299.0 / 300.0);
}

TEST(Schedule, WarmupsShape) {
  ScheduleConfig config = schedule(ScheduleName::constant, 300);
  config.warmup_shape = WarmupShape::cosine;
  expect_figure(made(config, 1000).multiplier(149), 0.5);
  expect_figure(made(config, 1000).multiplier(99), 0.25);  // cos(pi/3) = 1/2
  config.warmup_first = WarmupFirst::zero;
  EXPECT_EQ(made(config, 1000).multiplier(0), 0.0);
  expect_figure(made(config, 1000).multiplier(100), 0.25);
  config.warmup_first = WarmupFirst::percent;
  expect_figure(made(config, 1000).multiplier(0), 0.01);
  expect_figure(made(config, 1000).multiplier(100), 0.01 + 0.99 * 0.25);

  config.warmup_shape = WarmupShape::exponential;
  expect_figure(made(config, 1000).multiplier(0), 0.01);
  expect_figure(made(config, 1000).multiplier(150), 0.1);
  expect_figure(made(config, 1000).multiplier(200) / made(config, 1000).multiplier(199), std::pow(100.0, 1.0 / 300.0));
  config.warmup_first = WarmupFirst::one_step;
  expect_figure(made(config, 1000).multiplier(149), 0.1);
  expect_figure(made(config, 1000).multiplier(299), 1.0);
}

TEST(Schedule, WarmupMayBeGivenInTokens) {
  ScheduleConfig config = schedule(ScheduleName::linear, std::nullopt);
  config.warmup_tokens = 10 * step_tokens;
  EXPECT_EQ(made(config, 100).warmup_steps(), 10);
  ++*config.warmup_tokens;
  EXPECT_EQ(made(config, 100).warmup_steps(), 11);
  expect_figure(made(config, 100).multiplier(0), 1.0 / 11.0);
  config.warmup_tokens = 0;
  EXPECT_EQ(made(config, 100).multiplier(0), 1.0);
}

TEST(Schedule, DecayHasAScheduleOfItsOwn) {
  const Schedule wsd = made(schedule(ScheduleName::wsd, 100), 1000);
  for (const std::int64_t k : {0, 99, 500, 850, 999}) {
    EXPECT_EQ(wsd.decay_multiplier(DecaySchedule::constant, k), 1.0) << k;
    EXPECT_EQ(wsd.decay_multiplier(DecaySchedule::follow_rate, k), wsd.multiplier(k)) << k;
  }
  EXPECT_EQ(wsd.decay_multiplier(DecaySchedule::linear, 0), 1.0);  // no warmup
  expect_figure(wsd.decay_multiplier(DecaySchedule::linear, 250), 0.75);
  expect_figure(wsd.decay_multiplier(DecaySchedule::linear, 999), 0.001);
  EXPECT_EQ(wsd.decay_multiplier(DecaySchedule::linear, 1001), 0.0);
  EXPECT_EQ(wsd.decay_multiplier(DecaySchedule::cosine, 0), 1.0);
  expect_figure(wsd.decay_multiplier(DecaySchedule::cosine, 500), 0.5);
  expect_figure(wsd.decay_multiplier(DecaySchedule::cosine, 250), 0.5 * (1.0 + std::sqrt(0.5)));
}

TEST(Schedule, MomentumRisesAndFallsBack) {
  ScheduleConfig config = schedule(ScheduleName::constant, 0);
  EXPECT_EQ(made(config, 1000).momentum(0.95, 0), 0.95) << "no schedule of momentum";
  EXPECT_EQ(made(config, 1000).momentum(0.95, 999), 0.95);
  config.momentum_warmup_steps = 300;
  config.momentum_cooldown_steps = 200;
  const Schedule both = made(config, 1000);
  EXPECT_EQ(both.momentum(0.95, 0), 0.85);
  expect_figure(both.momentum(0.95, 150), 0.9);
  for (const std::int64_t k : {300, 500, 800}) EXPECT_EQ(both.momentum(0.95, k), 0.95) << k;
  expect_figure(both.momentum(0.95, 900), 0.9);
  expect_figure(both.momentum(0.95, 999), 0.8505);
  EXPECT_EQ(both.momentum(0.95, 1000), 0.85);
  expect_figure(both.momentum(0.0, 150), 0.425);  // whatever the value is
}

TEST(Schedule, NeverLeavesItsBounds) {
  for (const std::int64_t total : {1, 2, 7, 100}) {
    for (std::int64_t warmup = 0; warmup <= std::min<std::int64_t>(total, 7); ++warmup) {
      for (const ScheduleConfig& config : all_schedules(warmup)) {
        const Schedule given = made(config, total);
        for (std::int64_t k = 0; k <= total + 2; ++k) {
          const auto where = [&] {
            return ::testing::Message() << static_cast<int>(config.name) << " " << total << " " << warmup << " " << k;
          };
          ASSERT_GE(given.multiplier(k), 0.0) << where();
          ASSERT_LE(given.multiplier(k), 1.0) << where();
          if (k <= warmup || config.name == ScheduleName::restarts) continue;
          ASSERT_LE(given.multiplier(k), given.multiplier(k - 1)) << where();
        }
      }
    }
  }
}

}  // namespace
}  // namespace temper
