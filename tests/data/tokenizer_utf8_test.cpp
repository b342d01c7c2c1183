#include "data/utf8.h"

#include <gtest/gtest.h>

#include "tokenizer_golden.h"

namespace temper {
namespace {

const std::string kBad = "\xEF\xBF\xBD";

TEST(TokenizerUtf8, ReplacesEachMaximalInvalidPart) {
  // The Unicode Standard 15, tables 3-8 to 3-11 ("U+FFFD Substitution of Maximal Subparts").
  EXPECT_EQ(replace_invalid_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            kBad + kBad + kBad + kBad + kBad + kBad + kBad + kBad + "A");
  EXPECT_EQ(replace_invalid_utf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"),
            kBad + kBad + kBad + kBad + kBad + kBad + kBad + kBad + "A");
  EXPECT_EQ(replace_invalid_utf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
            kBad + kBad + kBad + kBad + kBad + "A" + kBad + kBad + "B");
  EXPECT_EQ(replace_invalid_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), kBad + kBad + kBad + kBad + "A");
}

TEST(TokenizerUtf8, FindsTheFirstInvalidByteWhereverItIs) {
  EXPECT_EQ(valid_utf8_prefix(""), 0u);
  for (std::size_t before = 0; before < 40; ++before) {
    for (std::size_t after = 0; after < 20; ++after) {
      const std::string text = std::string(before, 'a') + '\x80' + std::string(after, 'b');
      ASSERT_EQ(valid_utf8_prefix(text), before) << before << " " << after;
    }
  }
}

TEST(TokenizerUtf8, KeepsValidTextAndRepairsAllElse) {
  std::mt19937 random(3);
  for (int round = 0; round < 2000; ++round) {
    const std::string text = random_text(random, 30);
    ASSERT_EQ(valid_utf8_prefix(text), text.size());
    ASSERT_EQ(replace_invalid_utf8(text), text);
    const std::string repaired = replace_invalid_utf8(random_bytes(random, 50));
    ASSERT_EQ(valid_utf8_prefix(repaired), repaired.size());
  }
}

}  // namespace
}  // namespace temper
