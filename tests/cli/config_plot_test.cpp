// `temper config plot`: the table and the charts of a run's schedules.
#include "cli/config_plot.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "config/validate.h"

namespace temper {
namespace {

/// AdamW, cosine after a warmup of a tenth, 500 steps of 2 x 16 x 64 tokens.
RunConfig plotted() {
  RunConfig config;
  config.data.train = {"a.bin"};
  config.model = {1, 1, 16, 64, 300};
  config.batch = {2048, 16};
  config.train.steps = 500;
  config.optimizer.learning_rate = 1e-3;
  config.optimizer.weight_decay = 0.1;
  config.schedule.warmup_steps = 50;
  validate(config);
  return config;
}

TEST(ConfigPlot, PointsAreWhatTheRunWillDo) {
  const std::vector<SchedulePoint> points = schedule_points(plotted());
  ASSERT_EQ(points.size(), 500u);
  for (std::size_t k = 0; k < points.size(); ++k) EXPECT_EQ(points[k].step, static_cast<std::int64_t>(k));
  EXPECT_NEAR(points[0].learning_rate, 1e-3 / 50, 1e-18);  // one rounding
  EXPECT_NEAR(points[275].learning_rate, 5e-4, 1e-18);     // half of the cosine
  EXPECT_NEAR(points[275].decay, 5e-5, 1e-19);             // rate x weight_decay
  EXPECT_EQ(points[275].momentum, 0.9);
  EXPECT_EQ(points[0].step_tokens, 2048);
}

TEST(ConfigPlot, ALongRunIsSampledToItsEnd) {
  RunConfig config = plotted();
  for (const std::int64_t steps : {1, 2, 1000, 1001, 19560, 1'000'000'000}) {
    config.train.steps = steps;
    config.schedule.warmup_steps = 0;
    const std::vector<SchedulePoint> points = schedule_points(config);
    EXPECT_LE(points.size(), 1001u) << steps;
    EXPECT_GE(points.size(), std::min<std::size_t>(static_cast<std::size_t>(steps), 500)) << steps;
    EXPECT_EQ(points.front().step, 0) << steps;
    EXPECT_EQ(points.back().step, steps - 1) << steps;
    for (std::size_t i = 1; i < points.size(); ++i) ASSERT_LT(points[i - 1].step, points[i].step) << steps;
  }
}

TEST(ConfigPlot, TheTableHoldsThePointsBitForBit) {
  RunConfig config = plotted();
  config.schedule.batch_warmup_steps = 100;
  config.schedule.batch_start_tokens = 1024;
  config.schedule.momentum_warmup_steps = 30;
  config.schedule.context_warmup_steps = 100;
  config.schedule.context_start = 8;
  const std::vector<SchedulePoint> points = schedule_points(config);
  std::istringstream table(schedule_table(points));
  std::string line;
  std::size_t lines = 0;
  for (; std::getline(table, line); ++lines) {
    const auto json = nlohmann::json::parse(line);
    ASSERT_LT(lines, points.size());
    EXPECT_EQ(json["step"], points[lines].step);
    EXPECT_EQ(json["learning_rate"], points[lines].learning_rate);
    EXPECT_EQ(json["decay"], points[lines].decay);
    EXPECT_EQ(json["momentum"], points[lines].momentum);
    EXPECT_EQ(json["step_tokens"], points[lines].step_tokens);
    EXPECT_EQ(json["context"], points[lines].context);
  }
  EXPECT_EQ(lines, points.size());
  EXPECT_EQ(points[0].momentum, 0.85);
  EXPECT_EQ(points[0].step_tokens, 1024);
  EXPECT_EQ(points[499].step_tokens, 2048);
  EXPECT_EQ(points[0].context, 8);
  EXPECT_EQ(points[50].context, 32);  // of 36
  EXPECT_EQ(points[100].context, 64);
}

TEST(ConfigPlot, ChartsShowEachQuantityOnce) {
  const auto charts = [](const RunConfig& config) { return schedule_charts(config, schedule_points(config)); };
  const auto count = [](const std::string& text, const std::string& part) {
    std::size_t times = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++times;
    return times;
  };
  RunConfig config = plotted();
  const std::string three = charts(config);
  EXPECT_EQ(three.find("adamw, cosine over 500 steps (1.0M tokens), 50 of them warmup\n"), 0u) << three;
  EXPECT_EQ(count(three, "* learning rate"), 1u) << three;
  EXPECT_EQ(count(three, "* weight decay: share of a weight that an update removes"), 1u) << three;
  EXPECT_EQ(count(three, "* momentum"), 1u) << three;
  EXPECT_EQ(count(three, "499 steps"), 3u) << three;  // one axis for all
  EXPECT_EQ(count(three, "1.00e-03 ┤"), 1u) << three;
  EXPECT_EQ(count(three, "1.00e-04 ┤"), 1u) << three;

  config.schedule.warmup_steps = 0;
  config.schedule.batch_warmup_steps = 100;
  config.schedule.batch_start_tokens = 1024;
  config.optimizer.name = OptimizerName::sgd;
  const std::string four = charts(config);
  EXPECT_EQ(four.find("sgd, cosine over 500 steps"), 0u) << four;
  EXPECT_NE(four.find("no warmup"), std::string::npos) << four;
  EXPECT_EQ(count(four, "* tokens per step"), 1u) << four;
  EXPECT_EQ(count(four, "coefficient of the weight in the gradient"), 1u) << four;
  EXPECT_EQ(count(four, "* tokens per sequence"), 0u) << four;
  config.schedule.context_warmup_steps = 100;
  config.schedule.context_start = 8;
  EXPECT_EQ(count(charts(config), "* tokens per sequence"), 1u);
  config.optimizer.decay = DecayMode::none;
  EXPECT_EQ(count(charts(config), "weight decay: none"), 1u);
}

}  // namespace
}  // namespace temper
