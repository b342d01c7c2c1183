// UTF-8 and GPT-2's alphabet: text as the tokenizer needs it.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace temper {

/// Bytes from the start of `text` that are valid UTF-8 (no surrogates, no overlong forms, nothing above U+10FFFF).
std::size_t valid_utf8_prefix(std::string_view text);

/// Bytes at the start of `text`, which is not empty and does not start with valid UTF-8, that become one U+FFFD.
std::size_t invalid_utf8_prefix(std::string_view text);

/// `text` with each maximal invalid part replaced by one U+FFFD: The Unicode Standard, section 3.9, "U+FFFD Substitution of
/// Maximal Subparts", which is also what Python's bytes.decode("utf-8", "replace") does.
std::string replace_invalid_utf8(std::string_view text);

/// Appends the UTF-8 form of a code point (below 0x110000, no surrogate).
void append_utf8(char32_t code_point, std::string& text);

// GPT-2's alphabet: a printable character for each byte, so that byte-level tokens can stand in JSON and text files
// (OpenAI, gpt-2 src/encoder.py, bytes_to_unicode). Printable Latin-1 stands for itself, the other 68 bytes are U+0100 and on.

/// The bytes in the order of GPT-2's first 256 ids: the printable ones, then the others.
const std::array<unsigned char, 256>& byte_order();

/// Bytes as characters of the alphabet, in UTF-8.
std::string to_alphabet(std::string_view bytes);

/// The bytes behind such characters; nothing when `text` has a character that is not of the alphabet. Must be valid UTF-8.
std::optional<std::string> from_alphabet(std::string_view text);

}  // namespace temper
