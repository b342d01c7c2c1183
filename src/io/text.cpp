#include "io/text.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <utility>

namespace temper {
namespace {

/// Code points that are no text to look at; -1 is what is no UTF-8.
constexpr std::pair<std::int32_t, std::int32_t> unprintable[] = {
    {-1, 0x1F},       {0x7F, 0x9F},     {0xAD, 0xAD},     {0x61C, 0x61C},   {0x180E, 0x180E},   {0x200B, 0x200F},
    {0x2028, 0x202E}, {0x2060, 0x206F}, {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB}, {0xE0000, 0xE007F},
};

struct Decoded {
  std::size_t bytes = 1;
  std::int32_t point = -1;
};

Decoded decoded(std::string_view text) {
  constexpr std::int32_t least[] = {0, 0, 0x80, 0x800, 0x10000};  // with so many bytes
  const auto byte = [&](std::size_t i) { return static_cast<std::int32_t>(static_cast<unsigned char>(text[i])); };
  const std::int32_t lead = byte(0);
  if (lead < 0x80) return {1, lead};
  const std::size_t size = lead >> 5 == 0b110 ? 2 : lead >> 4 == 0b1110 ? 3 : lead >> 3 == 0b11110 ? 4 : 0;
  if (size == 0 || size > text.size()) return {};
  std::int32_t point = lead & (0x7F >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    point = point << 6 | (byte(i) & 0x3F);
  }
  const bool surrogate = point >= 0xD800 && point <= 0xDFFF;
  return point < least[size] || point > 0x10FFFF || surrogate ? Decoded() : Decoded{size, point};
}

bool is_printable(std::int32_t point) {
  return std::none_of(std::begin(unprintable), std::end(unprintable),
                      [&](const auto& range) { return point >= range.first && point <= range.second; });
}

std::string escaped(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const auto [bytes, point] = decoded(text);
    if (is_printable(point))
      result += text.substr(0, bytes);
    else if (bytes == 1)
      result += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
    else
      result += fmt::format("\\u{{{:x}}}", point);
    text.remove_prefix(bytes);
  }
  return result;
}

bool continues_character(char c) { return (c & 0xC0) == 0x80; }

/// Where character `number` begins.
std::size_t place_of(std::size_t number, std::string_view text) {
  std::size_t at = 0;
  while (at < text.size() && (continues_character(text[at]) || number-- > 0)) ++at;
  return at;
}

}  // namespace

std::string shown(std::string_view text, std::size_t longest) {
  std::string all;
  if (text.size() / 8 > longest)  // a character has four bytes at most: both ends hold more than will be left of them
    all = escaped(text.substr(0, 4 * longest)) + escaped(text.substr(text.size() - 4 * longest));
  else
    all = escaped(text);
  const std::size_t width = text_width(all);
  if (width <= longest) return all;
  const std::size_t left = longest - 3, end = left / 3;
  return all.substr(0, place_of(left - end, all)) + "..." + all.substr(place_of(width - end, all));
}

std::string shown_message(std::string_view message) {
  constexpr std::string_view line_end = "\n  ";
  constexpr std::size_t longest = 600, most_lines = 50;
  std::string text;
  for (std::size_t lines = 0;; ++lines) {
    if (lines == most_lines) return text + "...";
    const std::size_t end = message.find(line_end);
    text += shown(message.substr(0, end), longest);
    if (end == std::string_view::npos) return text;
    text += line_end;
    message.remove_prefix(end + line_end.size());
  }
}

void tell(const std::string& message) { std::fprintf(stderr, "%s\n", shown_message(message).c_str()); }

Character first_character(std::string_view text) {
  const auto [bytes, point] = decoded(text);
  return {text.substr(0, bytes), is_printable(point)};
}

std::size_t text_width(std::string_view text) {
  return text.size() - static_cast<std::size_t>(std::count_if(text.begin(), text.end(), continues_character));
}

std::string format_duration(double seconds) {
  const long long whole = std::llround(std::max(0.0, seconds));
  if (whole >= 3600) return fmt::format("{}h {:02}m", whole / 3600, whole % 3600 / 60);
  if (whole >= 60) return fmt::format("{}m {:02}s", whole / 60, whole % 60);
  return fmt::format("{} s", whole);
}

std::string format_count(double value) {
  if (value >= 1e9) return fmt::format("{:.2f}B", value / 1e9);
  if (value >= 1e6) return fmt::format("{:.1f}M", value / 1e6);
  if (value >= 1e4) return fmt::format("{:.1f}k", value / 1e3);
  return fmt::format("{:.0f}", value);
}

std::string format_bytes(std::size_t bytes) {
  const double mib = static_cast<double>(bytes) / 1048576.0;
  return mib >= 1024.0 ? fmt::format("{:.2f} GiB", mib / 1024.0) : fmt::format("{:.1f} MiB", mib);
}

double to_digits(double value, int digits) {
  return std::strtod(fmt::format("{:.{}g}", value, digits).c_str(),
                     nullptr);  // std::stod throws for what is too small to be normal
}

}  // namespace temper
