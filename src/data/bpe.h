// Byte-pair encoding of one piece of text: start from its bytes, then join the pair of neighbours that was learned first,
// until none is left (Sennrich, Haddow, Birch 2016, arXiv:1508.07909; on bytes: Radford et al. 2019, GPT-2).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/vocabulary.h"

namespace temper {

class BpeMerger {
 public:
  /// The vocabulary must have been checked.
  explicit BpeMerger(const Vocabulary& vocabulary);

  /// Appends the tokens of one piece. Time grows as n log n for long pieces.
  void merge(std::string_view piece, std::vector<std::uint32_t>& tokens) const;

 private:
  struct Pair {
    std::uint32_t left, right, rank, result;
  };
  const Pair* find(std::uint32_t left, std::uint32_t right) const;
  void merge_short(std::string_view piece, std::vector<std::uint32_t>& tokens) const;
  void merge_long(std::string_view piece, std::vector<std::uint32_t>& tokens) const;

  std::array<std::uint32_t, 256> byte_tokens_{};
  std::vector<Pair> table_;  // open addressing, a power of two, at most half full
  int shift_ = 0;
};

/// The tokens of words seen lately: text repeats its words so much that most pieces are answered from here. A table of fixed size
/// in which a new word displaces the one in its slot. For one thread at a time.
class WordCache {
 public:
  WordCache() : entries_(kSlots) {}

  /// Appends the tokens of `word` if they are known.
  bool append(std::string_view word, std::vector<std::uint32_t>& tokens) const {
    if (word.size() > kWordBytes) return false;
    const Entry& entry = entries_[slot(word)];
    if (entry.bytes != word.size() || std::memcmp(entry.word, word.data(), word.size()) != 0) return false;
    tokens.insert(tokens.end(), entry.tokens, entry.tokens + entry.count);
    return true;
  }

  /// Keeps the tokens of a word unless either is long.
  void keep(std::string_view word, const std::uint32_t* tokens, std::size_t count) {
    if (word.empty() || word.size() > kWordBytes || count > kTokens) return;
    Entry& entry = entries_[slot(word)];
    entry.bytes = static_cast<std::uint8_t>(word.size());
    entry.count = static_cast<std::uint8_t>(count);
    std::memcpy(entry.word, word.data(), word.size());
    std::copy(tokens, tokens + count, entry.tokens);
  }

 private:
  static constexpr std::size_t kSlots = 1 << 15;
  static constexpr std::size_t kWordBytes = 30;
  static constexpr std::size_t kTokens = 8;
  struct Entry {  // one cache line
    std::uint8_t bytes = 0;
    std::uint8_t count = 0;
    char word[kWordBytes];
    std::uint32_t tokens[kTokens];
  };

  static std::size_t slot(std::string_view word) {
    constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15u;
    std::uint64_t hash = word.size();
    for (std::size_t at = 0; at < word.size(); at += 8) {
      std::uint64_t part = 0;
      std::memcpy(&part, word.data() + at, std::min<std::size_t>(8, word.size() - at));
      hash = (hash ^ part) * kOdd;
      hash ^= hash >> 32;
    }
    return (hash * kOdd) >> 49;
  }
  static_assert(kSlots == std::size_t{1} << (64 - 49));

  std::vector<Entry> entries_;
};

/// As Tokenizer::train: repeatedly joins the pair of neighbouring symbols that is most frequent within pieces of the text. Ids: 256
/// bytes in GPT-2's order, then a token for each merge, then <|endoftext|>. A pair whose bytes together are a token already is
/// passed over, so every merge makes a new token. The result is the same for any number of threads. vocab_size outside
/// 257..kMaxTokens, or more than the text can give: Error(ExitCode::data).
Vocabulary train_bpe(std::string_view text, std::int64_t vocab_size,
                     const std::function<void(std::int64_t, std::int64_t)>& progress);

}  // namespace temper
