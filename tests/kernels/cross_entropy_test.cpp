// What the oracle's errors by norm would not show: the accuracy of exp far from the maximum, logits that are not finite, targets
// that are none, and rows of every length and alignment.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/check.h"
#include "kernels/philox.h"
#include "kernels/support/backends.h"
#include "kernels/support/on_device.h"

namespace temper {
namespace {

struct Result {
  std::vector<float> losses, gradients;
};

class CrossEntropyTest : public testing::TestWithParam<BackendChoice> {
 protected:
  /// Rows of `columns` logits, of which the first `vocab_size` count; `scale` 0: no gradients are written.
  Result run(const std::vector<float>& logits, const std::vector<std::int32_t>& targets, std::int64_t vocab_size, float scale) {
    const auto rows = static_cast<std::int64_t>(targets.size());
    OnDevice<float> on_device(backend_.ops(), logits), losses(backend_.ops(), std::vector<float>(targets.size(), -1.0f));
    OnDevice<std::int32_t> ids(backend_.ops(), targets);
    const std::int64_t columns = static_cast<std::int64_t>(logits.size()) / rows;
    backend_.ops().cross_entropy({.logits = {on_device.data(), DType::f32, {rows, columns}},
                                  .targets = {ids.data(), DType::i32, {rows}},
                                  .vocab_size = vocab_size,
                                  .gradient_scale = scale,
                                  .losses = {losses.data(), DType::f32, {rows}}});
    return {losses.read(), on_device.read()};
  }

  Backend backend_{GetParam()};
};

// Two classes with logits 0 and x and target 0: the gradient of the second is e^x / (1 + e^x).
TEST_P(CrossEntropyTest, ExponentialIsAccurateOverItsRange) {
  constexpr int rows = 8701;
  std::vector<float> logits(2 * rows);
  for (int row = 0; row < rows; ++row) logits[2 * row + 1] = -0.01f * static_cast<float>(row);  // down to -87
  const Result result = run(logits, std::vector<std::int32_t>(rows, 0), 2, 1.0f);
  for (int row = 0; row < rows; ++row) {
    const double power = std::exp(static_cast<double>(logits[2 * row + 1]));
    // Polynomial, scaling, the factor 1 / total and the product: a handful of roundings of 6e-8.
    EXPECT_NEAR(static_cast<double>(result.gradients[2 * row + 1]) * (1 + power) / power, 1.0, 4e-7) << logits[2 * row + 1];
  }
}

TEST_P(CrossEntropyTest, ProbabilitiesTooSmallForAFloatAreZero) {
  const Result result = run({0.0f, -88.0f, -1000.0f, -std::numeric_limits<float>::infinity()}, {0}, 4, 1.0f);
  EXPECT_EQ(result.losses[0], 0.0f);
  EXPECT_EQ(result.gradients, std::vector<float>(4, 0.0f));
}

// Each part of the row has logits far above those before it, so that what was summed up has to be scaled down, and a last part below.
TEST_P(CrossEntropyTest, LogitsRiseAlongTheRow) {
  constexpr int count = 5003;
  std::vector<float> logits(count);
  double total = 0.0;
  for (int i = 0; i < count; ++i) {
    logits[i] = 0.03f * static_cast<float>(i < 4500 ? i : i - 4500);
    total += std::exp(static_cast<double>(logits[i]));
  }
  EXPECT_NEAR(run(logits, {4400}, count, 0.0f).losses[0], std::log(total) - static_cast<double>(logits[4400]), 2e-6);
  const Result result = run(logits, {4400}, count, 1.0f);
  EXPECT_NEAR(result.losses[0], std::log(total) - static_cast<double>(logits[4400]), 2e-6);
  for (int i = 0; i < count; ++i) {
    const double probability = std::exp(static_cast<double>(logits[i])) / total;
    if (i != 4400 && probability > 1e-30) {
      EXPECT_NEAR(result.gradients[i] / probability, 1.0, 1e-6) << i;
    }
  }
}

// A broken model must show in its loss, or the step would be taken for a good one.
TEST_P(CrossEntropyTest, LossIsNotFiniteWhenALogitIsNot) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float scale : {0.0f, 1.0f}) {
    for (const float broken : {nan, -nan, infinity}) {
      for (const std::size_t place : {0u, 5u, 2047u, 2048u, 4999u}) {  // first and later blocks, target and others
        std::vector<float> logits(5000, 0.5f);
        logits[place] = broken;
        EXPECT_FALSE(std::isfinite(run(logits, {5}, 5000, scale).losses[0])) << broken << " at " << place;
      }
    }
  }
}

