#include "data/bpe_alphabet.h"

#include <cstddef>
#include <cstdint>

#include "data/tokenizer_utf8.h"

namespace temper {

namespace {

constexpr std::size_t kFirstShifted = 256 - 68;  // place in byte_order() of the first byte that is not printable

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

constexpr std::array<unsigned char, 256> kByteOrder = [] {
  std::array<unsigned char, 256> order{};
  std::size_t at = 0;
  for (const bool printable : {true, false}) {
    for (unsigned byte = 0; byte < 256; ++byte) {
      if (stands_for_itself(byte) == printable) order[at++] = static_cast<unsigned char>(byte);
    }
  }
  return order;
}();

constexpr std::array<char32_t, 256> kCharacters = [] {
  std::array<char32_t, 256> characters{};
  for (std::size_t i = 0; i < 256; ++i) {
    characters[kByteOrder[i]] = i < kFirstShifted ? kByteOrder[i] : static_cast<char32_t>(256 + i - kFirstShifted);
  }
  return characters;
}();

}  // namespace

const std::array<unsigned char, 256>& byte_order() { return kByteOrder; }

std::string to_alphabet(std::string_view bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const char byte : bytes) append_utf8(kCharacters[static_cast<unsigned char>(byte)], text);
  return text;
}

std::optional<std::string> from_alphabet(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    auto character = static_cast<char32_t>(static_cast<unsigned char>(text[at]));
    if (character >= 0x80) {  // the alphabet ends at U+0143, so one or two bytes each
      if (character >= 0xE0 || at + 1 >= text.size()) return std::nullopt;
      character = (character & 0x1F) << 6 | (static_cast<unsigned char>(text[++at]) & 0x3F);
    }
    if (character >= 256 && character < 256 + 256 - kFirstShifted) {
      bytes.push_back(static_cast<char>(kByteOrder[kFirstShifted + character - 256]));
    } else if (character < 256 && stands_for_itself(character)) {
      bytes.push_back(static_cast<char>(static_cast<unsigned char>(character)));
    } else {
      return std::nullopt;
    }
  }
  return bytes;
}

}  // namespace temper
