// Reading and writing one field through its row, and saying what the row allows.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "config/fields.h"
#include "config/suggest.h"

namespace temper {
namespace {

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

// The value as a member of the kind holds it (Field::write); none: it is not allowed.

std::optional<Value> taken(const IntegerKind& kind, const Value& value) {
  const auto* text = std::get_if<std::string>(&value.data);
  if (text != nullptr && !kind.word.empty() && *text == kind.word) return value;
  const std::optional<std::int64_t> whole = as_integer(value);
  return whole && *whole >= kind.min && *whole <= kind.max ? std::optional(Value{*whole}) : std::nullopt;
}

std::optional<Value> taken(const SeedKind&, const Value& value) {
  if (std::holds_alternative<std::uint64_t>(value.data)) return value;
  const std::optional<std::int64_t> whole = as_integer(value);
  return whole && *whole >= 0 ? std::optional(Value{*whole}) : std::nullopt;
}

std::optional<Value> taken(const NumberKind& kind, const Value& value) {
  const std::optional<double> number = as_number(value);
  if (!number || !std::isfinite(*number)) return std::nullopt;
  if (*number < kind.min || (kind.min_excluded && *number == kind.min)) return std::nullopt;
  if (*number > kind.max || (kind.max_excluded && *number == kind.max)) return std::nullopt;
  return Value{*number};
}

std::optional<Value> taken(const BooleanKind&, const Value& value) {
  return std::holds_alternative<bool>(value.data) ? std::optional(value) : std::nullopt;
}

std::optional<Value> taken(const TextKind& kind, const Value& value) {
  const auto* text = std::get_if<std::string>(&value.data);
  if (text == nullptr || !printable(*text) || (kind.is_folder_name && !is_folder_name(*text))) return std::nullopt;
  if (kind.is_timescale) {
    const std::optional<Timescale> read = parse_timescale(*text);
    return read ? std::optional(Value{fmt::format("{}{}", read->number, text->substr(text->find(' ')))}) : std::nullopt;
  }
  if (!kind.names.empty() && std::find(kind.names.begin(), kind.names.end(), *text) == kind.names.end()) return std::nullopt;
  return value;
}

/// A list of what `each` takes; a value that is no list is one element.
std::optional<Value> taken_list(const Value& value, const auto& each) {
  const auto* list = std::get_if<std::vector<Value>>(&value.data);
  std::vector<Value> elements;
  for (const Value& element : list != nullptr ? *list : std::vector<Value>{value}) {
    std::optional<Value> one = each(element);
    if (!one) return std::nullopt;
    elements.push_back(std::move(*one));
  }
  return Value{std::move(elements)};
}

std::optional<Value> taken(const TextListKind& kind, const Value& value) {
  return taken_list(value, [&](const Value& element) -> std::optional<Value> {
    const auto* text = std::get_if<std::string>(&element.data);
    if (text == nullptr || text->empty() || (kind.is_glob_factor && !parse_glob_factor(*text))) return std::nullopt;
    return taken(TextKind{kind.names}, element);
  });
}

std::optional<Value> taken(const NumberListKind& kind, const Value& value) {
  return taken_list(value, [&](const Value& element) { return taken(kind.each, element); });
}

std::optional<Value> taken(const StructureKind&, const Value&) { return std::nullopt; }

std::string quoted(const std::vector<std::string_view>& names) {
  std::string text;
  for (const std::string_view name : names) text += std::string(text.empty() ? "" : ", ") + '"' + std::string(name) + '"';
  return text;
}

/// A bound as people write it: 0, not 0.0.
std::string bound(double number) {
  return std::trunc(number) == number && std::abs(number) < 1e15 ? std::to_string(static_cast<std::int64_t>(number))
                                                                 : to_text({number});
}

// What may stand there, as a phrase.

std::string allowed(const IntegerKind& kind) {
  return "an integer from " + std::to_string(kind.min) + " to " + std::to_string(kind.max) +
         (kind.word.empty() ? "" : ", or \"" + std::string(kind.word) + '"');
}

std::string allowed(const SeedKind&) { return "an integer from 0 to " + std::to_string(UINT64_MAX); }

std::string allowed(const NumberKind& kind) {
  std::string text = "a number";
  const bool bounded = std::isfinite(kind.min) && std::isfinite(kind.max);
  if (bounded && !kind.min_excluded && !kind.max_excluded) return text + " from " + bound(kind.min) + " to " + bound(kind.max);
  if (std::isfinite(kind.min)) text += (kind.min_excluded ? " above " : " of at least ") + bound(kind.min);
  if (std::isfinite(kind.max)) text += (kind.max_excluded ? " and below " : " and at most ") + bound(kind.max);
  return text;
}

std::string allowed(const BooleanKind&) { return "true or false"; }

std::string allowed(const TextKind& kind) {
  if (!kind.names.empty()) return "one of " + quoted(kind.names);
  if (kind.is_timescale) return "a number above 0 and its unit: \"2000 steps\", \"1.5 epochs\" or \"0.3 runs\"";
  return kind.is_folder_name ? "1 to 128 letters, digits, '.', '_' and '-', the first a letter, a digit or '_'"
                             : "UTF-8 text without control characters";
}

std::string allowed(const TextListKind& kind) {
  if (!kind.names.empty()) return "a list of any of " + quoted(kind.names);
  if (kind.is_glob_factor) return "\"GLOB=FACTOR\" with a number of at least 0 as FACTOR, or a list of them";
  return std::string(kind.each) + ", or a list of them, none of them empty";
}

std::string allowed(const NumberListKind& kind) { return allowed(kind.each) + ", or a list of them"; }

std::string allowed(const StructureKind& kind) { return std::string(kind.allowed); }

}  // namespace

std::string Field::set(const std::any& root, const Value& value) const {
  if (const std::optional<Value> held = std::visit([&](const auto& each) { return taken(each, value); }, kind)) {
    write(root, *held);
    return "";
  }
  const std::string problem = path + " is " + to_text(value) + "; ";
  const auto* text = std::get_if<std::string>(&value.data);
  if (text == nullptr) return problem + "allowed: " + allowed_values(*this);
  for (const row::Instead& other : instead)
    if (other.value == *text) return problem + std::string(other.why);
  const auto names_of = [](const auto& each) {
    if constexpr (requires { each.names; }) return each.names;
    return Names{};
  };
  const std::string near = nearest_name(*text, std::visit(names_of, kind));
  return problem + "allowed: " + allowed_values(*this) + (near.empty() ? "" : "; " + near);
}

std::string allowed_values(const Field& field) {
  return std::visit([](const auto& kind) { return allowed(kind); }, field.kind);
}

std::string_view to_string(ResumeClass resume) {
  constexpr std::string_view names[] = {"must match", "trajectory", "topology", "free"};
  return names[static_cast<std::size_t>(resume)];
}

}  // namespace temper
