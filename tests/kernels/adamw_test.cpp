// AdamW over many steps, and what happens to a step that is not finite.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/philox.h"
#include "kernels/support/backends.h"
#include "kernels/support/on_device.h"

namespace temper {
namespace {

class AdamWTest : public testing::TestWithParam<BackendChoice> {
 protected:
  Backend backend_{GetParam()};
};

/// What AdamW keeps of each parameter, on the host.
struct AdamWValues {
  std::vector<float> master, gradient, first, second;

  explicit AdamWValues(std::size_t count) : master(count), gradient(count), first(count), second(count) {}
};

/// The same in a backend's memory, all of it one segment of the optimizer.
class Parameters {
 public:
  Parameters(Ops& ops, const AdamWValues& values, const ParameterSegment& segment)
      : ops_(ops),
        count_(values.master.size()),
        master_(ops, values.master),
        gradient_(ops, values.gradient),
        first_(ops, values.first),
        second_(ops, values.second),
        segment_(ops, std::vector<ParameterSegment>{segment}),
        scalars_(ops, std::vector<StepScalars>(1)) {}

  void set_gradient(const std::vector<float>& gradient) { ops_.copy_to_device(gradient_.data(), gradient.data(), 4 * count_); }
  void set_scalars(const StepScalars& scalars) { ops_.copy_to_device(scalars_.data(), &scalars, sizeof(scalars)); }
  StepScalars scalars() { return scalars_.read()[0]; }

  void global_norm(float max_norm) {
    ops_.global_norm({.gradients = {gradient_.data(), DType::f32, {static_cast<std::int64_t>(count_)}},
                      .max_norm = max_norm,
                      .scalars = scalars_.data()});
  }
  void update(const Adam& rule) {
    UpdateBuffers buffers;
    buffers.master = master_.data();
    buffers.gradient = gradient_.data();
    buffers.state[0] = first_.data();
    buffers.state[1] = second_.data();
    ops_.optimizer_update({.rule = rule,
                           .settings = UpdateSettings{},
                           .buffers = buffers,
                           .segments = {segment_.data(), 1},
                           .scalars = scalars_.data()});
  }

  std::vector<float> master() { return master_.read(); }
  std::vector<float> first() { return first_.read(); }
  std::vector<float> second() { return second_.read(); }

