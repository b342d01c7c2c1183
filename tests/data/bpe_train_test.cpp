#include "data/bpe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "data/pretokenizer.h"
#include "data/utf8.h"
#include "io/error.h"

namespace temper {
namespace {

// The definition: count all pairs anew before each merge.
Vocabulary train_by_definition(const std::string& text, std::int64_t vocab_size) {
  Vocabulary vocabulary;
  std::map<unsigned char, std::uint32_t> byte_ids;
  for (const unsigned char byte : byte_order()) {
    byte_ids[byte] = static_cast<std::uint32_t>(vocabulary.tokens.size());
    vocabulary.tokens.emplace_back(1, static_cast<char>(byte));
  }
  std::vector<std::vector<std::uint32_t>> words;
  Pretokenizer pieces(text);
  for (std::string_view piece; pieces.next(piece);) {
    words.emplace_back();
    for (const char byte : piece) words.back().push_back(byte_ids[static_cast<unsigned char>(byte)]);
  }
  std::set<std::pair<std::uint32_t, std::uint32_t>> passed_over;
  while (static_cast<std::int64_t>(vocabulary.tokens.size()) + 1 < vocab_size) {
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::int64_t> counts;
    for (const auto& word : words) {
      for (std::size_t i = 0; i + 1 < word.size(); ++i) ++counts[{word[i], word[i + 1]}];
    }
    for (const auto& pair : passed_over) counts.erase(pair);
    if (counts.empty()) break;
    const auto best =
        std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    const auto [left, right] = best->first;
    const std::string joined = vocabulary.tokens[left] + vocabulary.tokens[right];
    if (std::find(vocabulary.tokens.begin(), vocabulary.tokens.end(), joined) != vocabulary.tokens.end()) {
      passed_over.insert({left, right});
      continue;
    }
    const auto result = static_cast<std::uint32_t>(vocabulary.tokens.size());
    vocabulary.tokens.push_back(joined);
    vocabulary.merges.push_back({left, right, result});
    for (auto& word : words) {
      std::vector<std::uint32_t> merged;
      for (std::size_t i = 0; i < word.size(); ++i) {
        const bool here = word[i] == left && i + 1 < word.size() && word[i + 1] == right;
        merged.push_back(here ? result : word[i]);
        if (here) ++i;
      }
      word = std::move(merged);
    }
  }
  vocabulary.tokens.emplace_back(kEndOfText);
  return vocabulary;
}

void expect_same(const Vocabulary& actual, const Vocabulary& expected) {
  ASSERT_EQ(actual.tokens, expected.tokens);
  ASSERT_EQ(actual.merges.size(), expected.merges.size());
  for (std::size_t i = 0; i < actual.merges.size(); ++i) {
    ASSERT_EQ(actual.merges[i].left, expected.merges[i].left) << i;
    ASSERT_EQ(actual.merges[i].right, expected.merges[i].right) << i;
  }
}

// Few letters, so that pairs overlap ("aaa"), tie, and meet the same bytes along two ways.
std::string random_words(std::mt19937& random, int words, unsigned letters, std::size_t longest) {
  std::string text;
  for (int i = 0; i < words; ++i) {
    text += ' ';
    for (std::size_t left = 1 + random() % longest; left > 0; --left) text.push_back(static_cast<char>('a' + random() % letters));
  }
  return text;
}

TEST(BpeTrain, LearnsWhatTheDefinitionLearns) {
  std::mt19937 random(7);
  for (const unsigned letters : {1u, 2u, 3u, 12u}) {
    for (const std::size_t longest : {3u, 12u, 60u}) {
      const std::string text = random_words(random, 60, letters, longest) + " \n\n\t caf\u00e9 's 12 \u4e16\u754c";
      const Vocabulary expected = train_by_definition(text, 257 + 70);
      const Vocabulary actual = train_bpe(text, static_cast<std::int64_t>(expected.tokens.size()), {});
      expect_same(actual, expected);
      EXPECT_EQ(actual.tokens[actual.end_of_text], kEndOfText);
      EXPECT_NO_THROW(check_vocabulary(actual, "trained"));
    }
  }
}

TEST(BpeTrain, DependsOnWordCountsOnlyHoweverTheTextIsCut) {
  std::mt19937 random(8);
  std::vector<std::string> words;
  for (int i = 0; i < 500000; ++i) words.push_back(random_words(random, 1, 4, 6));
  std::string text, shuffled;  // above 2 MB each, so counted in parts where there are several cores
  for (const std::string& word : words) text += word;
  std::shuffle(words.begin(), words.end(), random);
  for (const std::string& word : words) shuffled += word;
  ASSERT_GT(text.size(), 2u << 20);
  expect_same(train_bpe(text, 600, {}), train_bpe(shuffled, 600, {}));
}

TEST(BpeTrain, TiesGoToTheSmallerPair) {
  const Vocabulary vocabulary = train_bpe("zy ba zx", 258, {});
  ASSERT_EQ(vocabulary.merges.size(), 1u);
  EXPECT_EQ(vocabulary.tokens[256], "ba");
}

TEST(BpeTrain, ReportsProgress) {
  std::vector<std::pair<std::int64_t, std::int64_t>> calls;
  train_bpe("aa bb cc", 260, [&](std::int64_t done, std::int64_t all) { calls.emplace_back(done, all); });
  EXPECT_EQ(calls, (std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 3}, {2, 3}, {3, 3}}));
}

TEST(BpeTrain, RepairsInvalidUtf8First) {
  const std::string text = "a\xFF a\xFF b\xE2\x82 b\xE2\x82";
  expect_same(train_bpe(text, 260, {}), train_bpe(replace_invalid_utf8(text), 260, {}));
}

TEST(BpeTrain, NeverLearnsEndOfText) {
  const Vocabulary vocabulary = train_bpe("<|endoftext|><|endoftext|> <|endoftext|>", 257 + 12, {});
  EXPECT_NO_THROW(check_vocabulary(vocabulary, "trained"));
}

TEST(BpeTrain, RefusesSizesItCannotGive) {
  const auto message = [](std::string_view text, std::int64_t size) -> std::string {
    try {
      train_bpe(text, size, {});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::data);
      return error.what();
    }
    return "accepted";
  };
  EXPECT_NE(message("abc", 256).find("allowed are 257"), std::string::npos);
  EXPECT_NE(message("abc", 1'000'001).find("to 1000000"), std::string::npos);
  EXPECT_NE(message("abc", 300).find("ask for at most 259"), std::string::npos) << message("abc", 300);
  EXPECT_NE(message("", 258).find("ask for at most 257"), std::string::npos);
  EXPECT_EQ(train_bpe("", 257, {}).tokens.size(), 257u);
}

}  // namespace
}  // namespace temper
