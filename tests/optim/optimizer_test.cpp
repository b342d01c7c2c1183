// The optimizer over flat buffers: which tensors decay, clipping, bias corrections, and what a step that is not finite leaves.
#include "optim/optimizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

namespace temper {
namespace {

constexpr std::int64_t matrix_at = 0, matrix_size = 12, bias_at = 64, bias_size = 5, flat_size = 128;
constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

OptimizerConfig plain_config() {
  OptimizerConfig config;
  config.learning_rate = 0.1;
  config.weight_decay = 0.5;
  config.grad_clip = 0.0;
  return config;
}

/// A matrix "w" [3,4] and a vector "b" [5] in flat buffers of 128 elements; the rest is padding.
class Buffers {
 public:
  explicit Buffers(const OptimizerConfig& config, bool low_precision = false,
                   ScheduleConfig schedule = {.name = ScheduleName::constant})
      : ops_(make_cpu_ops()),
        memory_(ops_.get()),
        buffers_{memory_.add("test", DType::f32, {flat_size}), memory_.add("test", DType::f32, {flat_size}),
                 low_precision ? memory_.add("test", DType::bf16, {flat_size}) : TensorView{}},
        optimizer(config, Schedule(schedule, 100), {{"w", {3, 4}, matrix_at}, {"b", {bias_size}, bias_at}}, buffers_, ops_.get(),
                  memory_) {
    set_weights(std::vector<float>(flat_size, 1.0f));
    set_gradients(std::vector<float>(flat_size, 0.0f));
  }

  void set_weights(const std::vector<float>& values) {
    ops_->copy_to_device(buffers_.master.data, values.data(), values.size() * sizeof(float));
    if (buffers_.low_precision.present()) ops_->cast(buffers_.master, buffers_.low_precision);
  }
  void set_gradients(const std::vector<float>& values) {
    ops_->copy_to_device(buffers_.gradients.data, values.data(), values.size() * sizeof(float));
  }
  std::vector<float> weights() { return download<float>(buffers_.master); }
  std::vector<bfloat16> low_precision() { return download<bfloat16>(buffers_.low_precision); }
  std::vector<float> state(std::size_t index) { return download<float>(optimizer.states()[index].values); }

  StepScalars step(std::int64_t k, float loss = 1.0f) {
    optimizer.begin_step(k);
    ops_->copy_to_device(optimizer.loss().data, &loss, sizeof(loss));
    optimizer.finish_step();
    return optimizer.finish_read(optimizer.start_read());
  }

 private:
  template <typename T>
  std::vector<T> download(ConstTensorView view) {
    std::vector<T> values(static_cast<std::size_t>(view.numel()));
    ops_->copy_to_host(values.data(), view.data, view.bytes());
    return values;
  }

  std::unique_ptr<Ops> ops_;
  DeviceMemory memory_;
  OptimizedBuffers buffers_;

