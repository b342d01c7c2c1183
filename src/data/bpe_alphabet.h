// GPT-2's alphabet: a printable character for each byte, so that byte-level tokens can stand in JSON and text files
// (OpenAI, gpt-2 src/encoder.py, bytes_to_unicode). Printable Latin-1 stands for itself, the other 68 bytes are U+0100 and on.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace temper {

/// The bytes in the order of GPT-2's first 256 ids: the printable ones, then the others.
const std::array<unsigned char, 256>& byte_order();

/// Bytes as characters of the alphabet, in UTF-8.
std::string to_alphabet(std::string_view bytes);

/// The bytes behind such characters; nothing when `text` has a character that is not of the alphabet. Must be valid UTF-8.
std::optional<std::string> from_alphabet(std::string_view text);

}  // namespace temper
