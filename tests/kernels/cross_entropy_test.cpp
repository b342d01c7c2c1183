// What the oracle's errors by norm would not show: the accuracy of exp far from the maximum, and logits that are not finite.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/support/backends.h"

namespace temper {
namespace {

class CrossEntropyTest : public testing::TestWithParam<cpu::Isa> {
 protected:
  CpuBackend backend_{GetParam()};
};

// Two classes with logits 0 and x and target 0: the gradient of the second is e^x / (1 + e^x).
TEST_P(CrossEntropyTest, ExponentialIsAccurateOverItsRange) {
  constexpr int rows = 8701;
  std::vector<float> logits(2 * rows), losses(rows);
  const std::vector<std::int32_t> targets(rows, 0);
  for (int row = 0; row < rows; ++row) logits[2 * row + 1] = -0.01f * static_cast<float>(row);  // down to -87
  const std::vector<float> before = logits;
  backend_.ops().cross_entropy({logits.data(), DType::f32, {rows, 2}}, {targets.data(), DType::i32, {rows}}, 2, 1.0f,
                               {losses.data(), DType::f32, {rows}});
  for (int row = 0; row < rows; ++row) {
    const double power = std::exp(static_cast<double>(before[2 * row + 1]));
    // Polynomial, scaling, the factor 1 / total and the product: a handful of roundings of 6e-8.
    EXPECT_NEAR(static_cast<double>(logits[2 * row + 1]) * (1 + power) / power, 1.0, 4e-7) << before[2 * row + 1];
  }
}

TEST_P(CrossEntropyTest, ProbabilitiesTooSmallForAFloatAreZero) {
  std::vector<float> logits = {0.0f, -88.0f, -1000.0f, -std::numeric_limits<float>::infinity()};
  const std::int32_t target = 0;
  float loss = -1;
  backend_.ops().cross_entropy({logits.data(), DType::f32, {1, 4}}, {&target, DType::i32, {1}}, 4, 1.0f, {&loss, DType::f32, {1}});
  EXPECT_EQ(loss, 0.0f);
  EXPECT_EQ(logits, std::vector<float>(4, 0.0f));
}

// A broken model must show in its loss, or the step would be taken for a good one.
TEST_P(CrossEntropyTest, LossIsNotFiniteWhenALogitIsNot) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float broken : {nan, -nan, infinity}) {
    for (const std::size_t place : {0u, 5u, 2047u, 2048u, 4999u}) {  // first and later blocks, target and others
      std::vector<float> logits(5000, 0.5f);
      logits[place] = broken;
      const std::int32_t target = 5;
      float loss = 0;
      backend_.ops().cross_entropy({logits.data(), DType::f32, {1, 5000}}, {&target, DType::i32, {1}}, 5000, 0.0f,
                                   {&loss, DType::f32, {1}});
      EXPECT_FALSE(std::isfinite(loss)) << broken << " at " << place;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, CrossEntropyTest, testing::ValuesIn(available_isas()),
                         [](const auto& isa) { return std::string(cpu::name_of(isa.param)); });

}  // namespace
}  // namespace temper