// The CPU looks at targets before it starts; a GPU cannot, and must not take the step for a good one either.
TEST_P(CrossEntropyTest, ATargetThatIsNoClassIsNotTakenForOne) {
  for (const std::int32_t target : {7, 1 << 30, -2}) {
    if (GetParam().kind == BackendChoice::Kind::cpu)
      EXPECT_THROW(run(std::vector<float>(8, 1.0f), {target}, 7, 1.0f), ContractViolation);
    else
      EXPECT_TRUE(std::isnan(run(std::vector<float>(8, 1.0f), {target}, 7, 1.0f).losses[0])) << target;
  }
}

// Rows that a CUDA block keeps in shared memory (up to 227 KiB), longer ones, and rows that begin off a 16-byte boundary go
// different ways; so do gradients and losses alone.
TEST_P(CrossEntropyTest, EveryLengthAndAlignmentOfRows) {
  struct Lengths {
    std::int64_t vocab_size, columns;
  };
  for (const Lengths& s : {Lengths{50257, 50304}, Lengths{57599, 57600}, Lengths{60001, 60004}, Lengths{60001, 60001},
                           Lengths{1, 1}, Lengths{127, 128}, Lengths{129, 130}, Lengths{1, 1000}}) {
    SCOPED_TRACE(std::to_string(s.vocab_size) + " of " + std::to_string(s.columns));
    const std::int64_t rows = 2;
    std::vector<float> logits(static_cast<std::size_t>(rows * s.columns), 100.0f);  // behind the vocabulary: larger than any logit
    const std::vector<std::int32_t> targets = {static_cast<std::int32_t>(s.vocab_size - 1), 0};
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t v = 0; v < s.vocab_size; ++v)
        logits[r * s.columns + v] =
            8 *
            uniform_open(
                random_block(3, RandomPurpose::benchmark, static_cast<std::uint32_t>(r), static_cast<std::uint64_t>(v)).word[0]);
    const Result result = run(logits, targets, s.vocab_size, 0.5f);
    EXPECT_EQ(run(logits, targets, s.vocab_size, 0.0f).gradients, logits) << "without gradients the logits stay";

    for (std::int64_t r = 0; r < rows; ++r) {
      const float* row = &logits[r * s.columns];
      const float* gradient = &result.gradients[r * s.columns];
      double total = 0, difference = 0, norm = 0;
      for (std::int64_t v = 0; v < s.vocab_size; ++v) total += std::exp(static_cast<double>(row[v]));
      for (std::int64_t v = 0; v < s.vocab_size; ++v) {
        const double expected = 0.5 * (std::exp(static_cast<double>(row[v])) / total - (v == targets[r] ? 1 : 0));
        difference += std::pow(static_cast<double>(gradient[v]) - expected, 2);
        norm += expected * expected;
      }
      // As in the oracle: a few roundings of 6e-8. One class alone has loss and gradient 0.
      EXPECT_NEAR(static_cast<double>(result.losses[r]), std::log(total) - static_cast<double>(row[targets[r]]), 5e-6)
          << "row " << r;
      EXPECT_LE(std::sqrt(difference), 5e-7 * std::sqrt(norm)) << "row " << r;
      for (std::int64_t v = s.vocab_size; v < s.columns; ++v) ASSERT_EQ(gradient[v], 0.0f) << "row " << r << " column " << v;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, CrossEntropyTest, testing::ValuesIn(all_backends()), backend_name);

}  // namespace
}  // namespace temper
