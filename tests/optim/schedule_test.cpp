// Schedules against closed forms worked out by hand.
#include "optim/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace temper {
namespace {

ScheduleConfig schedule(ScheduleName name, std::int64_t warmup, double min_ratio = 0.0) {
  ScheduleConfig config;
  config.name = name;
  config.warmup_steps = warmup;
  config.min_ratio = min_ratio;
  return config;
}

// The figures have ten significant digits.
void expect_figure(double value, double figure) { EXPECT_NEAR(value, figure, 1e-9 * figure); }

TEST(Schedule, CosineOfThe124MRecipe) {
  const Schedule cosine(schedule(ScheduleName::cosine, 700), 19560);
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
  const Schedule cosine(schedule(ScheduleName::cosine, 10, 0.1), 110);
  expect_figure(cosine.multiplier(60), 0.1 + 0.9 * 0.5);  // cos(pi/2) = 0
  EXPECT_DOUBLE_EQ(cosine.multiplier(110), 0.1);
  EXPECT_DOUBLE_EQ(cosine.multiplier(111), 0.1);
  EXPECT_DOUBLE_EQ(cosine.multiplier(1'000'000), 0.1);
}

TEST(Schedule, LinearDecayToZero) {
  const Schedule linear(schedule(ScheduleName::linear, 100), 1000);
  expect_figure(linear.multiplier(100), 1.0);
  expect_figure(linear.multiplier(550), 0.5);
  expect_figure(linear.multiplier(999), 1.0 / 900.0);
  EXPECT_EQ(linear.multiplier(1000), 0.0);
  EXPECT_EQ(linear.multiplier(1001), 0.0);
}

TEST(Schedule, LinearDecayToARatio) {
  const Schedule linear(schedule(ScheduleName::linear, 0, 0.2), 10);
  expect_figure(linear.multiplier(0), 1.0);
  expect_figure(linear.multiplier(5), 0.6);
  expect_figure(linear.multiplier(9), 0.28);
  expect_figure(linear.multiplier(10), 0.2);
}

TEST(Schedule, WsdHoldsThenFallsWithTheRoot) {
  ScheduleConfig config = schedule(ScheduleName::wsd, 100);
  config.cooldown_fraction = 0.2;
  const Schedule wsd(config, 1000);
  expect_figure(wsd.multiplier(99), 1.0);
  expect_figure(wsd.multiplier(799), 1.0);
  expect_figure(wsd.multiplier(800), 1.0);
  expect_figure(wsd.multiplier(850), 0.5);
  EXPECT_NEAR(wsd.multiplier(900), 0.2928932, 1e-7);  // 1 - sqrt(1/2), to the digits of the figure
  EXPECT_NEAR(wsd.multiplier(999), 0.0025031, 1e-7);
  EXPECT_EQ(wsd.multiplier(1000), 0.0);
  EXPECT_EQ(wsd.multiplier(1001), 0.0);

  config.min_ratio = 0.1;
  expect_figure(Schedule(config, 1000).multiplier(850), 0.1 + 0.9 * 0.5);
}

TEST(Schedule, WsdCoolsOverTheNearestNumberOfUpdates) {
  ScheduleConfig config = schedule(ScheduleName::wsd, 0);
  config.cooldown_fraction = 0.29;  // times 100 a little less than 29 in binary
  const Schedule wsd(config, 100);
  expect_figure(wsd.multiplier(71), 1.0);
  expect_figure(wsd.multiplier(72), 1.0 - std::sqrt(1.0 / 29.0));

  config.cooldown_fraction = 1e-6;  // not one update
  EXPECT_EQ(Schedule(config, 100).multiplier(99), 1.0);
  EXPECT_EQ(Schedule(config, 100).multiplier(100), 0.0);
}

TEST(Schedule, ConstantStays) {
  const Schedule constant(schedule(ScheduleName::constant, 4, 0.5), 10);
  expect_figure(constant.multiplier(0), 0.25);
  expect_figure(constant.multiplier(3), 1.0);
  for (const std::int64_t k : {4, 9, 10, 11, 1000}) EXPECT_EQ(constant.multiplier(k), 1.0) << k;
}

TEST(Schedule, EveryScheduleStartsAtFullRateWithoutWarmup) {
  for (const ScheduleName name : {ScheduleName::constant, ScheduleName::linear, ScheduleName::cosine, ScheduleName::wsd}) {
    const Schedule given(schedule(name, 0), 50);
    EXPECT_EQ(given.multiplier(0), 1.0) << static_cast<int>(name);
    EXPECT_LT(given.multiplier(49), name == ScheduleName::constant ? 2.0 : 0.1) << static_cast<int>(name);
    EXPECT_EQ(Schedule(schedule(name, -1), 50).multiplier(0), 1.0) << "no warmup given";
  }
}

TEST(Schedule, WarmupMayFillTheRun) {
  for (const ScheduleName name : {ScheduleName::constant, ScheduleName::linear, ScheduleName::cosine, ScheduleName::wsd}) {
    const Schedule given(schedule(name, 5, 0.1), 5);
    expect_figure(given.multiplier(0), 0.2);
    expect_figure(given.multiplier(4), 1.0);
    EXPECT_DOUBLE_EQ(given.multiplier(5), name == ScheduleName::constant ? 1.0 : 0.1) << static_cast<int>(name);
  }
}

TEST(Schedule, WarmupMayBeAShareOfTheRun) {
  ScheduleConfig config = schedule(ScheduleName::linear, -1);
  config.warmup_fraction = 0.1;
  const Schedule linear(config, 300);
  EXPECT_EQ(linear.warmup_steps(), 30);
  expect_figure(linear.multiplier(0), 1.0 / 30.0);
  expect_figure(linear.multiplier(29), 1.0);
}

TEST(Schedule, NeverLeavesItsBounds) {
  for (const ScheduleName name : {ScheduleName::constant, ScheduleName::linear, ScheduleName::cosine, ScheduleName::wsd}) {
    for (const std::int64_t total : {1, 2, 7, 100}) {
      for (std::int64_t warmup = 0; warmup <= std::min<std::int64_t>(total, 7); ++warmup) {
        const Schedule given(schedule(name, warmup), total);
        for (std::int64_t k = 0; k <= total + 2; ++k) {
          ASSERT_GE(given.multiplier(k), 0.0) << total << " " << warmup << " " << k;
          ASSERT_LE(given.multiplier(k), 1.0) << total << " " << warmup << " " << k;
          if (k <= warmup) continue;
          ASSERT_LE(given.multiplier(k), given.multiplier(k - 1)) << total << " " << warmup << " " << k;
        }
      }
    }
  }
}

}  // namespace
}  // namespace temper
