// Quadratics against an independent least-squares fit, and the intervals of their optima against simulated sweeps.
#include "sweep/quadratic.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "sweep/statistics.h"

namespace temper {
namespace {

std::optional<Quadratic> fitted(const std::vector<Observation>& observations) {
  std::string why;
  std::optional<Quadratic> fit = Quadratic::fit(observations, why);
  EXPECT_TRUE(fit) << why;
  return fit;
}

std::string refused(const std::vector<Observation>& observations) {
  std::string why;
  EXPECT_FALSE(Quadratic::fit(observations, why));
  return why;
}

TEST(Statistics, TheFDistributionIsThePublishedOne) {
  // Snedecor's table at 5 %: 5.05 (5, 5), 19.00 (2, 2), 3.84 (1, many); the others by numerical integration of the density.
  EXPECT_NEAR(f_exceeds(19.0, 2, 2), 0.05, 1e-12);  // 1 / (1 + x)
  EXPECT_NEAR(f_exceeds(5.0503291, 5, 5), 0.05, 1e-7);
  EXPECT_NEAR(f_exceeds(1.0, 5, 5), 0.5, 1e-12);
  EXPECT_NEAR(f_exceeds(4.0, 3, 7), 0.05963086, 1e-7);
  EXPECT_NEAR(f_exceeds(0.3, 6, 4), 0.90826697, 1e-7);
  EXPECT_NEAR(f_exceeds(60.0, 4, 8), 5.27438e-6, 1e-10);
  EXPECT_NEAR(f_exceeds(student_t(0.975, 9) * student_t(0.975, 9), 1, 9), 0.05, 1e-8);  // t^2
  EXPECT_NEAR(f_exceeds(1.9599640 * 1.9599640, 1, 1'000'000), 0.05, 1e-5);
  EXPECT_EQ(f_exceeds(0.0, 3, 4), 1.0);
}

// numpy.linalg.lstsq with a column for each seed and Fieller's ends by bisection.
TEST(Quadratic, OneAxisIsAsAnIndependentFitHasIt) {
  const double values[] = {4.6029, 4.6768, 4.8306, 4.469,  4.6048, 4.6535, 4.3754,
                           4.4638, 4.6404, 4.5897, 4.6216, 4.6463, 4.7151, 5.043};
  std::vector<Observation> observations;
  const double* next = values;
  for (const double x : {-3.5, -3.0, -2.5, -2.0, -1.5})
    for (const std::uint64_t seed : {1, 2, 3})
      if (x != -1.5 || seed != 2) observations.push_back({{x}, seed, *next++});
  const std::optional<Quadratic> fit = fitted(observations);
  EXPECT_EQ(fit->degrees(), 9u);
  EXPECT_EQ(fit->seeds(), 3u);
  EXPECT_NEAR(fit->sd(), 0.056523258, 1e-8);
  ASSERT_EQ(fit->optimum().size(), 1u);
  EXPECT_NEAR(fit->optimum()[0].at, -2.637821047, 1e-8);
  EXPECT_NEAR(fit->optimum()[0].low, -2.748254996, 1e-7);
  EXPECT_NEAR(fit->optimum()[0].high, -2.545678293, 1e-7);
  EXPECT_FALSE(fit->tilt());
}

TEST(Quadratic, TwoAxesAreAsAnIndependentFitHasThem) {
  const double values[] = {5.0238, 5.0657, 4.7362, 4.8038, 4.6808, 4.7851, 4.6538, 4.7918, 4.4693, 4.5535, 4.5195, 4.6321,
                           4.4834, 4.625,  4.3743, 4.4985, 4.476,  4.6153, 4.5891, 4.6811, 4.5048, 4.6243, 4.6895, 4.7815};
  std::vector<Observation> observations;
  const double* next = values;
  for (const double x : {-3.5, -3.0, -2.5, -2.0})
    for (const double y : {-2.0, -1.0, 0.0})
      for (const std::uint64_t seed : {1, 2}) observations.push_back({{x, y}, seed, *next++});
  const std::optional<Quadratic> fit = fitted(observations);
  EXPECT_EQ(fit->degrees(), 17u);
  EXPECT_NEAR(fit->sd(), 0.0215209092, 1e-9);
  const std::vector<Located> optimum = fit->optimum();
  ASSERT_EQ(optimum.size(), 2u);
  EXPECT_NEAR(optimum[0].at, -2.580958308, 1e-8);
  EXPECT_NEAR(optimum[0].low, -2.612259767, 1e-7);
  EXPECT_NEAR(optimum[0].high, -2.546565379, 1e-7);
  EXPECT_NEAR(optimum[1].at, -0.907847168, 1e-8);
  EXPECT_NEAR(optimum[1].low, -0.966191631, 1e-7);
  EXPECT_NEAR(optimum[1].high, -0.846702911, 1e-7);
  EXPECT_NEAR(fit->tilt()->value, 0.137505, 1e-9);
  EXPECT_NEAR(fit->tilt()->interval, 0.0203058001, 1e-8);
  const WithInterval there = fit->at({optimum[0].at, optimum[1].at});
  EXPECT_NEAR(there.value, 4.438181045, 1e-8);
  EXPECT_NEAR(there.interval, 0.019318385, 1e-8);
  EXPECT_NEAR(*fit->lack_of_fit(), 0.50214382, 1e-6);
}

TEST(Quadratic, WithoutNoiseItIsRecoveredToRounding) {
  std::vector<Observation> one, two;
  for (const double x : {-3.52, -3.1, -2.7, -2.0})
    for (const std::uint64_t seed : {4, 9}) {
      const double offset = 3.0 + static_cast<double>(seed);
      one.push_back({{x}, seed, offset + 0.7 * (x + 2.9) * (x + 2.9)});
      for (const double y : {0.0, 0.1, 0.3})
        two.push_back(
            {{x, y}, seed, offset + 2.0 * (x + 2.9) * (x + 2.9) + 30.0 * (y - 0.2) * (y - 0.2) + 5.0 * (x + 2.9) * (y - 0.2)});
    }
  const Located at = fitted(one)->optimum().at(0);
  EXPECT_NEAR(at.at, -2.9, 1e-12);
  EXPECT_NEAR(at.low, at.high, 1e-9);
  EXPECT_NEAR(fitted(one)->at({-2.9}).value, 9.5, 1e-12);  // the mean over both seeds
  const std::optional<Quadratic> fit = fitted(two);
  ASSERT_EQ(fit->optimum().size(), 2u);
  EXPECT_NEAR(fit->optimum()[0].at, -2.9, 1e-11);
  EXPECT_NEAR(fit->optimum()[1].at, 0.2, 1e-11);
  EXPECT_NEAR(fit->tilt()->value, 5.0, 1e-10);
  EXPECT_FALSE(fitted(one)->lack_of_fit() || fit->lack_of_fit()) << "rounding is no scatter";
  for (Observation& observation : one) observation.value *= 1e300;
  std::string why;
  EXPECT_FALSE(Quadratic::fit(one, why)) << "its squares are not finite";
  EXPECT_EQ(why, "the results are too large to be squared");
}

TEST(Quadratic, WhatHasNoOptimumInsideHasNone) {
  const auto of = [](const auto& value_at) {
    std::vector<Observation> observations;
    const double wobble[] = {0.01, -0.01, 0.005, -0.005, 0.0, 0.01, -0.01, 0.0};
    std::size_t i = 0;
    for (const double x : {0.0, 1.0, 2.0, 3.0})
      for (const std::uint64_t seed : {1, 2}) observations.push_back({{x}, seed, value_at(x) + wobble[i++]});
    return *fitted(observations);
  };
  EXPECT_FALSE(of([](double x) { return x; }).bends_upwards());
  EXPECT_FALSE(of([](double x) { return -x * x; }).bends_upwards());
  EXPECT_TRUE(of([](double x) { return -x * x; }).optimum().empty());
  const Quadratic beyond = of([](double x) { return (x - 4.0) * (x - 4.0); });
  EXPECT_TRUE(beyond.bends_upwards());
  EXPECT_TRUE(beyond.optimum().empty());
  EXPECT_NEAR(beyond.stationary().at(0), 4.0, 0.05);
  EXPECT_EQ(of([](double x) { return (x - 1.0) * (x - 1.0); }).optimum().size(), 1u);
  // A saddle bends upwards along both axes, and not between them.
  std::vector<Observation> saddle;
  for (const double x : {-1.0, 0.0, 1.0})
    for (const double y : {-1.0, 0.0, 1.0}) saddle.push_back({{x, y}, 1, x * x + y * y + 3.0 * x * y + 1e-3 * (x - y * y)});
  EXPECT_FALSE(fitted(saddle)->bends_upwards());
}

TEST(Quadratic, DesignsThatTellTooLittleAreRefusedWithWords) {
  EXPECT_EQ(refused({}), "no trial has a result");
  EXPECT_EQ(refused({{{1.0}, 1, 3.0}, {{2.0}, 1, 3.0}, {{2.0}, 2, 3.0}}),
            "2 values of the axis with a result; a quadratic needs three");
  EXPECT_EQ(refused({{{1.0}, 1, 3.0}, {{2.0}, 1, 2.0}, {{3.0}, 1, 3.0}}),
            "3 trials are too few for 2 terms and an offset for each of 1 seed: it needs 4");
  std::vector<Observation> line, circle;
  for (int i = 0; i < 9; ++i) {
    line.push_back({{1.0 * i, 2.0 * i}, 1, 1.0 * i});
    circle.push_back({{std::cos(0.7 * i), std::sin(0.7 * i)}, 1, 1.0 * i});
  }
  EXPECT_NE(refused(line).find("lie on one line, or on one curve"), std::string::npos);
  EXPECT_NE(refused(circle).find("lie on one line, or on one curve"), std::string::npos);
  // Each seed saw one value: nothing is left within seeds.
  EXPECT_NE(refused({{{1.0}, 1, 3.0}, {{2.0}, 2, 3.0}, {{3.0}, 3, 3.0}, {{1.0}, 1, 3.0}, {{2.0}, 2, 3.0}, {{3.0}, 3, 3.0}}), "");
}

struct Coverage {
  int found = 0, held = 0, lacking = 0, tilts = 0;
};

/// Sweeps over one axis or two whose optimum is known; `cubic`: what no quadratic fits.
Coverage simulate(std::size_t axes, double noise, double cubic, int sweeps) {
  std::mt19937_64 random(7 + axes);
  std::normal_distribution<double> normal;
  Coverage all;
  const std::vector<double> places = {-1.0, -1.0 / 3.0, 1.0 / 3.0, 1.0};
  for (int sweep = 0; sweep < sweeps; ++sweep) {
    std::vector<Observation> observations;
    for (std::uint64_t seed = 0; seed < 3; ++seed) {
      const double offset = normal(random);
      for (const double x : places) {
        for (const double y : axes == 1 ? std::vector<double>{0.0} : places) {
          const double dx = x - 0.2, dy = y + 0.1;
          double value = offset + dx * dx + cubic * x * x * x + noise * normal(random);
          if (axes == 2) value += 1.5 * dy * dy + 0.8 * dx * dy;
          observations.push_back({axes == 1 ? std::vector<double>{x} : std::vector<double>{x, y}, seed, value});
        }
      }
    }
    const Quadratic fit = *fitted(observations);
    all.lacking += *fit.lack_of_fit() < 0.05;
    if (axes == 2) all.tilts += std::abs(fit.tilt()->value - 0.8) <= fit.tilt()->interval;
    const std::vector<Located> optimum = fit.optimum();
    if (optimum.empty()) continue;
    ++all.found;
    all.held += optimum[0].low <= 0.2 && 0.2 <= optimum[0].high;
  }
  return all;
}

// 95 of 100 intervals hold the optimum, within three standard deviations of 2000 (of 0.5 %). Fieller's is exact for one axis.
TEST(Quadratic, IntervalsHoldTheOptimumInNineteenOfTwentySweeps) {
  for (const double noise : {0.02, 0.2}) {
    const Coverage one = simulate(1, noise, 0.0, 2000), two = simulate(2, noise, 0.0, 2000);
    EXPECT_GT(one.found, 1990) << noise;
    EXPECT_NEAR(one.held, 0.95 * one.found, 30) << noise;
    EXPECT_NEAR(one.lacking, 100, 30) << noise;
    EXPECT_GT(two.found, 1990) << noise;
    EXPECT_NEAR(two.held, 0.95 * two.found, 30) << noise;
    EXPECT_NEAR(two.tilts, 1900, 30) << noise;
    EXPECT_NEAR(two.lacking, 100, 30) << noise;
  }
  EXPECT_GT(simulate(1, 0.02, 0.5, 200).lacking, 190);
}

}  // namespace
}  // namespace temper