 public:
  Optimizer optimizer;
};

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

/// Gradients of norm 5: 3 in the matrix, 4 in the vector.
std::vector<float> gradients_of_norm_5() {
  std::vector<float> gradients(flat_size, 0.0f);
  gradients[matrix_at + 7] = 3.0f;
  gradients[bias_at + 2] = -4.0f;
  return gradients;
}

TEST(Optimizer, OnlyTensorsOfTwoDimensionsDecay) {
  EXPECT_TRUE(decays({"w", {3, 4}, 0}));
  EXPECT_FALSE(decays({"b", {5}, 0}));

  Buffers buffers(plain_config());
  buffers.step(0);  // no gradient, so nothing but decay moves a weight: 1 - 0.1 * 0.5 * 1
  const std::vector<float> weights = buffers.weights();
  for (std::int64_t i = 0; i < matrix_size; ++i) EXPECT_FLOAT_EQ(weights[static_cast<std::size_t>(matrix_at + i)], 0.95f) << i;
  for (std::int64_t i = matrix_size; i < flat_size; ++i) EXPECT_EQ(weights[static_cast<std::size_t>(i)], 1.0f) << i;
}

TEST(Optimizer, NothingDecaysWhenDecayIsOff) {
  OptimizerConfig config = plain_config();
  config.decay = DecayMode::none;
  Buffers buffers(config);
  buffers.step(0);
  EXPECT_EQ(buffers.weights(), std::vector<float>(flat_size, 1.0f));
}

TEST(Optimizer, ClipFactorIsTheSmallerOfOneAndTheRatio) {
  const auto clip_factor = [](double grad_clip) {
    OptimizerConfig config = plain_config();
    config.grad_clip = grad_clip;
    Buffers buffers(config);
    buffers.set_gradients(gradients_of_norm_5());
    const StepScalars scalars = buffers.step(0);
    EXPECT_EQ(scalars.gradient_norm, 5.0f);
    EXPECT_EQ(scalars.finite, 1);
    return scalars.clip_factor;
  };
  EXPECT_EQ(clip_factor(0.0), 1.0f);  // off
  EXPECT_EQ(clip_factor(1.0), 1.0f / 5.0f);
  EXPECT_EQ(clip_factor(4.0), 4.0f / 5.0f);
  EXPECT_EQ(clip_factor(5.0), 1.0f);
  EXPECT_EQ(clip_factor(6.0), 1.0f);
}

TEST(Optimizer, MomentsSeeTheClippedGradient) {
  OptimizerConfig config = plain_config();
  config.grad_clip = 1.0;
  Buffers buffers(config);
  buffers.set_gradients(gradients_of_norm_5());
  buffers.step(0);
  EXPECT_FLOAT_EQ(buffers.state(0)[matrix_at + 7], 0.1f * 0.6f);
  EXPECT_FLOAT_EQ(buffers.state(1)[bias_at + 2], 0.05f * 0.64f);
}

TEST(Optimizer, NormOfNothingIsNoNumberOfHarm) {
  OptimizerConfig config = plain_config();
  config.grad_clip = 1.0;
  Buffers buffers(config);
  const StepScalars scalars = buffers.step(0);
  EXPECT_EQ(scalars.gradient_norm, 0.0f);
  EXPECT_EQ(scalars.clip_factor, 1.0f);
  EXPECT_EQ(scalars.finite, 1);
}

TEST(Optimizer, StatesHavePyTorchsNamesAndStartAtZero) {
  Buffers buffers(plain_config());
  ASSERT_EQ(buffers.optimizer.states().size(), 2u);
  EXPECT_EQ(buffers.optimizer.states()[0].name, "exp_avg");
  EXPECT_EQ(buffers.optimizer.states()[1].name, "exp_avg_sq");
  for (const std::size_t index : {0u, 1u}) EXPECT_EQ(buffers.state(index), std::vector<float>(flat_size, 0.0f));
}

TEST(Optimizer, ScalarsCarryRateAndBiasCorrections) {
  ScheduleConfig schedule;
  schedule.name = ScheduleName::linear;
  schedule.warmup_steps = 10;
  Buffers buffers(plain_config(), false, schedule);
  for (const std::int64_t k : {0, 1, 9, 55, 99}) {
    const StepScalars scalars = buffers.step(k, 2.5f);
    EXPECT_FLOAT_EQ(scalars.bias_correction1, static_cast<float>(1.0 - std::pow(0.9, k + 1))) << k;
    EXPECT_FLOAT_EQ(scalars.bias_correction2, static_cast<float>(1.0 - std::pow(0.95, k + 1))) << k;
    const double multiplier = k < 10 ? static_cast<double>(k + 1) / 10.0 : 1.0 - static_cast<double>(k - 10) / 90.0;
    EXPECT_FLOAT_EQ(scalars.schedule, static_cast<float>(multiplier)) << k;
    EXPECT_FLOAT_EQ(scalars.learning_rate, static_cast<float>(0.1 * multiplier)) << k;
    EXPECT_DOUBLE_EQ(buffers.optimizer.learning_rate(k), 0.1 * multiplier) << k;
    EXPECT_EQ(scalars.loss, 2.5f);
  }
}

// Worked out from the equations of Loshchilov & Hutter in double precision.
TEST(Optimizer, FollowsAdamW) {
  Buffers buffers(plain_config());
  double weight = 1.0, m = 0.0, v = 0.0;
  for (std::int64_t k = 0; k < 5; ++k) {
    const double gradient = 0.3 - 0.2 * static_cast<double>(k);
    std::vector<float> gradients(flat_size, 0.0f);
    gradients[matrix_at] = static_cast<float>(gradient);
    buffers.set_gradients(gradients);
    buffers.step(k);
    const double t = static_cast<double>(k + 1);
    m = 0.9 * m + 0.1 * gradient;
    v = 0.95 * v + 0.05 * gradient * gradient;
    weight -= 0.1 * 0.5 * weight + 0.1 * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.95, t))) + 1e-8);
    EXPECT_NEAR(buffers.weights()[matrix_at], weight, 2e-6) << k;  // f32 against f64
  }
}

