// Reading and writing one field through its row, and saying what the row allows.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "config/fields.h"
#include "config/glob_factor.h"

namespace temper {
namespace {

template <class... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};

std::optional<std::uint64_t> as_seed(const Value& value) {
  if (const auto* large = std::get_if<std::uint64_t>(&value.data)) return *large;
  const std::optional<std::int64_t> whole = as_integer(value);
  return whole && *whole >= 0 ? std::optional(static_cast<std::uint64_t>(*whole)) : std::nullopt;
}

bool printable(const std::string& text) {
  return is_utf8(text) &&
         std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

bool is_folder_name(const std::string& text) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  };
  return !text.empty() && text.size() <= 128 && text[0] != '.' && text[0] != '-' && std::all_of(text.begin(), text.end(), allowed);
}

bool assign(const IntegerKind& kind, RunConfig& config, const Value& value) {
  const std::optional<std::int64_t> whole = as_integer(value);
  if (!whole || *whole < kind.min || *whole > kind.max) return false;
  kind.member.write(config, *whole);
  return true;
}

bool assign(const SeedKind& kind, RunConfig& config, const Value& value) {
  const std::optional<std::uint64_t> seed = as_seed(value);
  if (seed) kind.member.write(config, *seed);
  return seed.has_value();
}

bool assign(const NumberKind& kind, RunConfig& config, const Value& value) {
  const std::optional<double> number = as_number(value);
  if (!number || !std::isfinite(*number)) return false;
  if (*number < kind.min || (kind.min_excluded && *number == kind.min)) return false;
  if (*number > kind.max || (kind.max_excluded && *number == kind.max)) return false;
  kind.member.write(config, *number);
  return true;
}

bool assign(const BooleanKind& kind, RunConfig& config, const Value& value) {
  const auto* flag = std::get_if<bool>(&value.data);
  if (flag != nullptr) kind.member.write(config, *flag);
  return flag != nullptr;
}

bool assign(const TextKind& kind, RunConfig& config, const Value& value) {
  const auto* text = std::get_if<std::string>(&value.data);
  if (text == nullptr || !printable(*text) || (kind.is_folder_name && !is_folder_name(*text))) return false;
  if (!kind.names.empty() && std::find(kind.names.begin(), kind.names.end(), *text) == kind.names.end()) return false;
  kind.member.write(config, *text);
  return true;
}

/// A list's elements; a value that is no list is one element.
std::vector<Value> elements_of(const Value& value) {
  const auto* list = std::get_if<std::vector<Value>>(&value.data);
  return list != nullptr ? *list : std::vector<Value>{value};
}

bool assign(const TextListKind& kind, RunConfig& config, const Value& value) {
  std::vector<std::string> texts;
  for (const Value& element : elements_of(value)) {
    const auto* text = std::get_if<std::string>(&element.data);
    if (text == nullptr || text->empty() || !printable(*text)) return false;
    if (!kind.names.empty() && std::find(kind.names.begin(), kind.names.end(), *text) == kind.names.end()) return false;
    if (kind.is_glob_factor && !parse_glob_factor(*text)) return false;
    texts.push_back(*text);
  }
  kind.member.write(config, std::move(texts));
  return true;
}

bool assign(const NumberListKind& kind, RunConfig& config, const Value& value) {
  std::vector<double> numbers;
  for (const Value& element : elements_of(value)) {
    const std::optional<double> number = as_number(element);
    if (!number || !(*number > kind.above && *number < kind.below)) return false;
    numbers.push_back(*number);
  }
  kind.member.write(config, std::move(numbers));
  return true;
}

bool assign(const ChoiceKind& kind, RunConfig& config, const Value& value) {
  const auto* text = std::get_if<std::string>(&value.data);
  if (text == nullptr) return false;
  const auto found = std::find(kind.names.begin(), kind.names.end(), *text);
  if (found == kind.names.end()) return false;
  kind.member.write(config, static_cast<int>(found - kind.names.begin()));
  return true;
}

std::string quoted(const std::vector<std::string_view>& names) {
  std::string text;
  for (const std::string_view name : names) text += std::string(text.empty() ? "" : ", ") + '"' + std::string(name) + '"';
  return text;
}

std::string one_of(const std::vector<std::string_view>& names) { return "one of " + quoted(names); }

