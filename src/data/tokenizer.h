// Byte-level BPE exactly as GPT-2's: the pre-tokenizer's regular expression with Unicode classes, bytes as characters,
// merges by rank, <|endoftext|>.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace temper {

class Tokenizer {
 public:
  /// From a folder or one of its files: encoder.json + vocab.bpe, vocab.json + merges.txt, or tokenizer.json (byte-level BPE
  /// only). Anything else, or a damaged file: Error(ExitCode::data).
  static Tokenizer load(const std::filesystem::path& path);

  /// Learns `vocab_size` - 257 merges from texts (256 bytes, the merges, <|endoftext|> last). Ties go to the smaller pair,
  /// so the result depends on nothing but the text; more merges than the text has: Error(ExitCode::data). `progress` (may be empty)
  /// is told merges done and merges in all.
  static Tokenizer train(std::string_view text, std::int64_t vocab_size,
                         const std::function<void(std::int64_t, std::int64_t)>& progress);

  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  std::int64_t vocab_size() const;
  /// The id of <|endoftext|>.
  std::uint32_t end_of_text() const;

  /// Appends the tokens of ordinary text (special tokens in it are text). Bytes that are not UTF-8 become U+FFFD first, one
  /// for each maximal invalid part as Python's errors="replace" does, so tokens equal tiktoken's on such text. Thread-safe.
  void encode(std::string_view text, std::vector<std::uint32_t>& tokens) const;
  std::vector<std::uint32_t> encode(std::string_view text) const;

  /// The bytes of a token; out of range: Error(ExitCode::data).
  std::string_view token_bytes(std::uint32_t token) const;
  std::string decode(const std::vector<std::uint32_t>& tokens) const;

  /// Hash of vocabulary and merges, whatever file form they came from: 32 hex digits.
  const std::string& hash() const;

  /// Writes vocab.json, merges.txt, tokenizer.json, tokenizer_config.json: what AutoTokenizer.from_pretrained reads. n_ctx
  /// becomes model_max_length; 0 leaves that out. Makes the folder where it is not there.
  void save(const std::filesystem::path& folder, std::int64_t n_ctx) const;

 private:
  struct State;
  explicit Tokenizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace temper
