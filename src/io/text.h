// Numbers, lists and text from outside as people read them.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>

namespace temper {

/// "3h 02m", "4m 10s", "12 s"
std::string format_duration(double seconds);
/// "1500", "15.0k", "12.3M", "2.46B"
std::string format_count(double value);
/// "12.0 MiB", "1.94 GiB"
std::string format_bytes(std::size_t bytes);
/// The number that those digits say: 0.1235 is 0.123456 to 4 of them.
double to_digits(double value, int digits);

/// "a, b, c". (GCC 12 warns of fmt::join, wrongly.)
template <typename Items>
std::string joined(const Items& items, std::string_view separator = ", ") {
  std::string text;
  bool first = true;
  for (const auto& item : items) {
    fmt::format_to(std::back_inserter(text), "{}{}", first ? "" : separator, item);
    first = false;
  }
  return text;
}

/// Text from outside (a name, a label, a path, a message that quotes them) that can do nothing to a terminal or a page: on one
/// line, and with \x1b or \u{202e} for what is not printable: control characters, invisible ones, those that turn the direction of
/// writing, and bytes that are no UTF-8. Of what has more than `longest` characters the middle is left out, "...".
std::string shown(std::string_view text, std::size_t longest = 200);

/// The same for a message of temper, which may be a list: line ends before two spaces are its own and stay. No name can thus write
/// a line that looks like another message. Beginning and end of a line are kept: they say where, and what to do.
std::string shown_message(std::string_view message);

/// The same as a line on standard error: messages, warnings and notes leave temper here.
void tell(const std::string& message);

/// The first character of a text that is not empty; a byte that begins none stands alone.
struct Character {
  std::string_view bytes;
  bool printable = false;
};
Character first_character(std::string_view text);

/// Characters of UTF-8 text.
std::size_t text_width(std::string_view text);

}  // namespace temper
