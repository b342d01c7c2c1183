// What must hold between rules, and what theory says of their steps when gradients are noise.
#include <algorithm>
#include <cmath>
#include <map>

#include "config/run_config.h"
#include "kernels/noise_scale.h"
#include "optimizer_run.h"

namespace temper {
namespace {

using enum OptimizerName;

OptimizerConfig averaging(OptimizerName name, double momentum, bool nesterov = false) {
  OptimizerConfig config = bare(name, 0.01);
  config.momentum = momentum;
  config.nesterov = nesterov;
  return config;
}

/// Weights after `steps` steps of random gradients, one list per step.
std::vector<Numbers> trajectory(const OptimizerConfig& config, int steps, const ScheduleConfig& schedule = constant_schedule(),
                                double gradient_mean = 0.0, double weight_mean = 0.0) {
  Normal random(17);
  Numbers start = random(60);
  for (double& one : start) one = weight_mean + (weight_mean > 0.0 ? std::abs(one) : one);
  OptimizerRun run(config, one_matrix(6, 10), start, schedule, steps);
  std::vector<Numbers> after;
  for (int k = 0; k < steps; ++k) {
    Numbers g = random(60);
    for (double& one : g) one = gradient_mean + (gradient_mean > 0.0 ? std::abs(one) : one);
    run.step(k, g);
    after.push_back(run.weights());
  }
  return after;
}

double largest_difference(const std::vector<Numbers>& a, const std::vector<Numbers>& b) {
  double most = 0.0;
  for (std::size_t k = 0; k < a.size(); ++k)
    for (std::size_t i = 0; i < a[k].size(); ++i) most = std::max(most, std::abs(a[k][i] - b[k][i]));
  return most;
}

TEST(Identities, NesterovSignIsLionWithTheSquare) {
  for (const double b : {0.9, 0.95}) {
    OptimizerConfig squared = bare(lion, 0.01), equal = bare(lion, 0.01);
    squared.beta1 = b * b;
    squared.beta2 = b;
    equal.beta1 = equal.beta2 = b;
    // Equal signs make equal steps of 0.01; one sign that differed would leave a difference of 0.02.
    EXPECT_LT(largest_difference(trajectory(averaging(nesterov_lion, b), 50), trajectory(squared, 50)), 1e-6) << b;
    OptimizerConfig plain = averaging(liona, b);
    plain.sign_scale = SignScale::one;
    EXPECT_LT(largest_difference(trajectory(plain, 50), trajectory(equal, 50)), 1e-6) << b;
    EXPECT_GT(largest_difference(trajectory(plain, 50), trajectory(squared, 50)), 0.01) << "they are not all the same";
  }
}

TEST(Identities, DecoupledDecayIsIndependentDecayTimesThePeakRate) {
  ScheduleConfig ramp;
  ramp.name = ScheduleName::linear;
  ramp.warmup_steps = 10;
  OptimizerConfig torch = bare(adamw, 0.02, 0.5), paper = bare(adamw, 0.02, 0.02 * 0.5);
  paper.decay = DecayMode::independent;
  EXPECT_LT(largest_difference(trajectory(torch, 50, ramp), trajectory(paper, 50, ramp)), f32);
  const Schedule schedule(ramp, 50, 1);
  const Hyperparameters one(resolved_optimizer(torch), schedule), other(resolved_optimizer(paper), schedule);
  for (int k = 0; k < 50; ++k) EXPECT_NEAR(one.decay(k), other.decay(k), 1e-14) << k;
}

TEST(Identities, L2IsWeightDecayWithoutMomentumOnly) {
  for (const double momentum : {0.0, 0.9}) {
    OptimizerConfig l2 = averaging(sgd, momentum), decay = averaging(sgdw, momentum);
    l2.weight_decay = 0.05 / *l2.learning_rate;
    decay.weight_decay = 0.05;
    const auto a = trajectory(l2, 50), b = trajectory(decay, 50);
    EXPECT_LT(largest_difference({a[0]}, {b[0]}), f32);
    if (momentum == 0.0)
      EXPECT_LT(largest_difference(a, b), f32);
    else
      EXPECT_GT(largest_difference({a[1]}, {b[1]}), 0.01);
  }
}

TEST(Identities, WithoutTheFirstCorrectionStepsAreSmallerByIt) {
  OptimizerConfig both = bare(adamw, 0.01), second = both;
  second.bias_correction = BiasCorrection::second;
  Normal random(3);
  const Numbers start(10, 0.0);
  OptimizerRun a(both, one_matrix(1, 10), start), b(second, one_matrix(1, 10), start);
  for (int k = 0; k < 30; ++k) {
    const Numbers g = random(10), before_a = a.weights(), before_b = b.weights();
    a.step(k, g);
    b.step(k, g);
    const Numbers after_a = a.weights(), after_b = b.weights();
    const double share = 1.0 - std::pow(0.9, k + 1);
    for (std::size_t i = 0; i < 10; ++i)  // a difference of weights up to 0.3, each rounded
      EXPECT_NEAR(after_b[i] - before_b[i], share * (after_a[i] - before_a[i]), 1e-7) << k << " " << i;
  }
}

TEST(Identities, TheFirstStepOfAdamWithL2IsTheSignOfTheSum) {
  Normal random(5);
  const Numbers start = random(40), g = random(40);
  for (const double lambda : {0.0, 0.1, 3.0}) {
    OptimizerRun run(bare(adam, 0.01, lambda), one_matrix(4, 10), start);
    run.step(0, g);
    const Numbers now = run.weights();
    for (std::size_t i = 0; i < 40; ++i) {
      const double sum = g[i] + lambda * start[i];
      EXPECT_NEAR(now[i] - start[i], sum > 0.0 ? -0.01 : 0.01, 3e-7) << lambda << " " << i;  // rounding of weights up to 3
    }
  }
}

TEST(Identities, AveragesOfNoiseAreAsLargeAsTheorySays) {
  constexpr std::size_t count = 100000;  // mean squares are then exact to 0.45%, one sigma
  const std::map<double, std::map<int, std::pair<double, double>>> expected = {
      {0.9,
       {{1, {1, 0.01}}, {2, {0.501385, 0.0181}}, {5, {0.204415, 0.03428}}, {10, {0.108983, 0.04623}}, {50, {0.053177, 0.05263}}}},
      {0.98,
       {{1, {1, 0.0004}},
        {2, {0.500051, 0.00078}},
        {5, {0.200163, 0.00185}},
        {10, {0.100336, 0.00336}},
        {50, {0.021672, 0.00876}}}}};
  for (const auto& [b, at] : expected) {
    OptimizerConfig config = bare(adamw, 1e-6);
    config.beta1 = b;
    OptimizerRun run(config, one_matrix(1, count), Numbers(count, 0.0));
    Normal random(7);
    for (int t = 1; t <= 50; ++t) {
      run.step(t - 1, random(count));
      if (!at.contains(t)) continue;
      double squares = 0.0;
      for (const double one : run.state("w.exp_avg")) squares += one * one / count;
      const auto [corrected, plain] = at.at(t);
      EXPECT_NEAR(squares / std::pow(1.0 - std::pow(b, t), 2), corrected, 0.015 * corrected) << b << " " << t;
      EXPECT_NEAR(squares, plain, 0.02 * plain) << b << " " << t;
    }
  }
}

TEST(Identities, StepsOfLionaHaveOneSize) {
  for (const auto& [b, factor] : {std::pair(0.9, 0.229415734), {0.95, 0.160128154}, {0.98, 0.100503782}}) {
    EXPECT_NEAR(sign_scale(averaging(liona, b)), factor, 1e-9);
    OptimizerRun run(averaging(liona, b), one_matrix(10, 10), Numbers(100, 0.0));
    Normal random(9);
    for (int k = 0; k < 5; ++k) {
      const Numbers before = run.weights();
      run.step(k, random(100));
      Numbers step = run.weights();
      for (std::size_t i = 0; i < 100; ++i) step[i] -= before[i];
      EXPECT_NEAR(norm(step, 0, 100), 0.01 * factor * 10.0, 1e-8) << b;
    }
  }
}

TEST(Identities, NormMatchedLionaDividesByTheRatioOfNorms) {
  const std::map<double, std::pair<double, double>> ratios = {
      {0.9, {0.699, 0.507}}, {0.95, {0.695, 0.571}}, {0.98, {0.694, 0.632}}};
  for (const auto& [b, ratio] : ratios) {
    for (const bool nesterov : {false, true}) {
      OptimizerConfig config = averaging(liona, b, nesterov);
      const double noise = sign_scale(config);
      config.sign_scale = SignScale::norm_matched;
      EXPECT_NEAR(std::pow(noise / sign_scale(config), 2), nesterov ? ratio.second : ratio.first, 5e-4) << b;  // three digits known
    }
  }
}

// Rows under decay and gradients that are noise reach a norm and turn by an angle per step that theory knows: Kosson et al., arXiv
// 2305.17212. That is what rotational control puts in its place.
struct Equilibrium {
  double angle, norm;  // root mean square over rows and the last half of the steps
};
Equilibrium equilibrium(const OptimizerConfig& config, bool scale_invariant = false) {
  constexpr std::size_t rows = 4, columns = 512, steps = 3000;
  Normal random(11);
  OptimizerRun run(config, one_matrix(rows, columns), random(rows * columns, 0.1));
  Equilibrium sums{0.0, 0.0};
  Numbers before = run.weights();
  for (std::size_t k = 0; k < steps; ++k) {
    Numbers g = random(rows * columns, 1.0);
    for (std::size_t row = 0; scale_invariant && row < rows * columns; row += columns) {
      const double size = norm(before, row, columns);
      double along = 0.0;
      for (std::size_t i = row; i < row + columns; ++i) along += g[i] * before[i] / (size * size);
      for (std::size_t i = row; i < row + columns; ++i) g[i] = (g[i] - along * before[i]) / size;
    }
    run.step(static_cast<std::int64_t>(k), g);
    Numbers after = run.weights();
    for (std::size_t row = 0; k >= steps / 2 && row < rows * columns; row += columns) {
      sums.angle += std::pow(angle(before, after, row, columns), 2);
      sums.norm += std::pow(norm(after, row, columns), 2);
    }
    before = std::move(after);
  }
  const double counted = rows * static_cast<double>(steps) / 2.0;
  return {std::sqrt(sums.angle / counted), std::sqrt(sums.norm / counted)};
}

TEST(Identities, EquilibriumUnderNoise) {
  OptimizerConfig torch = bare(adamw, 0.01, 0.3);
  torch.beta2 = 0.999;
  const Equilibrium of_adamw = equilibrium(torch);
  EXPECT_NEAR(of_adamw.angle, 0.017770, 0.01 * 0.017770);
  EXPECT_NEAR(of_adamw.norm, std::sqrt(0.01 * 512 / (2 * 0.3)), 0.02 * 2.92);
  OptimizerConfig plain = averaging(liona, 0.9), nesterov = averaging(liona, 0.9, true);
  plain.weight_decay = nesterov.weight_decay = 0.3;
  EXPECT_NEAR(equilibrium(plain).angle, 0.02135, 0.03 * 0.02135);
  EXPECT_NEAR(equilibrium(nesterov).angle, 0.02508, 0.03 * 0.02508);
  OptimizerConfig two_betas = bare(lion, 0.01, 0.3);
  const double seen = equilibrium(two_betas).angle;
  EXPECT_NEAR(seen, 0.01261, 0.03 * 0.01261);
  EXPECT_NEAR(seen, 0.011516, 0.12 * 0.011516);  // the formula makes the sign linear
  OptimizerConfig heavy = averaging(sgd, 0.9);
  heavy.learning_rate = 0.1;
  heavy.weight_decay = 0.003;
  EXPECT_NEAR(equilibrium(heavy, true).angle, 0.017770, 0.01 * 0.017770);
}

TEST(Identities, RotationalControlTurnsByTheEquilibriumAngle) {
  const auto rotation = [](OptimizerName name, double rate, double decay) {
    OptimizerConfig config = bare(name, rate, decay);
    config.norm_control = NormControlChoice::rotational;
    config.rotation_averaging = 0.0;
    if (name == adamw) config.beta2 = 0.999;
    Normal random(1);
    OptimizerRun run(config, one_matrix(2, 512), random(1024));
    run.step(0, random(1024));
    const Numbers before = run.weights();
    run.step(1, random(1024));
    return angle(before, run.weights(), 0, 512);
  };
  EXPECT_NEAR(rotation(adamw, 0.01, 0.3), std::atan(0.017770), 1e-6);
  EXPECT_NEAR(rotation(lion, 0.01, 0.3), std::atan(0.011516), 1e-6);
  EXPECT_NEAR(rotation(sgd, 0.1, 0.003), std::atan(0.017770), 1e-6);
  EXPECT_NEAR(rotation(sgdw, 0.1, 0.0003), std::atan(std::sqrt(2 * 0.0003 * 0.1 / 1.9)), 1e-6);
}

TEST(Identities, RotationalControlKeepsNormsForAThousandSteps) {
  OptimizerConfig config = averaging(lionar, 0.9);
  config.weight_decay = 0.1;
  Normal random(13);
  const Numbers start = random(8 * 96);
  OptimizerRun run(config, one_matrix(8, 96), start);
  for (int k = 0; k < 1000; ++k) run.step(k, random(8 * 96));
  const Numbers end = run.weights();
  for (std::size_t row = 0; row < 8; ++row) EXPECT_NEAR(norm(end, row * 96, 96) / norm(start, row * 96, 96), 1.0, 1e-6) << row;
  EXPECT_GT(angle(start, end, 0, 96), 0.5) << "nothing turned";
}

TEST(Identities, LimitsOfTheRateCorrection) {
  const std::map<double, double> expected = {{0, 1}, {0.1, 0.953562}, {1, 0.707843}, {10, 0.304636}, {479, 0.064516}};
  for (const auto& [q, r] : expected) EXPECT_NEAR(rate_correction(RateCorrection::gradient, q / 480, 480, 0.9), r, 1e-6) << q;
  EXPECT_NEAR(rate_correction(RateCorrection::gradient, 1e9, 480, 0.9), 1 / std::sqrt(480.0), 1e-6);
  EXPECT_NEAR(rate_correction(RateCorrection::momentum, 0, 480, 0.9), 1, 1e-12);
  EXPECT_NEAR(rate_correction(RateCorrection::momentum, 1e9, 480, 0.9), std::sqrt((1 - 0.81) / 480), 1e-6);
}

// What a correction does where there is noise alone would be a warmup that nobody asked for; where q is known it asks for its factor.
TEST(Identities, TheRateCorrectionIsThatOfTheTrueRatio) {
  constexpr std::size_t elements = 10000;
  constexpr double a = 5, b = 7;
  for (const double q : {0.0, 1.0}) {
    OptimizerConfig config = bare(adamw, 0.01), off = config;
    config.rate_correction = RateCorrectionChoice::gradient;
    Normal random(19);
    OptimizerRun corrected(config, one_matrix(100, 100), Numbers(elements, 0.0));
    OptimizerRun plain(off, one_matrix(100, 100), Numbers(elements, 0.0));
    const Numbers signal = random(elements, std::sqrt(q));  // beside a batch's noise of 1
    for (int k = 0; k < 40; ++k) {
      const Numbers first = random(elements, std::sqrt((a + b) / a)), second = random(elements, std::sqrt((a + b) / b));
      Numbers part(elements), g(elements);
      for (std::size_t i = 0; i < elements; ++i) {
        part[i] = a / (a + b) * (signal[i] + first[i]);
        g[i] = part[i] + b / (a + b) * (signal[i] + second[i]);
      }
      const Numbers before_c = corrected.weights(), before_p = plain.weights();
      corrected.step(k, g, part);
      plain.step(k, g);
      Numbers c = corrected.weights(), p = plain.weights();
      for (std::size_t i = 0; i < elements; ++i) {
        c[i] -= before_c[i];
        p[i] -= before_p[i];
      }
      // The first estimate of q scatters by (2 + 4q)/100, which the mean over steps brings down; q lowers the rate by half of itself or less.
      const double r = norm(c, 0, elements) / norm(p, 0, elements);
      EXPECT_NEAR(r, rate_correction(RateCorrection::gradient, q / (a + b), a + b, 0.9), 0.06 / std::sqrt(std::min(k + 1, 9)))
          << q << " " << k;
    }
  }
}

TEST(Identities, AllThatDecaysIsAWeightedMeanOfThePast) {
  ScheduleConfig cosine;
  cosine.warmup_steps = 20;
  OptimizerConfig config = bare(adamw, 0.05, 0.3);
  const Hyperparameters numbers(resolved_optimizer(config), Schedule(cosine, 200, 1));
  OptimizerRun run(config, one_matrix(2, 2), {1, -2, 3, 0.5}, cosine, 200);
  double kept = 1.0;
  std::vector<double> decays;
  for (int k = 0; k < 200; ++k) {
    run.step(k, Numbers(4, 0.0));
    decays.push_back(numbers.decay(k));
    kept *= 1.0 - decays.back();
  }
  expect_near(run.weights(), {kept, -2 * kept, 3 * kept, 0.5 * kept}, 1e-5);  // 200 roundings of weights up to 3
  double weights = kept, later = 1.0;
  for (int k = 199; k >= 0; --k) {
    weights += decays[static_cast<std::size_t>(k)] * later;
    later *= 1.0 - decays[static_cast<std::size_t>(k)];
  }
  EXPECT_NEAR(weights, 1.0, 1e-12);
  EXPECT_LT(kept, 0.5);
}

TEST(Identities, Limits) {
  OptimizerConfig torch = bare(adamw, 0.001, 0.5), cautious = torch, mixed = torch, following = torch;
  cautious.decay = DecayMode::cautious;
  // All weights and all gradients positive: every step is towards 0.
  EXPECT_EQ(largest_difference(trajectory(cautious, 30, constant_schedule(), 0.5, 1.0),
                               trajectory(torch, 30, constant_schedule(), 0.5, 1.0)),
            0.0);
  mixed.name = ademamix;
  mixed.beta1 = torch.beta1 = 0.9;
  mixed.beta2 = torch.beta2 = 0.999;
  mixed.ademamix_alpha = 0.0;
  EXPECT_LT(largest_difference(trajectory(mixed, 30), trajectory(torch, 30)), f32);
  following.decay_schedule = DecaySchedule::follow_rate;
  following.beta2 = 0.999;
  EXPECT_EQ(largest_difference(trajectory(following, 30), trajectory(torch, 30)), 0.0) << "at a constant rate";
  ScheduleConfig falling;
  EXPECT_GT(largest_difference(trajectory(following, 30, falling), trajectory(torch, 30, falling)), 1e-4);
}

TEST(Identities, ScheduleFreeEvaluatesTheMeanOfItsPoints) {
  OptimizerRun run(bare(schedule_free_adamw, 0.01, 0.1), one_matrix(3, 5), Numbers(15, 1.0));
  Normal random(23);
  Numbers mean(15, 0.0);
  for (int k = 0; k < 30; ++k) {
    run.step(k, random(15));
    const Numbers y = run.weights();
    run.optimizer.average().show();
    const Numbers x = run.weights(), z = run.state("w.z");
    if (k == 0) {
      expect_near(x, z, 1e-7);
      expect_near(y, z, 1e-7);
    }
    for (std::size_t i = 0; i < 15; ++i) {
      mean[i] += (z[i] - mean[i]) / (k + 1);
      EXPECT_NEAR(x[i], mean[i], 1e-5 * std::abs(mean[i])) << k;
      EXPECT_NEAR(y[i], 0.1 * z[i] + 0.9 * x[i], 1e-6) << k;
    }
    EXPECT_EQ(run.state("w.y"), y);
  }
}

TEST(Identities, L2BeforeAndAfterClippingDiffer) {
  OptimizerConfig before = bare(adam, 0.01, 0.1);
  before.grad_clip = 0.5;
  before.l2_stage = L2Stage::before_clipping;
  OptimizerConfig after = before;
  after.l2_stage = L2Stage::after_clipping;
  const Numbers start = {1, -2, 0.5, 3}, g = {0.5, -0.2, 0.1, -1};
  const auto second_moment = [&](const OptimizerConfig& config) {
    OptimizerRun run(config, one_matrix(1, 4), start);
    run.step(0, g);
    return run.state("w.exp_avg");
  };
  // Clipped with the decay in it, the gradient has norm 0.5; with the decay added behind, it has not.
  const Numbers whole = second_moment(before), added = second_moment(after);
  EXPECT_NEAR(norm(whole, 0, 4), 0.1 * 0.5, 1e-7);
  const double clip = 0.5 / norm(g, 0, 4);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(added[i], 0.1 * (clip * g[i] + 0.1 * start[i]), 1e-7) << i;
}

}  // namespace
}  // namespace temper
