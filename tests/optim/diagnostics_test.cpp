// What is measured of an update, against the same numbers worked out in double from downloaded tensors; and the estimators of
// signal and noise against gradients whose signal and noise are known.
#include "optim/diagnostics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "diagnostics_problem.h"
#include "optim/prior.h"

namespace temper {
namespace {

TEST(Diagnostics, MatrixAgreesWithDoublePrecision) {
  Problem run(adamw());
  run.new_gradients();
  run.step(0);
  const Vector moment = run.read(first_moment(run.optimizer), 64, 48);
  run.new_gradients();
  const Vector before = run.weights(64, 48), gradient = run.gradients(64, 48);
  const StepDiagnostics measured = run.step(1);
  const Vector after = run.weights(64, 48), update = sum(after, before, -1.0);
  const double decay = 0.01 * 0.1;
  const Vector step = sum(update, before, decay);

  ASSERT_EQ(measured.tensors.size(), 5u);
  const UpdateDiagnostics& matrix = measured.tensors[3];
  EXPECT_EQ(matrix.name, "transformer.h.1.mlp.c_fc.weight");
  EXPECT_NEAR(matrix.grad_norm, norm(gradient), rounding * norm(gradient));
  EXPECT_NEAR(matrix.weight_norm, norm(before), rounding * norm(before));
  EXPECT_NEAR(matrix.update_norm, norm(update), rounding * norm(update));
  EXPECT_NEAR(matrix.step_norm, norm(step), rounding * norm(step));
  EXPECT_NEAR(matrix.relative_update, norm(update) / norm(before), rounding * matrix.relative_update);
  EXPECT_NEAR(matrix.effective_rate, 0.01 / norm(before), rounding * matrix.effective_rate);
  EXPECT_NEAR(matrix.alignment, dot(gradient, moment) / norm(gradient) / norm(moment), rounding);
  EXPECT_NEAR(matrix.moment_ratio, norm(moment) / norm(gradient), rounding);
  EXPECT_NEAR(matrix.angle, angle_between(after, before), rounding * matrix.angle);
  EXPECT_NEAR(matrix.step_angle, angle_between(sum(before, step, 1.0), before), rounding * matrix.step_angle);
  double squares = 0.0, step_squares = 0.0, fourth = 0.0, largest = 0.0;
  for (std::ptrdiff_t row = 0; row < 6; ++row) {
    const Vector old_row(before.begin() + 8 * row, before.begin() + 8 * row + 8);
    const Vector new_row(after.begin() + 8 * row, after.begin() + 8 * row + 8);
    const Vector row_step(step.begin() + 8 * row, step.begin() + 8 * row + 8);
    squares += std::pow(angle_between(new_row, old_row), 2);
    step_squares += std::pow(angle_between(sum(old_row, row_step, 1.0), old_row), 2);
  }
  for (const double w : before) {
    fourth += w * w * w * w;
    largest = std::max(largest, std::abs(w));
  }
  EXPECT_NEAR(matrix.row_angle, std::sqrt(squares / 6), rounding * matrix.row_angle);
  EXPECT_NEAR(matrix.step_row_angle, std::sqrt(step_squares / 6), rounding * matrix.step_row_angle);
  EXPECT_NEAR(matrix.excess_kurtosis, 48 * fourth / std::pow(dot(before, before), 2) - 3, rounding);
  EXPECT_NEAR(matrix.largest_weight, largest, rounding);
}

TEST(Diagnostics, PackedQkvCountsAsThreeMatricesAndLayersAddUp) {
  Problem run(adamw());
  run.new_gradients();
  const StepDiagnostics measured = run.step(0);
  EXPECT_EQ(measured.tensors[0].name, "transformer.h.0.attn.c_attn.weight.q");
  EXPECT_EQ(measured.tensors[2].name, "transformer.h.0.attn.c_attn.weight.v");
  EXPECT_NEAR(measured.tensors[1].grad_norm, norm(run.gradients(16, 16)), rounding);
  ASSERT_EQ(measured.layers.size(), 2u);
  EXPECT_NEAR(measured.layers[0].grad_norm, norm(run.gradients(0, 48)), rounding);
  EXPECT_DOUBLE_EQ(measured.layers[1].row_angle, measured.tensors[3].row_angle);
  const double all = dot(run.gradients(0, 256), run.gradients(0, 256));
  EXPECT_NEAR(measured.all.grad_norm, std::sqrt(all), rounding);
}

// 1/sqrt(tokens lambda) is the prior of L2; decoupled decay under Adam is no prior of one width for the weights themselves.
TEST(Diagnostics, HistogramCountsEveryWeightBesideThePrior) {
  OptimizerConfig config = adamw();
  config.name = OptimizerName::adam;
  config.decay = DecayMode::l2;
  config.weight_decay = 1e-3;
  Problem run(config);
  const std::vector<WeightHistogram> histograms = run.diagnostics.histograms(0, 4e5).plain;
  ASSERT_EQ(histograms.size(), 4u);  // the vector has none
  const WeightHistogram& matrix = histograms[3];
  EXPECT_EQ(std::accumulate(matrix.counts.begin(), matrix.counts.end(), 0), 48);
  const Vector weights = run.weights(64, 48);
  EXPECT_NEAR(matrix.deviation, norm(weights) / std::sqrt(48), rounding);
  ASSERT_TRUE(matrix.prior_deviation);
  EXPECT_NEAR(*matrix.prior_deviation, 0.05, 1e-8);  // lambda is an f32 number
  const auto below = std::count_if(weights.begin(), weights.end(), [](double w) { return w < 0.0; });
  EXPECT_EQ(std::accumulate(matrix.counts.begin(), matrix.counts.begin() + 48, 0), below);
  EXPECT_GT(matrix.distance, 0.0);
  EXPECT_LT(matrix.distance, 0.5);
  EXPECT_TRUE(run.diagnostics.histograms(0, 4e5).preconditioned.empty());
  EXPECT_FALSE(Problem(adamw()).diagnostics.histograms(0, 4e5).plain[3].prior_deviation);
}

// Loshchilov & Hutter, proposition 3, for the mean loss over n tokens: w_i ~ N(0, alpha/(n lambda s_i)) with the paper's lambda.
TEST(Diagnostics, DecoupledDecayIsAPriorOnAdamsScale) {
  OptimizerConfig config = adamw();
  config.decay = DecayMode::independent;
  config.weight_decay = 4e-5;  // over the rate of 0.01: 4e-3
  Problem run(config);
  run.new_gradients();
  run.step(0);
  const std::vector<WeightHistogram> histograms = run.diagnostics.histograms(0, 1e5).preconditioned;
  ASSERT_EQ(histograms.size(), 4u) << "the vector does not decay";
  const WeightHistogram& matrix = histograms[3];
  EXPECT_EQ(matrix.name, "transformer.h.1.mlp.c_fc.weight");
  EXPECT_NEAR(*matrix.prior_deviation, 0.05, 1e-7);  // rate and lambda are f32 numbers

  // After one step s = |g|.
  Vector scaled = run.weights(64, 48);
  const Vector gradients = run.gradients(64, 48);
  for (std::size_t i = 0; i < scaled.size(); ++i) scaled[i] *= std::sqrt(std::abs(gradients[i]));
  EXPECT_NEAR(matrix.deviation, norm(scaled) / std::sqrt(48), rounding);
  for (const double limit : {-1.0, 0.0, 1.0}) {
    const auto below = std::count_if(scaled.begin(), scaled.end(), [&](double z) { return z < limit * matrix.deviation; });
    EXPECT_EQ(std::accumulate(matrix.counts.begin(), matrix.counts.begin() + 48 + static_cast<int>(8 * limit), 0), below);
  }
}

TEST(Diagnostics, AnglesDownToAMicroradian) {
  for (const double turned : {0.1, 1e-3, 1e-6}) {
    const std::unique_ptr<Ops> ops = make_cpu_ops();
    DeviceMemory memory(ops.get());
    constexpr std::int64_t count = 4096;
    std::mt19937 random(3);
    std::normal_distribution<double> numbers;
    Vector weight(count), other(count);
    for (double& w : weight) w = numbers(random);
    for (double& w : other) w = numbers(random);
    other = sum(other, weight, -dot(other, weight) / dot(weight, weight));
    const Vector after = sum(weight, other, std::tan(turned) * norm(weight) / norm(other));
    const std::vector<float> from(weight.begin(), weight.end()), to(after.begin(), after.end());
    const TensorView before = memory.add("test", DType::f32, {count}), now = memory.add("test", DType::f32, {count});
    ops->copy_to_device(before.data, from.data(), from.size() * sizeof(float));
    ops->copy_to_device(now.data, to.data(), to.size() * sizeof(float));
    ParameterSegment segment{};
    segment.rows = 1;
    segment.columns = count;
    const StepScalars scalars{};
    UpdateStatistics out{};
    ops->update_statistics({.before = before.as<float>(),
                            .after = now.as<float>(),
                            .decay = {},
                            .segments = {&segment, 1},
                            .scalars = &scalars,
                            .out = &out});
    ops->synchronize();
    // f32 weights move by steps of 6e-8 of themselves: at a microradian that is the angle's second digit, and 4096 of them average
    // it out to about 1e-3 of the angle.
    EXPECT_NEAR(std::sqrt(out.row_angles) / turned, 1.0, turned < 1e-5 ? 4e-3 : 2e-4) << turned;
  }
}

// Gradients of 40 elements with a signal and a noise that differ from element to element, halves of 3 and 5 examples.
TEST(SignalToNoise, EstimatesAreUnbiased) {
  constexpr std::size_t elements = 40;
  constexpr double a = 3, b = 5, n = a + b;
  std::mt19937 random(11);
  std::normal_distribution<double> normal;
  Vector signal(elements), deviation(elements);
  double true_noise = 0.0;
  for (std::size_t i = 0; i < elements; ++i) {
    signal[i] = 0.5 * normal(random);
    deviation[i] = 3.0 * static_cast<double>(i + 1) / elements;
    true_noise += deviation[i] * deviation[i] / n;
  }
  constexpr int draws = 20000;
  double sums[2] = {}, squares[2] = {};
  for (int draw = 0; draw < draws; ++draw) {
    TensorMoments halves;
    for (std::size_t i = 0; i < elements; ++i) {
      const double first = a / n * (signal[i] + deviation[i] / std::sqrt(a) * normal(random));
      const double whole = first + b / n * (signal[i] + deviation[i] / std::sqrt(b) * normal(random));
      halves.gradient_squares += whole * whole;
      halves.product += whole * first;
      halves.moment_squares += first * first;
    }
    const SignalNoise one = temper::signal_and_noise(halves, a, b);
    EXPECT_GE(one.noise, 0.0);
    sums[0] += one.signal, squares[0] += one.signal * one.signal;
    sums[1] += one.noise, squares[1] += one.noise * one.noise;
  }
  for (const int which : {0, 1}) {
    const double truth = which == 0 ? dot(signal, signal) : true_noise, mean = sums[which] / draws;
    const double error = std::sqrt((squares[which] / draws - mean * mean) / draws);
    EXPECT_LT(error, 0.01 * truth) << "too few draws to tell";
    EXPECT_NEAR(mean, truth, 4.0 * error) << which;
  }
}

TEST(SignalToNoise, HasBounds) {
  EXPECT_EQ(signal_to_noise(1.0, 0.0), 1e6);
  EXPECT_EQ(signal_to_noise(-1.0, 2.0), 0.0);
  EXPECT_EQ(signal_to_noise(1.0, 2.0), 0.5);
  EXPECT_EQ(temper::signal_and_noise({1.0, 0.375, 0.140625 - 1e-17}, 3, 5).noise, 0.0) << "halves that are alike, but for rounding";
}

// In-batch cosine of a momentum direction with an example's gradient, which the correction holds where it would be without signal.
TEST(SignalToNoise, CorrectionIsTheRatioOfInBatchCosines) {
  constexpr double beta = 0.9, examples = 32.0;
  const auto cosine = [&](double phi) {
    return (phi + (1 - beta) / examples) / std::sqrt((phi + (1 - beta) / ((1 + beta) * examples)) * (1 + phi));
  };
  // Simulated with 20,000 elements, given to four digits.
  for (const auto& [phi, seen] : {std::pair{0.0, .0771}, {0.01, .1210}, {0.1, .3084}, {1.0, .7087}}) {
    EXPECT_NEAR(cosine(phi) / seen, 1.0, 0.01) << phi;
    EXPECT_NEAR(rate_correction(RateCorrection::momentum, phi, examples, beta), cosine(0.0) / cosine(phi), 1e-12) << phi;
  }
  // Without momentum, for B 480 and phi = q/B.
  for (const auto& [q, factor] : {std::pair{0.0, 1.0}, {0.1, .953562}, {1.0, .707843}, {10.0, .304636}, {479.0, .064516}})
    EXPECT_NEAR(rate_correction(RateCorrection::gradient, q / 480, 480, 0.0), factor, 1e-6) << q;
  EXPECT_NEAR(rate_correction(RateCorrection::gradient, 1e12, 480, 0.0), 1 / std::sqrt(480.0), 1e-9);
}

// Signal and noise are smoothed apart, each entry's; a step that comes four later counts as the correction would have it.
TEST(Diagnostics, HalvesGiveSignalAndNoiseOfEachTensor) {
  Problem run(adamw());
  EXPECT_FALSE(run.step(0).all.snr) << "one micro-batch has no halves";
  EXPECT_FALSE(run.step(1).tensors[0].rate_applied);
  struct Place {
    std::int64_t offset, count;
    bool matrix = true;
    SignalNoise mean = {};
  };
  Place places[] = {{0, 16}, {16, 16}, {32, 16}, {64, 48}, {128, 5, false}, {0, 48}, {0, 256}};  // last a layer and all
  StepDiagnostics measured;
  for (const auto& [k, keep] : {std::pair{2, 0.95 * 0.95 * 0.95}, {3, 0.95}, {7, std::pow(0.95, 4)}}) {
    run.new_halves();
    for (Place& one : places) {
      const SignalNoise now = run.signal_and_noise(one.offset, one.count);
      one.mean.signal = keep * one.mean.signal + (1 - keep) * now.signal;
      one.mean.noise = keep * one.mean.noise + (1 - keep) * now.noise;
    }
    measured = run.step(k);
  }
  double factors = 0.0, of_layer = 0.0;
  for (std::size_t i = 0; i < 5; ++i) {
    const Place& one = places[i];
    const UpdateDiagnostics& found = measured.tensors[i];
    const double q = one.mean.signal / one.mean.noise;
    ASSERT_GT(q, 0.1) << found.name;
    EXPECT_NEAR(*found.snr, q, rounding * q) << found.name;
    EXPECT_NEAR(*found.critical_batch, 8 / q, rounding * 8 / q);
    EXPECT_EQ(found.rate_factor.has_value(), one.matrix);
    EXPECT_EQ(found.rate_applied.value_or(0.0), one.matrix ? 1.0 : 0.0) << "nothing is corrected";
    if (!one.matrix) continue;
    const double factor = rate_correction(RateCorrection::momentum, q / 8, 8, 0.9);
    EXPECT_NEAR(*found.rate_factor, factor, rounding);
    factors += factor / 4;
    if (i < 3) of_layer += factor / 3;
  }
  EXPECT_NEAR(*measured.layers[0].snr, places[5].mean.signal / places[5].mean.noise, rounding * *measured.layers[0].snr);
  EXPECT_NEAR(*measured.all.snr, places[6].mean.signal / places[6].mean.noise, rounding * *measured.all.snr);
  EXPECT_NEAR(*measured.all.rate_factor, factors, rounding);
  EXPECT_NEAR(*measured.layers[0].rate_factor, of_layer, rounding);
  EXPECT_EQ(measured.all.rate_applied, 1.0);
}

// Where every step is measured, what is asked for is what was applied, to q, k and v apart.
TEST(Diagnostics, WhatIsAskedForIsApplied) {
  OptimizerConfig config = adamw();
  config.name = OptimizerName::lionar;
  config.grad_clip = 0.1;
  config.rate_correction = RateCorrectionChoice::momentum;
  Problem run(config);
  for (std::int64_t k = 0; k < 5; ++k) {
    run.new_halves();
    const StepDiagnostics measured = run.step(k);
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_LT(*measured.tensors[i].rate_factor, 0.9);
      EXPECT_NEAR(*measured.tensors[i].rate_applied, *measured.tensors[i].rate_factor, rounding) << k << " " << i;
    }
    EXPECT_NE(*measured.tensors[0].rate_applied, *measured.tensors[1].rate_applied);
  }
}

}  // namespace
}  // namespace temper
