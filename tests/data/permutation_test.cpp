#include "data/batches.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <unordered_set>
#include <vector>

namespace temper {
namespace {

std::vector<std::uint64_t> order(std::uint64_t size, std::uint64_t seed, std::uint32_t epoch) {
  const Permutation permutation(size, seed, epoch);
  std::vector<std::uint64_t> result(size);
  for (std::uint64_t index = 0; index < size; ++index) result[index] = permutation(index);
  return result;
}

TEST(Permutation, IsABijectionForEverySmallSize) {
  for (std::uint64_t size = 1; size <= 1000; ++size) {
    std::vector<std::uint64_t> values = order(size, 42 + size, 3);
    std::sort(values.begin(), values.end());
    for (std::uint64_t index = 0; index < size; ++index) ASSERT_EQ(values[index], index) << "size " << size;
  }
}

TEST(Permutation, IsABijectionOfAMillion) {
  std::vector<std::uint64_t> values = order(1'000'003, 7, 0);
  std::sort(values.begin(), values.end());
  for (std::uint64_t index = 0; index < values.size(); ++index) ASSERT_EQ(values[index], index);
}

TEST(Permutation, NeverCollidesNorLeavesAHugeRange) {
  std::mt19937_64 random(5);
  for (const std::uint64_t size : {(std::uint64_t{1} << 32) + 1, std::uint64_t{1} << 40, (std::uint64_t{1} << 62) + 12345,
                                   std::numeric_limits<std::uint64_t>::max()}) {
    const Permutation permutation(size, 9, 1);
    std::unordered_set<std::uint64_t> from, to;
    for (int draw = 0; draw < 5000; ++draw) {
      const std::uint64_t index = random() % size;
      const std::uint64_t value = permutation(index);
      ASSERT_LT(value, size);
      from.insert(index);
      to.insert(value);
    }
    EXPECT_EQ(from.size(), to.size()) << size;
  }
}

TEST(Permutation, DependsOnSeedAndEpochAndNothingElse) {
  EXPECT_EQ(order(500, 1, 2), order(500, 1, 2));
  EXPECT_NE(order(500, 1, 2), order(500, 1, 3));
  EXPECT_NE(order(500, 1, 2), order(500, 2, 2));
  EXPECT_NE(order(500, 1, 2), order(500, 1 + (std::uint64_t{1} << 32), 2));
}

// Each of the 24 orders of four should come up 1/24 of the time over seeds: chi-square with 23 degrees of freedom, whose 1 - 1e-6
// quantile is 72. Small sizes are where a Feistel network with few rounds fails.
TEST(Permutation, SmallOrdersAreEquallyLikely) {
  constexpr int seeds = 24000;
  std::vector<int> counts(256, 0);
  for (int seed = 0; seed < seeds; ++seed) {
    const auto values = order(4, static_cast<std::uint64_t>(seed), 0);
    ++counts[values[0] * 64 + values[1] * 16 + values[2] * 4 + values[3]];
  }
  double chi_square = 0.0;
  int kinds = 0;
  for (const int count : counts) {
    if (count == 0) continue;
    ++kinds;
    chi_square += (count - seeds / 24.0) * (count - seeds / 24.0) / (seeds / 24.0);
  }
  EXPECT_EQ(kinds, 24);
  EXPECT_LT(chi_square, 72.0);
}

// Neighbours must not stay neighbours: for a random order the mean distance of consecutive values is size/3; its standard error
// over 100,000 pairs is about 0.1 % of the size.
TEST(Permutation, SeparatesNeighbours) {
  constexpr double size = 100'000;
  const auto values = order(static_cast<std::uint64_t>(size), 11, 0);
  double sum = 0.0;
  for (std::size_t index = 1; index < values.size(); ++index) {
    sum += std::abs(static_cast<double>(values[index]) - static_cast<double>(values[index - 1]));
  }
  EXPECT_NEAR(sum / (size - 1) / size, 1.0 / 3.0, 0.005);
}

TEST(Permutation, RefusesWhatIsOutOfRange) {
  EXPECT_THROW(Permutation(0, 1, 1), std::invalid_argument);
  EXPECT_THROW(Permutation(5, 1, 1)(5), std::out_of_range);
}

}  // namespace
}  // namespace temper
