// The numbers of each update against their formulas.
#include "optim/hyperparameters.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numbers>

#include "config/run_config.h"

namespace temper {
namespace {

using enum OptimizerName;

constexpr std::int64_t total = 100;

/// Ten updates of warmup, then linear to 0.
ScheduleConfig ramp() {
  ScheduleConfig config;
  config.name = ScheduleName::linear;
  config.warmup_steps = 10;
  return config;
}
double s(std::int64_t k) { return k < 10 ? static_cast<double>(k + 1) / 10.0 : 1.0 - static_cast<double>(k - 10) / 90.0; }

OptimizerConfig with_rate(OptimizerName name, double rate = 0.02) {
  OptimizerConfig config;
  config.name = name;
  config.learning_rate = rate;
  config.weight_decay = 0.1;
  return config;
}

Hyperparameters make(const OptimizerConfig& config, const ScheduleConfig& schedule = ramp(), std::int64_t steps = total) {
  return {resolved_optimizer(config), Schedule(schedule, steps, 1)};
}

const std::int64_t some_updates[] = {0, 1, 9, 10, 55, 99};

TEST(Hyperparameters, RateFollowsTheSchedule) {
  const Hyperparameters numbers = make(with_rate(adamw));
  for (const std::int64_t k : some_updates) {
    EXPECT_FLOAT_EQ(numbers.at(k).learning_rate, static_cast<float>(0.02 * s(k))) << k;
    EXPECT_DOUBLE_EQ(numbers.learning_rate(k), 0.02 * s(k)) << k;
  }
}

TEST(Hyperparameters, DecayGoesByItsMode) {
  const double lambda = 0.3, rate = 0.02;
  const auto decay = [&](OptimizerName name, DecayMode mode, DecaySchedule shape, std::int64_t k) {
    OptimizerConfig config = with_rate(name);
    config.decay = mode;
    config.decay_schedule = shape;
    config.weight_decay = lambda;
    const Hyperparameters numbers = make(config);
    EXPECT_FLOAT_EQ(static_cast<float>(numbers.decay(k)), static_cast<float>(lambda) * numbers.at(k).decay) << k;
    return static_cast<double>(numbers.at(k).decay);
  };
  for (const std::int64_t k : some_updates) {
    for (const DecaySchedule shape :
         {DecaySchedule::constant, DecaySchedule::follow_rate, DecaySchedule::linear, DecaySchedule::cosine}) {
      const double x = static_cast<double>(k) / total;
      const double factor = shape == DecaySchedule::constant      ? 1.0
                            : shape == DecaySchedule::follow_rate ? s(k)
                            : shape == DecaySchedule::linear      ? 1.0 - x
                                                                  : 0.5 * (1.0 + std::cos(std::numbers::pi * x));
      const double f32 = 1e-7;
      EXPECT_NEAR(decay(adamw, DecayMode::decoupled, shape, k), rate * s(k) * factor, f32) << k;
      EXPECT_NEAR(decay(adamw, DecayMode::cautious, shape, k), rate * s(k) * factor, f32) << k;
      EXPECT_NEAR(decay(adamw, DecayMode::independent, shape, k), s(k) * factor, f32) << k;
      EXPECT_NEAR(decay(adamw, DecayMode::normalized, shape, k), s(k) * factor / 10.0, f32) << k;  // sqrt(100 updates)
      EXPECT_NEAR(decay(adam, DecayMode::l2, shape, k), factor, f32) << k;
      EXPECT_NEAR(decay(adam, DecayMode::scale_adjusted, shape, k), factor / rate, 1e-5) << k;
      EXPECT_EQ(decay(adamw, DecayMode::none, shape, k), 0.0) << k;
    }
  }
}

TEST(Hyperparameters, NormalizedDecayGoesByTheRestartCycle) {
  // Loshchilov & Hutter: 0.025, batches of 128 from 50,000 examples, 100 and 200 epochs.
  OptimizerConfig config = with_rate(adamw);
  config.decay = DecayMode::normalized;
  config.weight_decay = 0.025;
  const double updates = 50000.0 / 128.0;
  const auto at = [&](double epochs) {
    return make(config, {.name = ScheduleName::constant}, std::llround(updates * epochs)).decay(0);
  };
  EXPECT_NEAR(at(100), 1.264911064e-4, 1e-9);  // 39,062.5 updates, of which there are whole ones only
  EXPECT_NEAR(at(200), 8.944271910e-5, 1e-12);
  ScheduleConfig restarts;
  restarts.name = ScheduleName::restarts;
  restarts.cycle_steps = 16;
  const Hyperparameters numbers = make(config, restarts);
  EXPECT_NEAR(numbers.decay(0), 0.025 / 4.0, 1e-12);
  EXPECT_NEAR(numbers.decay(16), 0.025 / std::sqrt(32.0), 1e-12);
}

TEST(Hyperparameters, BiasCorrections) {
  const Hyperparameters numbers = make(with_rate(adamw));
  for (const std::int64_t k : some_updates) {
    const StepScalars at = numbers.at(k);
    const auto t = static_cast<double>(k + 1);
    EXPECT_FLOAT_EQ(at.bias_correction1, static_cast<float>(1.0 - std::pow(0.9, t))) << k;
    EXPECT_FLOAT_EQ(at.bias_correction2, static_cast<float>(1.0 - std::pow(0.95, t))) << k;
    EXPECT_FLOAT_EQ(at.previous_correction2, k == 0 ? 1.0f : static_cast<float>(1.0 - std::pow(0.95, t - 1.0))) << k;
    EXPECT_FLOAT_EQ(at.rotation_correction, static_cast<float>(1.0 - std::pow(0.9, t))) << k;
  }
  OptimizerConfig gains = with_rate(lionar);  // which has no Adam's betas
  gains.rotation_gains = true;
  EXPECT_FLOAT_EQ(make(gains).at(1).gain_correction1, 1.0f - 0.9f * 0.9f);
  EXPECT_FLOAT_EQ(make(gains).at(1).gain_correction2, 1.0f - 0.95f * 0.95f);
  gains = with_rate(adamw);
  gains.norm_control = NormControlChoice::rotational;
  gains.rotation_gains = true;
  gains.beta1 = 0.5;
  gains.beta2 = 0.75;
  EXPECT_FLOAT_EQ(make(gains).at(1).gain_correction1, 0.75f);
  EXPECT_FLOAT_EQ(make(gains).at(1).gain_correction2, 0.4375f);
  OptimizerConfig exact = with_rate(lionar);
  exact.rotation_averaging = 0.0;
  EXPECT_EQ(make(exact).at(0).rotation_correction, 1.0f);
}

TEST(Hyperparameters, AMovingMomentumIsCorrectedByItsProduct) {
  ScheduleConfig schedule = ramp();
  schedule.momentum_warmup_steps = 300;
  schedule.momentum_start = 0.5;
  schedule.momentum_cooldown_steps = 40;
  const Hyperparameters numbers = make(with_rate(adamw), schedule, 1000);
  const Schedule same(schedule, 1000, 1);
  double product = 1.0;
  for (std::int64_t k = 0; k < 1000; ++k) {
    product *= same.momentum(0.9, k);
    ASSERT_FLOAT_EQ(numbers.at(k).beta1, static_cast<float>(same.momentum(0.9, k))) << k;
    ASSERT_FLOAT_EQ(numbers.at(k).gradient_weight, static_cast<float>(1.0 - same.momentum(0.9, k))) << k;
    ASSERT_FLOAT_EQ(numbers.at(k).bias_correction1, static_cast<float>(1.0 - product)) << k;
    ASSERT_DOUBLE_EQ(numbers.momentum(k), same.momentum(0.9, k));
  }
  EXPECT_LT(numbers.momentum(0), 0.6);
}

TEST(Hyperparameters, AnUpdatesNumbersDoNotDependOnWhatWasAskedBefore) {
  OptimizerConfig config = with_rate(schedule_free_adamw);
  config.averaging_power = 1.5;
  const Hyperparameters in_order = make(config, ramp(), 2000);
  for (std::int64_t k = 0; k < 2000; ++k) in_order.at(k);
  for (const std::int64_t k : {1999, 3, 255, 256, 257, 1024, 0}) {
    const StepScalars jumped = make(config, ramp(), 2000).at(k), again = in_order.at(k);
    EXPECT_EQ(std::memcmp(&jumped, &again, sizeof(StepScalars)), 0) << k;
  }
}

TEST(Hyperparameters, GradientWeights) {
  OptimizerConfig config = with_rate(sgd);
  EXPECT_EQ(make(config).at(0).gradient_weight, 1.0f);
  config.dampening = 0.75;
  EXPECT_EQ(make(config).at(0).gradient_weight, 1.0f) << "the first gradient is taken whole";
  EXPECT_EQ(make(config).at(1).gradient_weight, 0.25f);
  EXPECT_EQ(make(config).at(0, 5).gradient_weight, 0.25f) << "it is not the first";

  config = with_rate(sgdw);
  EXPECT_FLOAT_EQ(make(config).at(4).gradient_weight, 0.01f);  // 0.02 x 5/10
  EXPECT_EQ(make(config).at(4).learning_rate, 1.0f);
  config.momentum_includes_rate = false;
  EXPECT_EQ(make(config).at(4).gradient_weight, 1.0f);
  EXPECT_FLOAT_EQ(make(config).at(4).learning_rate, 0.01f);
  config.momentum_includes_rate = true;
  config.momentum = 0.0;  // then there is no buffer to hold it
  EXPECT_FLOAT_EQ(make(config).at(4).learning_rate, 0.01f);

  for (const OptimizerName name : {lion, liona, muon, adamw})
    EXPECT_FLOAT_EQ(make(with_rate(name)).at(3).gradient_weight, name == muon ? 0.05f : 0.1f);
}

TEST(Hyperparameters, InverseBiasCorrection) {
  for (const std::int64_t k : some_updates) {
    OptimizerConfig config = with_rate(lionar);
    const StepScalars plain = make(config).at(k);
    const double decayed = std::pow(0.9, static_cast<double>(k + 1));
    config.inverse_bias_correction = InverseBiasCorrection::linear;
    EXPECT_NEAR(make(config).at(k).learning_rate / plain.learning_rate, 1.0 - decayed, 1e-6) << k;
    EXPECT_NEAR(make(config).at(k).rotation / plain.rotation, 1.0 - decayed, 1e-6) << k;
    EXPECT_EQ(make(config).at(k).decay, plain.decay) << k;
    config.inverse_bias_correction = InverseBiasCorrection::root;
    EXPECT_NEAR(make(config).at(k).learning_rate / plain.learning_rate, std::sqrt(1.0 - decayed * decayed), 1e-6) << k;
  }
}

TEST(Hyperparameters, Rotation) {
  const double rate = 0.02, b = 0.9;
  const auto rotation = [&](OptimizerConfig config, std::int64_t k) { return static_cast<double>(make(config).at(k).rotation); };
  for (const std::int64_t k : {0, 20, 70}) {
    OptimizerConfig config = with_rate(lionar);
    EXPECT_NEAR(rotation(config, k), std::sqrt(2 * rate * s(k) * (1 - b) / (1 + b)), 1e-8) << k;
    config.rotation_schedule = RotationSchedule::linear;
    EXPECT_NEAR(rotation(config, k), s(k) * std::sqrt(2 * rate * (1 - b) / (1 + b)), 1e-8) << k;
    config.decay = DecayMode::independent;
    EXPECT_NEAR(rotation(config, k), s(k) * std::sqrt(2 * (1 - b) / (1 + b)), 1e-7) << k;
    config.rotation_schedule = RotationSchedule::root;
    config.decay_schedule = DecaySchedule::linear;
    EXPECT_NEAR(rotation(config, k), std::sqrt(2 * s(k) * (1 - static_cast<double>(k) / total) * (1 - b) / (1 + b)), 1e-7) << k;

    config = with_rate(lion);
    const double b1 = 0.9, b2 = 0.99, d = rate * s(k);
    EXPECT_NEAR(rotation(config, k),
                std::sqrt(std::numbers::pi / 2) * std::sqrt(2 * d) * std::sqrt((1 - b1) * (1 - b1) + b1 * b1 * (1 - b2) / (1 + b2)),
                1e-8)
        << k;
    EXPECT_NEAR(rotation(with_rate(sgd), k), std::sqrt(2 * d / (1 + b)), 1e-8) << k;  // L2 through the momentum
    config = with_rate(sgdw);
    EXPECT_NEAR(rotation(config, k), std::sqrt(2 * s(k) * (1 - b) / (1 + b)), 1e-7) << k;
    config = with_rate(nesterov_lion);
    OptimizerConfig same = with_rate(lion);
    same.beta1 = b * b;
    same.beta2 = b;
    EXPECT_FLOAT_EQ(static_cast<float>(rotation(config, k)), static_cast<float>(rotation(same, k))) << k;
  }
}

TEST(Hyperparameters, AdEMAMixGrowsItsSlowMoment) {
  OptimizerConfig config = with_rate(ademamix);
  EXPECT_EQ(make(config).at(0).slow_weight, 8.0f);
  EXPECT_EQ(make(config).at(0).slow_beta, 0.9999f);
  config.ademamix_warmup_steps = 50;
  const Hyperparameters numbers = make(config);
  EXPECT_FLOAT_EQ(numbers.at(24).slow_weight, 4.0f);
  // The half-life is half-way between those of 0.9 and 0.9999.
  const auto half_life = [](double beta) { return std::log(0.5) / std::log(beta); };
  EXPECT_NEAR(half_life(static_cast<double>(numbers.at(24).slow_beta)), 0.5 * (half_life(0.9) + half_life(0.9999)), 3.0);  // of f32
  for (const std::int64_t k : {49, 80}) {
    EXPECT_EQ(numbers.at(k).slow_weight, 8.0f);
    EXPECT_EQ(numbers.at(k).slow_beta, 0.9999f);
  }
}

TEST(Hyperparameters, ScheduleFreeWeighsPointsByTheLargestRateSoFar) {
  const OptimizerConfig config = with_rate(schedule_free_adamw);
  const Hyperparameters numbers = make(config);
  double weights = 0.0, largest = 0.0;
  for (std::int64_t k = 0; k < total; ++k) {
    largest = std::max(largest, s(k));
    weights += largest * largest;
    EXPECT_NEAR(numbers.at(k).average_weight, largest * largest / weights, 1e-7) << k;
  }
  EXPECT_EQ(numbers.at(0).average_weight, 1.0f);
  ScheduleConfig from_zero = ramp();
  from_zero.warmup_first = WarmupFirst::zero;
  EXPECT_EQ(make(config, from_zero).at(0).average_weight, 0.0f);
  EXPECT_EQ(make(config, from_zero).at(1).average_weight, 1.0f);

  OptimizerConfig powered = config;
  powered.averaging_power = 2.0;
  const Hyperparameters later_count_more = make(powered, {.name = ScheduleName::constant});
  EXPECT_NEAR(later_count_more.at(2).average_weight, 9.0 / 14.0, 1e-7);  // of 1, 4, 9
}

// arXiv 2405.15682, algorithm 1: gamma_t = gamma sqrt(1 - beta2^t), c_t = gamma_t^2 / sum of gamma_i^2.
TEST(Hyperparameters, ScheduleFreeOfThePaperCorrectsTheRate) {
  OptimizerConfig config = with_rate(schedule_free_adamw);
  config.eps_placement = EpsilonPlacement::inside;
  const Hyperparameters numbers = make(config, {.name = ScheduleName::constant});
  double sum = 0.0;
  for (std::int64_t k = 0; k < total; ++k) {
    const double correction = std::sqrt(1.0 - std::pow(0.999, static_cast<double>(k + 1)));
    sum += correction * correction;
    const StepScalars scalars = numbers.at(k);
    EXPECT_FLOAT_EQ(scalars.learning_rate, static_cast<float>(0.02 * correction)) << k;
    EXPECT_FLOAT_EQ(scalars.decay, static_cast<float>(0.02 * correction)) << k;
    EXPECT_EQ(scalars.bias_correction2, 1.0f);
    EXPECT_NEAR(scalars.average_weight, correction * correction / sum, 1e-7) << k;
  }
}

TEST(Hyperparameters, DecayOverARun) {
  const auto of = [](DecayMode mode, const ScheduleConfig& schedule, std::int64_t steps, double lambda = 0.1) {
    OptimizerConfig config = with_rate(adamw);  // at 0.02
    config.decay = mode;
    config.weight_decay = lambda;
    return make(config, schedule, steps).decay_summary();
  };
  double sum = 0.0;
  for (std::int64_t k = 0; k < total; ++k) sum += 0.02 * s(k) * 0.1;
  const DecaySummary decoupled = *of(DecayMode::decoupled, ramp(), total);
  EXPECT_DOUBLE_EQ(decoupled.timescale, 500.0);
  EXPECT_DOUBLE_EQ(decoupled.share, 500.0 / static_cast<double>(total));
  EXPECT_NEAR(decoupled.sum, sum, 1e-12);
  EXPECT_DOUBLE_EQ(*decoupled.equilibrium_rms, std::sqrt(0.02 / 0.2));
  // The same decay by another name.
  for (const auto& [mode, lambda] :
       {std::pair(DecayMode::independent, 0.002), std::pair(DecayMode::normalized, 0.002 * std::sqrt(total))}) {
    const DecaySummary other = *of(mode, ramp(), total, lambda);
    EXPECT_DOUBLE_EQ(other.timescale, 500.0);
    EXPECT_NEAR(other.sum, sum, 1e-12);
    EXPECT_DOUBLE_EQ(*other.equilibrium_rms, *decoupled.equilibrium_rms);
  }
  // Of more updates than are added up one by one.
  EXPECT_NEAR(of(DecayMode::decoupled, {.name = ScheduleName::cosine}, 1'000'003)->sum, 0.002 * (1'000'003 + 1) / 2, 2e-3);
  EXPECT_FALSE(of(DecayMode::none, ramp(), total));
  EXPECT_FALSE(of(DecayMode::l2, ramp(), total));
  EXPECT_FALSE(of(DecayMode::decoupled, ramp(), total, 0.0));
  EXPECT_FALSE(make(with_rate(lionar)).decay_summary()->equilibrium_rms) << "its norms are held";
}

TEST(Hyperparameters, EarlierUpdatesCount) {
  for (const OptimizerName name : {adamw, ademamix, schedule_free_adamw, lionar}) {
    OptimizerConfig config = with_rate(name);
    config.ademamix_warmup_steps = name == ademamix ? 30 : 0;
    if (name == lionar) config.inverse_bias_correction = InverseBiasCorrection::linear;
    const Hyperparameters numbers = make(config, {.name = ScheduleName::constant});
    const StepScalars branched = numbers.at(3, 7), through = numbers.at(10);
    EXPECT_EQ(std::memcmp(&branched, &through, sizeof(StepScalars)), 0) << static_cast<int>(name);
  }
}

TEST(Hyperparameters, AMillionUpdatesInAreQuick) {
  const Hyperparameters numbers = make(with_rate(schedule_free_adamw), ramp(), 2'000'000);
  EXPECT_NEAR(numbers.at(1'000'000).average_weight, 1e-6, 1e-8);
  for (std::int64_t k = 1'000'001; k < 1'001'000; ++k) EXPECT_GT(numbers.at(k).average_weight, 0.0f);
}

}  // namespace
}  // namespace temper
