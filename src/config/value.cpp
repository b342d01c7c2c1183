#include "config/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <string_view>
#include <type_traits>

namespace temper {

std::string to_text(const Value& value) {
  return std::visit(
      [](const auto& held) -> std::string {
        if constexpr (std::is_same_v<std::decay_t<decltype(held)>, std::vector<Value>>) {
          std::string text = "[";
          for (const Value& element : held) text += (text.size() > 1 ? ", " : "") + to_text(element);
          return text + "]";
        } else {
          return json_text(held);
        }
      },
      value.data);
}

Json to_json(const Value& value) {
  return std::visit(
      [](const auto& held) -> Json {
        if constexpr (std::is_same_v<std::decay_t<decltype(held)>, std::vector<Value>>) {
          Json list = Json::array();
          for (const Value& element : held) list.push_back(to_json(element));
          return list;
        } else {
          return held;
        }
      },
      value.data);
}

std::optional<double> as_number(const Value& value) {
  if (const auto* whole = std::get_if<std::int64_t>(&value.data)) return static_cast<double>(*whole);
  if (const auto* large = std::get_if<std::uint64_t>(&value.data)) return static_cast<double>(*large);
  if (const auto* number = std::get_if<double>(&value.data)) return *number;
  return std::nullopt;
}

std::optional<std::int64_t> as_integer(const Value& value) {
  if (const auto* whole = std::get_if<std::int64_t>(&value.data)) return *whole;
  const auto* number = std::get_if<double>(&value.data);
  constexpr double exact = 9007199254740992.0;  // 2^53: above it a double no longer holds every integer
  if (number != nullptr && std::abs(*number) <= exact && std::trunc(*number) == *number) return static_cast<std::int64_t>(*number);
  return std::nullopt;
}

std::optional<GlobFactor> parse_glob_factor(const std::string& text) {
  const std::size_t equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0) return std::nullopt;
  GlobFactor read{text.substr(0, equals), 0.0};
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data() + equals + 1, end, read.factor);
  if (error != std::errc() || stopped != end || !std::isfinite(read.factor) || std::signbit(read.factor)) return std::nullopt;
  return read;
}

std::optional<Timescale> parse_timescale(const std::string& text) {
  Timescale read{0.0, Timescale::Unit::steps};
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, read.number);
  if (error != std::errc() || !std::isfinite(read.number) || read.number <= 0.0) return std::nullopt;
  const std::string_view unit(stopped, static_cast<std::size_t>(end - stopped));
  constexpr std::string_view units[] = {" steps", " epochs", " runs"};
  const auto* const found = std::find(std::begin(units), std::end(units), unit);
  if (found == std::end(units)) return std::nullopt;
  read.unit = static_cast<Timescale::Unit>(found - std::begin(units));
  return read;
}

bool is_utf8(const std::string& text) {
  try {
    Json(text).dump();
    return true;
  } catch (const Json::type_error&) {
    return false;
  }
}

}  // namespace temper