std::string text_list(const TextListKind& kind) {
  if (!kind.names.empty()) return "a list of any of " + quoted(kind.names);
  if (kind.is_glob_factor) return "\"GLOB=FACTOR\" with a number of at least 0 as FACTOR, or a list of them";
  return "a path or glob, or a list of them, none of them empty";
}

/// A bound as people write it: 0, not 0.0.
std::string bound(double number) {
  return std::trunc(number) == number && std::abs(number) < 1e15 ? std::to_string(static_cast<std::int64_t>(number))
                                                                 : to_text({number});
}

std::string number_range(const NumberKind& kind) {
  std::string text = "a number";
  const bool bounded = std::isfinite(kind.min) && std::isfinite(kind.max);
  if (bounded && !kind.min_excluded && !kind.max_excluded) return text + " from " + bound(kind.min) + " to " + bound(kind.max);
  if (std::isfinite(kind.min)) text += (kind.min_excluded ? " above " : " of at least ") + bound(kind.min);
  if (std::isfinite(kind.max)) text += (kind.max_excluded ? " and below " : " and at most ") + bound(kind.max);
  return text;
}

}  // namespace

Value get_field(const Field& field, const RunConfig& config) {
  const auto list_of = [](const auto& elements) {
    std::vector<Value> list;
    for (const auto& element : elements) list.push_back({element});
    return Value{list};
  };
  return std::visit(
      [&](const auto& kind) -> Value {
        const auto held = kind.member.read(config);
        if (!held) return {};
        using Kind = std::decay_t<decltype(kind)>;
        if constexpr (std::is_same_v<Kind, TextListKind> || std::is_same_v<Kind, NumberListKind>) {
          return list_of(*held);
        } else if constexpr (std::is_same_v<Kind, SeedKind>) {
          return *held <= INT64_MAX ? Value{static_cast<std::int64_t>(*held)} : Value{*held};
        } else if constexpr (std::is_same_v<Kind, ChoiceKind>) {
          const auto index = static_cast<std::size_t>(*held);
          return {index < kind.names.size() ? std::string(kind.names[index]) : std::to_string(index)};
        } else {
          return {*held};
        }
      },
      field.kind);
}

std::string set_field(const Field& field, RunConfig& config, const Value& value) {
  if (std::visit([&](const auto& kind) { return assign(kind, config, value); }, field.kind)) return "";
  return field.path + " is " + to_text(value) + "; allowed: " + allowed_values(field);
}

void reset_field(const Field& field, RunConfig& config) { field.copy(RunConfig{}, config); }

std::string_view type_name(const Field& field) {
  return std::visit(Overloaded{
                        [](const IntegerKind&) -> std::string_view { return "integer"; },
                        [](const SeedKind&) -> std::string_view { return "integer"; },
                        [](const NumberKind&) -> std::string_view { return "number"; },
                        [](const BooleanKind&) -> std::string_view { return "boolean"; },
                        [](const TextListKind&) -> std::string_view { return "string or list of strings"; },
                        [](const NumberListKind&) -> std::string_view { return "number or list of numbers"; },
                        [](const auto&) -> std::string_view { return "string"; },
                    },
                    field.kind);
}

std::string allowed_values(const Field& field) {
  return std::visit(
      Overloaded{
          [](const IntegerKind& kind) { return "an integer from " + std::to_string(kind.min) + " to " + std::to_string(kind.max); },
          [](const SeedKind&) { return "an integer from 0 to " + std::to_string(UINT64_MAX); },
          [](const NumberKind& kind) { return number_range(kind); },
          [](const BooleanKind&) { return std::string("true or false"); },
          [](const TextKind& kind) {
            if (!kind.names.empty()) return one_of(kind.names);
            return std::string(kind.is_folder_name
                                   ? "1 to 128 letters, digits, '.', '_' and '-', the first a letter, a digit or '_'"
                                   : "UTF-8 text without control characters");
          },
          [](const TextListKind& kind) { return text_list(kind); },
          [](const NumberListKind& kind) {
            return "a number above " + bound(kind.above) + " and below " + bound(kind.below) + ", or a list of them";
          },
          [](const ChoiceKind& kind) { return one_of(kind.names); },
      },
      field.kind);
}

std::string_view to_string(ResumeClass resume) {
  switch (resume) {
    case ResumeClass::must_match:
      return "must match";
    case ResumeClass::trajectory:
      return "trajectory";
    case ResumeClass::topology:
      return "topology";
    case ResumeClass::free:
      return "free";
  }
  return "";
}

}  // namespace temper