 private:
  Ops& ops_;
  std::size_t count_;
  OnDevice<float> master_, gradient_, first_, second_;
  OnDevice<ParameterSegment> segment_;
  OnDevice<StepScalars> scalars_;
};

StepScalars scalars_of_step(int step, const Adam& rule, float rate) {
  StepScalars scalars = {};
  scalars.learning_rate = rate;
  scalars.decay = rate;
  scalars.beta1 = 0.9f;
  scalars.gradient_weight = 0.1f;
  scalars.bias_correction1 = static_cast<float>(1 - std::pow(0.9, step));
  scalars.bias_correction2 = static_cast<float>(1 - std::pow(static_cast<double>(rule.beta2), step));
  scalars.clip_factor = 1.0f;
  scalars.finite = 1;
  return scalars;
}

// torch.optim.AdamW in float64: lr 0.01, betas (0.9, 0.95), eps 1e-8, weight_decay 0.1.
TEST_P(AdamWTest, FollowsPyTorch) {
  const std::vector<std::vector<float>> gradients = {{.5f, -.2f, .1f, -1},   {-.4f, .3f, .1f, -1}, {.3f, -.1f, -.2f, 2},
                                                     {-.2f, .2f, .4f, -.5f}, {.1f, .1f, -.3f, 1},  {.6f, -.4f, .2f, -.1f}};
  const std::vector<std::vector<double>> expected = {
      {.989, -1.988000001, .489500001, 3.007},          {.987428139, -1.988477131, .479010502, 3.013993}, {}, {}, {},
      {.9736885, -1.985925686, .470970332, 2.998973322}};
  const Adam rule;
  AdamWValues start(4);
  start.master = {1, -2, .5f, 3};
  Parameters p(backend_.ops(), start, {0, 2, 2, 0, 1.0f, 1.0f, 0.1f, NormControl::none, 0});
  for (std::size_t step = 0; step < gradients.size(); ++step) {
    p.set_gradient(gradients[step]);
    p.set_scalars(scalars_of_step(static_cast<int>(step) + 1, rule, 0.01f));
    p.update(rule);
    const std::vector<float> master = p.master();
    // A few units in the last place of numbers up to 3 (2.4e-7) gathered over six steps.
    for (std::size_t i = 0; i < expected[step].size(); ++i)
      EXPECT_NEAR(static_cast<double>(master[i]), expected[step][i], 1e-6) << "step " << step + 1 << " element " << i;
  }
}

TEST_P(AdamWTest, FollowsDoublePrecisionFor100Steps) {
  const Adam rule;
  const std::size_t count = 517;
  AdamWValues values(count);
  std::vector<double> weight(count), first(count), second(count);
  auto draw = [](std::uint32_t step, std::size_t i) {
    return uniform_open(random_block(5, RandomPurpose::benchmark, step, i).word[0]) - 0.5f;
  };
  for (std::size_t i = 0; i < count; ++i) weight[i] = values.master[i] = draw(0, i);
  Parameters p(backend_.ops(), values, {0, 11, 47, 0, 0.5f, 0.5f, 0.05f, NormControl::none, 0});
  const double rate = 0.5 * static_cast<double>(1e-2f), beta1 = 0.9, beta2 = static_cast<double>(rule.beta2);
  for (int step = 1; step <= 100; ++step) {
    StepScalars scalars = scalars_of_step(step, rule, 1e-2f);
    scalars.clip_factor = 0.25f;
    for (std::size_t i = 0; i < count; ++i) values.gradient[i] = draw(static_cast<std::uint32_t>(step), i);
    p.set_gradient(values.gradient);
    p.set_scalars(scalars);
    p.update(rule);
    for (std::size_t i = 0; i < count; ++i) {
      const double gradient = 0.25 * static_cast<double>(values.gradient[i]);
      first[i] = beta1 * first[i] + (1 - beta1) * gradient;
      second[i] = beta2 * second[i] + (1 - beta2) * gradient * gradient;
      weight[i] *= 1 - rate * static_cast<double>(0.1f);
      weight[i] -= rate * (first[i] / (1 - std::pow(beta1, step))) /
                   (std::sqrt(second[i] / (1 - std::pow(beta2, step))) + static_cast<double>(rule.epsilon));
    }
  }
  const std::vector<float> master = p.master();
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < count; ++i) {
    difference += std::pow(static_cast<double>(master[i]) - weight[i], 2);
    norm += weight[i] * weight[i];
  }
  // 100 roundings of 6e-8 each, most of them of random sign.
  EXPECT_LE(std::sqrt(difference / norm), 2e-6);
}

TEST_P(AdamWTest, NothingIsTouchedWhenTheStepIsNotFinite) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  struct Broken {
    float gradient, loss;
  };
  for (const Broken& broken : {Broken{nan, 1}, Broken{infinity, 1}, Broken{-infinity, 1}, Broken{1, nan}, Broken{1, infinity},
                               Broken{1e30f, 1}}) {  // the square of 1e30 fits in double, the norm in f32: finite
    SCOPED_TRACE(broken.gradient);
    AdamWValues before(100);
    for (std::size_t i = 0; i < 100; ++i) before.master[i] = before.first[i] = before.second[i] = static_cast<float>(i) + 1;
    before.gradient[63] = broken.gradient;
    Parameters p(backend_.ops(), before, {0, 1, 100, 0, 1.0f, 1.0f, 0.1f, NormControl::none, 0});
    StepScalars scalars = scalars_of_step(1, Adam{}, 0.1f);
    scalars.loss = broken.loss;
    p.set_scalars(scalars);
    p.global_norm(1.0f);
    const bool finite = broken.gradient == 1e30f;
    EXPECT_EQ(p.scalars().finite, finite ? 1 : 0);
    p.update(Adam{});
    EXPECT_EQ(p.master() == before.master, !finite);
    EXPECT_EQ(p.first() == before.first, !finite);
    EXPECT_EQ(p.second() == before.second, !finite);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, AdamWTest, testing::ValuesIn(all_backends()), backend_name);

}  // namespace
}  // namespace temper