TEST(Optimizer, WhatIsNotFiniteLeavesEveryBitAlone) {
  Buffers buffers(plain_config(), true);
  buffers.set_gradients(gradients_of_norm_5());
  ASSERT_EQ(buffers.step(0).finite, 1);
  const std::vector<float> weights = buffers.weights(), first = buffers.state(0), second = buffers.state(1);
  const std::vector<bfloat16> low_precision = buffers.low_precision();

  struct Case {
    float loss, gradient;
  };
  const float huge = std::numeric_limits<float>::max();
  const std::array<Case, 5> cases = {
      Case{not_a_number, 1.0f}, {infinity, 1.0f}, {1.0f, not_a_number}, {1.0f, -infinity}, {-infinity, infinity}};
  for (const Case& one : cases) {
    std::vector<float> gradients(flat_size, 0.5f);
    gradients[bias_at + 4] = one.gradient;
    buffers.set_gradients(gradients);
    EXPECT_EQ(buffers.step(1, one.loss).finite, 0) << one.loss << " " << one.gradient;
    EXPECT_TRUE(same_bits(buffers.weights(), weights)) << one.loss << " " << one.gradient;
    EXPECT_TRUE(same_bits(buffers.state(0), first)) << one.loss << " " << one.gradient;
    EXPECT_TRUE(same_bits(buffers.state(1), second)) << one.loss << " " << one.gradient;
    EXPECT_TRUE(same_bits(buffers.low_precision(), low_precision)) << one.loss << " " << one.gradient;
  }

  // Finite gradients whose norm f32 cannot hold are as little use.
  buffers.set_gradients(std::vector<float>(flat_size, huge));
  EXPECT_EQ(buffers.step(1).finite, 0);
  EXPECT_TRUE(same_bits(buffers.weights(), weights));

  buffers.set_gradients(gradients_of_norm_5());
  EXPECT_EQ(buffers.step(1).finite, 1) << "one bad step must not stop the next";
  EXPECT_FALSE(same_bits(buffers.weights(), weights));
}

TEST(Optimizer, LowPrecisionCopyFollowsTheMaster) {
  Buffers buffers(plain_config(), true);
  for (std::int64_t k = 0; k < 3; ++k) {
    buffers.set_gradients(gradients_of_norm_5());
    buffers.step(k);
    const std::vector<float> weights = buffers.weights();
    const std::vector<bfloat16> low_precision = buffers.low_precision();
    for (const auto& [at, size] : {std::pair{matrix_at, matrix_size}, {bias_at, bias_size}}) {
      for (std::int64_t i = at; i < at + size; ++i) {
        const auto index = static_cast<std::size_t>(i);
        EXPECT_EQ(to_float(low_precision[index]), to_float(to_bfloat16(weights[index]))) << k << " " << i;
      }
    }
  }
}

TEST(Optimizer, PaddingIsNeverTouched) {
  Buffers buffers(plain_config());
  buffers.set_gradients(std::vector<float>(flat_size, 1.0f));
  buffers.step(0);
  const std::vector<float> weights = buffers.weights(), first = buffers.state(0);
  for (std::size_t i = 0; i < flat_size; ++i) {
    const auto at = static_cast<std::int64_t>(i);
    if (at < matrix_at + matrix_size || (at >= bias_at && at < bias_at + bias_size)) continue;
    EXPECT_EQ(weights[i], 1.0f) << i;
    EXPECT_EQ(first[i], 0.0f) << i;
  }
}

TEST(Optimizer, PlanCountsWhatIsTaken) {
  std::vector<MemoryGroup> plans[2];
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  for (const bool real : {false, true}) {
    DeviceMemory memory(real ? ops.get() : nullptr);
    const TensorView flat = memory.add("test", DType::f32, {flat_size});
    const Optimizer optimizer(plain_config(), Schedule({}, 10), {{"w", {3, 4}, 0}}, {flat, flat, {}}, real ? ops.get() : nullptr,
                              memory);
    plans[real ? 1 : 0] = memory.plan();
  }
  ASSERT_EQ(plans[0].size(), plans[1].size());
  for (std::size_t i = 0; i < plans[0].size(); ++i) EXPECT_EQ(plans[0][i].bytes, plans[1][i].bytes) << plans[0][i].name;
}

}  // namespace
}  // namespace temper
