// What defines a tokenizer, and its file forms: OpenAI's (encoder.json, vocab.bpe), Hugging Face's older one (vocab.json,
// merges.txt) and newer one (tokenizer.json).
#pragma once

#include <cstdint>
#include <filesystem>
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

/// Reads and checks a vocabulary. A folder: tokenizer.json if it has one (it alone knows added tokens), else encoder.json and
/// vocab.bpe, else vocab.json and merges.txt. A file: that form, its partner beside it. All else: Error(ExitCode::data).
/// tokenizer.json must be what GPT-2's is: a BPE model without dropout, prefix or suffix; no normalizer; the ByteLevel
/// pre-tokenizer without a prefix space; nothing that adds tokens. Limits: 256 MiB a file, kMaxTokens tokens.
Vocabulary load_vocabulary(const std::filesystem::path& path);

/// As Tokenizer::save.
void save_vocabulary(const Vocabulary& vocabulary, const std::filesystem::path& folder, std::int64_t n_ctx);

/// Whether save_vocabulary() writes a file of this name.
bool is_vocabulary_file(const std::string& name);

}  // namespace temper
