// GPT-2's pre-tokenizer: cuts text into the pieces that byte pairs are merged within. The pattern (OpenAI, gpt-2
// src/encoder.py; \s, \p{L} and \p{N} are Unicode's White_Space, letters and numbers):
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// A hand-written splitter, several times faster than a regular expression; a test holds it against PCRE2 on the pattern.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace temper {

enum class CharClass : std::uint8_t { other, letter, number, space };

/// The class of every code point: PCRE2's Unicode tables, and beyond them the letters and numbers up to Unicode 16, so that the
/// classes are tiktoken's whether or not PCRE2 is that new (Debian bookworm's 10.42 knows Unicode 14).
class CharClasses {
 public:
  /// Built at the first call. Throws Error(ExitCode::unexpected) when PCRE2 lacks Unicode.
  static const CharClasses& get();

  CharClass of(char32_t code_point) const { return code_point < classes_.size() ? classes_[code_point] : CharClass::other; }

 private:
  CharClasses();
  std::vector<CharClass> classes_;
};

/// The pieces of a text, in order; joined they are the text.
class Pretokenizer {
 public:
  /// `text` must be valid UTF-8 and outlive the object.
  explicit Pretokenizer(std::string_view text) : text_(text), classes_(CharClasses::get()) {}

  /// False when there is none left.
  bool next(std::string_view& piece);

 private:
  std::string_view text_;
  const CharClasses& classes_;
  std::size_t at_ = 0;
};

/// The first place at or after `at` where a text can be cut without changing the pieces on either side (or their being valid
/// UTF-8): between an ASCII character that is no white space and one that is. The text's size when there is none.
std::size_t next_cut(std::string_view text, std::size_t at);

}  // namespace temper
