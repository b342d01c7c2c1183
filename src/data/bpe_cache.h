// The tokens of words seen lately. Text repeats its words so much that most pieces are answered from here.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace temper {

/// A table of fixed size in which a new word displaces the one in its slot. For one thread at a time.
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

}  // namespace temper
