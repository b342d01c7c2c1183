// Byte-pair encoding of one piece of text: start from its bytes, then join the pair of neighbours that was learned first,
// until none is left (Sennrich, Haddow, Birch 2016, arXiv:1508.07909; on bytes: Radford et al. 2019, GPT-2).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace temper {

/// `left` followed by `right` becomes `result`.
struct Merge {
  std::uint32_t left = 0;
  std::uint32_t right = 0;
  std::uint32_t result = 0;
};

/// All that defines a tokenizer. A merge's place in the list is its rank.
struct Vocabulary {
  std::vector<std::string> tokens;  ///< the bytes of each id
  std::vector<Merge> merges;
  std::vector<std::uint32_t> special;  ///< ids, ascending, that text never yields; <|endoftext|> is among them
  std::uint32_t end_of_text = 0;
};

inline constexpr std::string_view kEndOfText = "<|endoftext|>";
inline constexpr std::int64_t kMaxTokens = 1'000'000;

/// Error(ExitCode::data), starting with `label`, unless: 257 to kMaxTokens tokens, none empty or twice; all 256 bytes there;
/// each merge's result its two parts' bytes, no pair twice, no special token in a merge.
void check_vocabulary(const Vocabulary& vocabulary, const std::string& label);

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

}  // namespace temper
