#include "config/glob_factor.h"

#include <charconv>
#include <cmath>

namespace temper {

std::optional<GlobFactor> parse_glob_factor(const std::string& text) {
  const std::size_t equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0) return std::nullopt;
  GlobFactor read{text.substr(0, equals), 0.0};
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data() + equals + 1, end, read.factor);
  if (error != std::errc() || stopped != end || !std::isfinite(read.factor) || std::signbit(read.factor)) return std::nullopt;
  return read;
}

}  // namespace temper
