// Numbers and lists as people read them.
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

}  // namespace temper
