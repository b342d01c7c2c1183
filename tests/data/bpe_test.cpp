#include "data/bpe.h"

#include <gtest/gtest.h>

#include <ctime>
#include <random>

#include "data/utf8.h"
#include "io/error.h"

namespace temper {
namespace {

// The definition, word for word: while some merge applies, do the first learned, leftmost.
std::vector<std::uint32_t> merge_by_definition(const Vocabulary& vocabulary, const std::string& piece) {
  std::vector<std::uint32_t> symbols;
  for (const char byte : piece) {
    for (std::uint32_t id = 0; id < 256; ++id) {
      if (vocabulary.tokens[id] == std::string(1, byte)) symbols.push_back(id);
    }
  }
  for (bool found = true; found;) {
    found = false;
    for (const Merge& merge : vocabulary.merges) {
      for (std::size_t i = 0; i + 1 < symbols.size() && !found; ++i) {
        if (symbols[i] != merge.left || symbols[i + 1] != merge.right) continue;
        symbols[i] = merge.result;
        symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
        found = true;
      }
      if (found) break;
    }
  }
  return symbols;
}

std::string random_word(std::mt19937& random, std::size_t size, unsigned letters) {
  std::string word;
  while (word.size() < size) word.push_back(static_cast<char>('a' + random() % letters));
  return word;
}

Vocabulary small_vocabulary() {
  std::mt19937 random(4);
  std::string text;
  for (int i = 0; i < 400; ++i) text.append(" ").append(random_word(random, 1 + random() % 9, 3));
  return train_bpe(text, 257 + 60, {});
}

TEST(Bpe, MergesShortAndLongPiecesAsDefined) {
  const Vocabulary vocabulary = small_vocabulary();
  const BpeMerger merger(vocabulary);
  std::mt19937 random(5);
  for (std::size_t size = 1; size < 200; size += size < 60 ? 1 : 23) {  // both sides of the border between the two algorithms
    for (const unsigned letters : {1u, 2u, 3u, 5u}) {
      const std::string word = random_word(random, size, letters);
      std::vector<std::uint32_t> tokens;
      merger.merge(word, tokens);
      ASSERT_EQ(tokens, merge_by_definition(vocabulary, word)) << word;
    }
  }
}

TEST(Bpe, MergesInTheOrderOfRanksEvenWhereALaterMergeMakesAnEarlierPair) {
  Vocabulary vocabulary = train_bpe("", 257, {});
  const auto id = [&](const std::string& token) {
    for (std::uint32_t i = 0; i < vocabulary.tokens.size(); ++i) {
      if (vocabulary.tokens[i] == token) return i;
    }
    return 0u;
  };
  vocabulary.tokens.insert(vocabulary.tokens.end(), {"abc", "ab", "ca"});
  vocabulary.merges = {{id("ab"), id("c"), id("abc")}, {id("a"), id("b"), id("ab")}, {id("c"), id("a"), id("ca")}};
  check_vocabulary(vocabulary, "test");
  const BpeMerger merger(vocabulary);
  for (const std::size_t repeats : {1u, 40u}) {
    std::string word;
    std::vector<std::uint32_t> expected;
    for (std::size_t i = 0; i < repeats; ++i) {
      word += "abcab";
      expected.insert(expected.end(), {id("abc"), id("ab")});
    }
    std::vector<std::uint32_t> tokens;
    merger.merge(word, tokens);
    EXPECT_EQ(tokens, expected);
  }
}

TEST(Bpe, TakesAMegabyteWithoutSpaces) {
  const Vocabulary vocabulary = small_vocabulary();
  const BpeMerger merger(vocabulary);
  std::mt19937 random(6);
  const std::string word = random_word(random, 1 << 20, 3);
  const std::clock_t start = std::clock();
  std::vector<std::uint32_t> tokens;
  merger.merge(word, tokens);
  // About 0.3 s of processor time, a few with sanitizers; a quadratic algorithm needs many minutes.
  EXPECT_LT(std::clock() - start, 100 * CLOCKS_PER_SEC);
  std::string joined;
  for (const std::uint32_t token : tokens) joined += vocabulary.tokens[token];
  EXPECT_EQ(joined, word);
}

TEST(Bpe, RefusesVocabulariesThatAreNotOne) {
  const Vocabulary good = small_vocabulary();
  EXPECT_NO_THROW(check_vocabulary(good, "test"));
  const auto refused = [&](const std::string& part, auto&& spoil) {
    Vocabulary bad = good;
    spoil(bad);
    try {
      check_vocabulary(bad, "some file");
      ADD_FAILURE() << "accepted: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::data);
      EXPECT_NE(std::string(error.what()).find("some file: "), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  refused("257 (256 bytes", [](Vocabulary& v) { v.tokens.resize(256); });
  refused("token 300 is empty", [](Vocabulary& v) { v.tokens[300].clear(); });
  refused("token 300 has the same bytes", [](Vocabulary& v) { v.tokens[300] = v.tokens[299]; });
  refused("no token for byte 33", [](Vocabulary& v) { v.tokens[0] = "xyzzy"; });
  refused("no token <|endoftext|>", [](Vocabulary& v) { v.end_of_text = 5; });
  refused("no token <|endoftext|>", [](Vocabulary& v) { v.end_of_text = 1u << 30; });
  refused("merge 7 names an id", [](Vocabulary& v) { v.merges[7].left = 100000; });
  refused("merge 7: its result", [](Vocabulary& v) { v.merges[7].result = v.merges[8].result; });
  refused("merge 7 repeats", [](Vocabulary& v) { v.merges[7] = v.merges[3]; });
  refused("special token in it", [](Vocabulary& v) { v.special = {v.merges[7].result, v.end_of_text}; });
}

TEST(Bpe, AlphabetIsGpt2s) {
  EXPECT_EQ(byte_order()[0], '!');
  EXPECT_EQ(byte_order()[94], 0xA1);
  EXPECT_EQ(byte_order()[188], 0x00);
  EXPECT_EQ(byte_order()[220], ' ');  // GPT-2's id of a space
  EXPECT_EQ(to_alphabet(" a\n"), "\u0120a\u010A");
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) bytes.push_back(static_cast<char>(byte));
  EXPECT_EQ(from_alphabet(to_alphabet(bytes)), bytes);
  for (const char* foreign : {" ", "\n", "\u00AD", "\u0144", "\u2581", "\U0001F600"})
    EXPECT_EQ(from_alphabet(foreign), std::nullopt) << foreign;
}

}  // namespace
}  // namespace temper
