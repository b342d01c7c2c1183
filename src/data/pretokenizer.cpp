#include "data/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <memory>
#include <string>

#include "data/utf8.h"
#include "io/error.h"

namespace temper {

namespace {

struct Range {
  char32_t first, last;
};

// General categories L* and N* of the Unicode Character Database 16.0 that version 14.0 had not assigned yet.
constexpr Range kLettersSince14[] = {
    {0x1C89, 0x1C8A},   {0xA7CB, 0xA7CD},   {0xA7DA, 0xA7DC},   {0x105C0, 0x105F3}, {0x10D4A, 0x10D65}, {0x10D6F, 0x10D85},
    {0x10EC2, 0x10EC4}, {0x1123F, 0x11240}, {0x11380, 0x11389}, {0x1138B, 0x1138B}, {0x1138E, 0x1138E}, {0x11390, 0x113B5},
    {0x113B7, 0x113B7}, {0x113D1, 0x113D1}, {0x113D3, 0x113D3}, {0x11BC0, 0x11BE0}, {0x11F02, 0x11F02}, {0x11F04, 0x11F10},
    {0x11F12, 0x11F33}, {0x1342F, 0x1342F}, {0x13441, 0x13446}, {0x13460, 0x143FA}, {0x16100, 0x1611D}, {0x16D40, 0x16D6C},
    {0x18CFF, 0x18CFF}, {0x1B132, 0x1B132}, {0x1B155, 0x1B155}, {0x1DF25, 0x1DF2A}, {0x1E030, 0x1E06D}, {0x1E4D0, 0x1E4EB},
    {0x1E5D0, 0x1E5ED}, {0x1E5F0, 0x1E5F0}, {0x2B739, 0x2B739}, {0x2EBF0, 0x2EE5D}, {0x31350, 0x323AF}};
constexpr Range kNumbersSince14[] = {{0x10D40, 0x10D49}, {0x116D0, 0x116E3}, {0x11BF0, 0x11BF9}, {0x11F50, 0x11F59},
                                     {0x16130, 0x16139}, {0x16D70, 0x16D79}, {0x1CCF0, 0x1CCF9}, {0x1D2C0, 0x1D2D3},
                                     {0x1E4F0, 0x1E4F9}, {0x1E5F1, 0x1E5FA}};

// Planes 0 to 3; the planes above hold no letters, numbers or white space (a test asks PCRE2).
constexpr char32_t kClassified = 0x40000;
constexpr bool is_surrogate(char32_t code_point) { return code_point >= 0xD800 && code_point < 0xE000; }

char32_t code_point_at(const unsigned char* p, std::size_t& bytes) {
  if (p[0] < 0x80) {
    bytes = 1;
    return p[0];
  }
  if (p[0] < 0xE0) {
    bytes = 2;
    return static_cast<char32_t>((p[0] & 0x1F) << 6 | (p[1] & 0x3F));
  }
  if (p[0] < 0xF0) {
    bytes = 3;
    return static_cast<char32_t>((p[0] & 0x0F) << 12 | (p[1] & 0x3F) << 6 | (p[2] & 0x3F));
  }
  bytes = 4;
  return static_cast<char32_t>((p[0] & 0x07) << 18 | (p[1] & 0x3F) << 12 | (p[2] & 0x3F) << 6 | (p[3] & 0x3F));
}

// Marks every code point of `all` (the code points in order, as UTF-8) that `pattern` matches.
void mark(const char* pattern, const std::string& all, CharClass mark_as, std::vector<CharClass>& classes) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  const std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr),
      pcre2_code_free);
  if (!code) {
    throw Error(ExitCode::unexpected,
                "PCRE2 does not compile {}: it is older than 10.40 or built without Unicode; install libpcre2-8-0", pattern);
  }
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(
      pcre2_match_data_create_from_pattern(code.get(), nullptr), pcre2_match_data_free);
  const auto* subject = reinterpret_cast<const unsigned char*>(all.data());
  std::size_t from = 0;
  while (pcre2_match(code.get(), subject, all.size(), from, PCRE2_NO_UTF_CHECK, match.get(), nullptr) > 0) {
    const PCRE2_SIZE* span = pcre2_get_ovector_pointer(match.get());
    for (std::size_t at = span[0], bytes = 0; at < span[1]; at += bytes) classes[code_point_at(subject + at, bytes)] = mark_as;
    from = span[1];
  }
}

