// UTF-8 as the tokenizer needs it: is a text valid, and if not, the same text with U+FFFD where it is not.
#pragma once

#include <cstddef>
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

}  // namespace temper
