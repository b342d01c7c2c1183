#include "data/utf8.h"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace temper {

namespace {

struct Sequence {
  std::size_t bytes;  // when not valid: of the maximal subpart, at least 1
  bool valid;
};

bool is_continuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

// The sequence at the start of a non-empty text, after The Unicode Standard's table 3-7, "Well-Formed UTF-8 Byte Sequences":
// only the second byte's range depends on the first.
Sequence sequence_at(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {1, true};
  std::size_t length = 0;
  unsigned char low = 0x80, high = 0xBF;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return {1, false};
  }
  if (text.size() < 2 || byte(1) < low || byte(1) > high) return {1, false};
  for (std::size_t i = 2; i < length; ++i)
    if (i >= text.size() || !is_continuation(byte(i))) return {i, false};
  return {length, true};
}

}  // namespace

std::size_t valid_utf8_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    if (text.size() - at >= 8) {
      std::uint64_t eight;
      std::memcpy(&eight, text.data() + at, 8);
      if ((eight & 0x8080808080808080u) == 0) {
        at += 8;
        continue;
      }
    }
    const Sequence sequence = sequence_at(text.substr(at));
    if (!sequence.valid) break;
    at += sequence.bytes;
  }
  return at;
}

std::size_t invalid_utf8_prefix(std::string_view text) { return sequence_at(text).bytes; }

std::string replace_invalid_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const std::size_t valid = valid_utf8_prefix(text);
    result.append(text.substr(0, valid));
    text.remove_prefix(valid);
    if (text.empty()) break;
    append_utf8(0xFFFD, result);
    text.remove_prefix(invalid_utf8_prefix(text));
  }
  return result;
}

void append_utf8(char32_t code_point, std::string& text) {
  const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | (code_point >> 6));
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | (code_point >> 12));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | (code_point >> 18));
    put(0x80 | ((code_point >> 12) & 0x3F));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

// --- GPT-2's alphabet ---

namespace {

constexpr std::size_t kFirstShifted = 256 - 68;  // place in byte_order() of the first byte that is not printable

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

constexpr std::array<unsigned char, 256> kByteOrder = [] {
  std::array<unsigned char, 256> order{};
  std::size_t at = 0;
  for (const bool printable : {true, false}) {
    for (unsigned byte = 0; byte < 256; ++byte)
      if (stands_for_itself(byte) == printable) order[at++] = static_cast<unsigned char>(byte);
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
    if (character >= 256 && character < 256 + 256 - kFirstShifted)
      bytes.push_back(static_cast<char>(kByteOrder[kFirstShifted + character - 256]));
    else if (character < 256 && stands_for_itself(character))
      bytes.push_back(static_cast<char>(static_cast<unsigned char>(character)));
    else
      return std::nullopt;
  }
  return bytes;
}

}  // namespace temper