constexpr bool is_ascii_space(unsigned char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

constexpr std::array<CharClass, 128> kAscii = [] {
  std::array<CharClass, 128> classes{};
  for (unsigned char c = 0; c < 128; ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool number = c >= '0' && c <= '9';
    classes[c] = letter ? CharClass::letter : number ? CharClass::number : is_ascii_space(c) ? CharClass::space : CharClass::other;
  }
  return classes;
}();

CharClass class_at(const unsigned char* p, std::size_t& bytes, const CharClasses& classes) {
  if (*p < 0x80) {
    bytes = 1;
    return kAscii[*p];
  }
  return classes.of(code_point_at(p, bytes));
}

// Bytes of 's 't 're 've 'm 'll 'd after an apostrophe, apostrophe included; 0 when there is none.
std::size_t contraction(std::string_view text) {
  const char first = text.size() > 1 ? text[1] : '\0';
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  const char second = text.size() > 2 ? text[2] : '\0';
  const bool two = (first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l');
  return two ? 3 : 0;
}

}  // namespace

const CharClasses& CharClasses::get() {
  static const CharClasses classes;
  return classes;
}

CharClasses::CharClasses() : classes_(kClassified, CharClass::other) {
  std::string all;
  for (char32_t code_point = 0; code_point < kClassified; ++code_point)
    if (!is_surrogate(code_point)) append_utf8(code_point, all);
  mark("\\p{L}+", all, CharClass::letter, classes_);
  mark("\\p{N}+", all, CharClass::number, classes_);
  // Not \s: PCRE2 counts U+180E among white space, Unicode (since 6.3) and GPT-2's own implementation do not.
  mark("\\p{White_Space}+", all, CharClass::space, classes_);
  for (const Range& range : kLettersSince14)
    for (char32_t c = range.first; c <= range.last; ++c) classes_[c] = CharClass::letter;
  for (const Range& range : kNumbersSince14)
    for (char32_t c = range.first; c <= range.last; ++c) classes_[c] = CharClass::number;
}

bool Pretokenizer::next(std::string_view& piece) {
  if (at_ >= text_.size()) return false;
  const auto* text = reinterpret_cast<const unsigned char*>(text_.data());
  const std::size_t begin = at_;
  std::size_t at = begin;
  std::size_t bytes = 0;
  if (text[at] == '\'') {
    if (const std::size_t length = contraction(text_.substr(at)); length != 0) {
      piece = text_.substr(at, length);
      at_ += length;
      return true;
    }
  }
  CharClass run = class_at(text + at, bytes, classes_);
  if (text[at] == ' ' && at + 1 < text_.size()) {
    std::size_t bytes_after = 0;
    const CharClass after = class_at(text + at + 1, bytes_after, classes_);
    if (after != CharClass::space) {
      ++at;
      run = after;
      bytes = bytes_after;
    }
  }
  std::size_t last = at;  // where the run's last character starts
  at += bytes;
  while (at < text_.size() && class_at(text + at, bytes, classes_) == run) {
    last = at;
    at += bytes;
  }
  // \s+(?!\S): white space before something else leaves its last character to it, unless it is the only one.
  if (run == CharClass::space && at < text_.size() && last > begin) at = last;
  piece = text_.substr(begin, at - begin);
  at_ = at;
  return true;
}

std::size_t next_cut(std::string_view text, std::size_t at) {
  for (at = at > 0 ? at : 1; at < text.size(); ++at) {
    const auto before = static_cast<unsigned char>(text[at - 1]);
    if (before < 0x80 && !is_ascii_space(before) && is_ascii_space(static_cast<unsigned char>(text[at]))) return at;
  }
  return text.size();
}

}  // namespace temper
