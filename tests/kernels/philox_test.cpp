#include "kernels/philox.h"

#include <gtest/gtest.h>

#include <cmath>

namespace temper {
namespace {

void expect_words(const PhiloxBlock& block, std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  EXPECT_EQ(block.word[0], a);
  EXPECT_EQ(block.word[1], b);
  EXPECT_EQ(block.word[2], c);
  EXPECT_EQ(block.word[3], d);
}

// Known answers published with Random123 for philox4x32-10.
TEST(Philox, KnownAnswers) {
  constexpr std::uint32_t ones = 0xffffffffu;
  expect_words(philox4x32({{0, 0, 0, 0}}, 0, 0), 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u);
  expect_words(philox4x32({{ones, ones, ones, ones}}, ones, ones), 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu);
}

TEST(Philox, EveryPartOfTheAddressMatters) {
  const std::uint32_t base = random_block(1, RandomPurpose::shuffle, 2, 3).word[0];
  EXPECT_EQ(random_block(1, RandomPurpose::shuffle, 2, 3).word[0], base);
  EXPECT_NE(random_block(2, RandomPurpose::shuffle, 2, 3).word[0], base);
  EXPECT_NE(random_block(1ull << 32 | 1, RandomPurpose::shuffle, 2, 3).word[0], base);
  EXPECT_NE(random_block(1, RandomPurpose::sample, 2, 3).word[0], base);
  EXPECT_NE(random_block(1, RandomPurpose::shuffle, 3, 3).word[0], base);
  EXPECT_NE(random_block(1, RandomPurpose::shuffle, 2, 4).word[0], base);
  EXPECT_NE(random_block(1, RandomPurpose::shuffle, 2, 1ull << 32 | 3).word[0], base);
}

TEST(Philox, UniformNumbersStayInsideTheOpenInterval) {
  EXPECT_GT(uniform_open(0), 0.0f);
  EXPECT_LT(uniform_open(0xffffffffu), 1.0f);
  constexpr int count = 100000;
  double sum = 0, squares = 0;
  for (int i = 0; i < count; ++i) {
    const double u =
        static_cast<double>(uniform_open(random_block(7, RandomPurpose::benchmark, 0, static_cast<std::uint64_t>(i)).word[0]));
    sum += u;
    squares += u * u;
  }
  // Standard error of the mean is sqrt(1/12)/sqrt(100000) = 9e-4: five of them.
  EXPECT_NEAR(sum / count, 0.5, 4.5e-3);
  EXPECT_NEAR(squares / count, 1.0 / 3, 4.5e-3);
}

}  // namespace
}  // namespace temper
