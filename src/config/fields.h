// The field table: one row for each thing a run can be told, as the sections' declare() state them (config/run_config.h). Parsing,
// validation, overrides, the resolved configuration, the JSON Schema, the reference page and the help text are made from these
// rows. Other structs that a file describes have tables of their own (sweep/sweep_file.h).
#pragma once

#include <algorithm>
#include <any>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "config/row.h"
#include "config/run_config.h"
#include "config/value.h"

namespace temper {

struct IntegerKind {
  static constexpr std::string_view type = "integer";
  std::int64_t min = 0, max = most_steps;
  std::string_view word = {};  ///< stands for 0; empty: none does
};
struct SeedKind {
  static constexpr std::string_view type = "integer";
};
struct NumberKind {
  static constexpr std::string_view type = "number";
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool min_excluded = false, max_excluded = false;
};
struct BooleanKind {
  static constexpr std::string_view type = "boolean";
};
/// Of a text or, where a member is an enum, of an enumerator's name.
struct TextKind {
  static constexpr std::string_view type = "string";
  std::vector<std::string_view> names = {};  ///< the allowed texts, an enum's in its order; empty: any without control characters
  bool is_folder_name = false;               ///< 1 to 128 letters, digits, '.', '_', '-', the first a letter, digit or '_'
  bool is_timescale = false;                 ///< as parse_timescale (config/value.h) reads it
};
struct TextListKind {
  static constexpr std::string_view type = "string or list of strings";
  std::vector<std::string_view> names = {};  ///< the allowed elements; empty: any that are not empty
  bool is_glob_factor = false;               ///< elements are "GLOB=FACTOR" (config/value.h)
  std::string_view each = "a path or glob";
};
struct NumberListKind {
  static constexpr std::string_view type = "number or list of numbers";
  NumberKind each;
};
/// What code beside the table reads, since no single value says it.
struct StructureKind {
  std::string_view type, allowed;
  std::string schema;  ///< of JSON Schema, as JSON
};

/// Where a key is read: "lion and muon", "norm_control rotational". One that is not read is left out of the resolved configuration.
struct Readers {
  std::string text;                           ///< empty: always read
  bool are_names = false;                     ///< of optimizers or schedules, not a condition
  std::function<bool(const std::any&)> read;  ///< of a pointer to the struct, resolved
  bool refuse_others = true;                  ///< a value that is set and not read is an error
};

/// A row. Its functions take a pointer to the struct that the table is of; with any other they throw std::bad_any_cast.
struct Field {
  std::string path;  ///< "optimizer.learning_rate", or "seed" at the top level
  std::variant<IntegerKind, SeedKind, NumberKind, BooleanKind, TextKind, TextListKind, NumberListKind, StructureKind> kind;
  ResumeClass resume = ResumeClass::free;
  std::function<Value(const std::any&)> read = {};                ///< null: optional and not given; an enumerator's name
  std::function<void(const std::any&, const Value&)> write = {};  ///< what read() gives
  Value initial = {};                                             ///< the member's initialiser, as read() gives it
  std::string_view also_called = {};                              ///< elsewhere, words
  std::string_view help = {};                                     ///< one sentence with its unit, no full stop
  std::string_view group = {};  ///< of the fields of a group, which exclude one another, at most one is given
  std::vector<row::Instead> instead = {};
  Readers readers = {};
  bool in_identity = true;
  Value as_before = {};  ///< the value at which runs are as they were before there was the key; null: it is as old as its section

  std::string_view section() const;  ///< "optimizer"; empty at the top level
  std::string_view key() const;      ///< "learning_rate"
  bool is_structure() const { return std::holds_alternative<StructureKind>(kind); }
  /// `root` as resolved() gives it.
  template <class Root>
  bool is_read(const Root& root) const {
    return !readers.read || readers.read(&root);
  }
  std::string set(const std::any& root, const Value& value) const;  ///< set_field()
};

// What config/row.h has, said of a row.
inline void say(Field& field, std::string_view help) { field.help = help; }
inline void say(Field& field, ResumeClass resume) { field.resume = resume; }
void say(Field& field, const row::Bound& bound);
void say(Field& field, const row::OneOf& texts);
inline void say(Field& field, const row::Each& each) { std::get<TextListKind>(field.kind).each = each.what; }
inline void say(Field& field, const row::Instead& instead) { field.instead.push_back(instead); }
inline void say(Field& field, const row::OrWord& zero) { std::get<IntegerKind>(field.kind).word = zero.word; }
inline void say(Field& field, row::FolderName) { std::get<TextKind>(field.kind).is_folder_name = true; }
inline void say(Field& field, row::GlobFactors) { std::get<TextListKind>(field.kind).is_glob_factor = true; }
inline void say(Field& field, row::TimescaleText) { std::get<TextKind>(field.kind).is_timescale = true; }
inline void say(Field& field, const row::Either& group) { field.group = group.group; }
inline void say(Field& field, row::NoIdentity) { field.in_identity = false; }
inline void say(Field& field, row::OrIgnored) { field.readers.refuse_others = false; }
inline void say(Field& field, const row::AsBefore& before) { field.as_before = before.value; }
inline void say(Field& field, const row::AlsoCalled& other) { field.also_called = other.names; }

using Names = std::vector<std::string_view>;
/// "sgd, sgdw and muon"
std::string listed(const Names& names);

// Between a member and a Value of its type; `names` are an enum's, or the word for an integer's 0.
template <class T>
Value to_value(const T& held, const Names& names = {}) {
  if constexpr (std::is_enum_v<T>) {
    const auto index = static_cast<std::size_t>(held);
    return {index < names.size() ? std::string(names[index]) : std::to_string(index)};
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    return held == 0 && !names.empty() ? Value{std::string(names[0])} : Value{held};
  } else if constexpr (std::is_same_v<T, std::uint64_t>) {
    return held <= INT64_MAX ? Value{static_cast<std::int64_t>(held)} : Value{held};
  } else {
    return {held};
  }
}
template <class T>
Value to_value(const std::vector<T>& held, const Names& = {}) {
  std::vector<Value> values;
  values.reserve(held.size());
  for (const T& element : held) values.push_back({element});
  return {std::move(values)};
}
template <class T>
Value to_value(const std::optional<T>& held, const Names& names = {}) {
  return held ? to_value(*held, names) : Value{};
}
template <class T>
void from_value(const Value& value, T& held, const Names& names) {
  if constexpr (std::is_enum_v<T>) {
    held = static_cast<T>(std::ranges::find(names, std::get<std::string>(value.data)) - names.begin());
  } else if constexpr (std::is_same_v<T, std::uint64_t>) {
    const auto* large = std::get_if<std::uint64_t>(&value.data);
    held = large != nullptr ? *large : static_cast<std::uint64_t>(std::get<std::int64_t>(value.data));
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    held = std::holds_alternative<std::string>(value.data) ? 0 : std::get<T>(value.data);
  } else {
    held = std::get<T>(value.data);
  }
}
template <class T>
void from_value(const Value& value, std::vector<T>& held, const Names&) {
  held.clear();
  for (const Value& element : std::get<std::vector<Value>>(value.data)) held.push_back(std::get<T>(element.data));
}
template <class T>
void from_value(const Value& value, std::optional<T>& held, const Names& names) {
  value.is_null() ? held.reset() : from_value(value, held.emplace(), names);
}

/// Collects the rows of one section; what a declare() is given. A row's defaults are the member's initialisers, an integer's range
/// 0 to most_steps. `At` leads from Root to the section.
template <class Root, class Section, class At>
class SectionRows {
 public:
  SectionRows(std::vector<Field>& fields, std::string_view section, At at, ResumeClass resume)
      : fields_(fields), section_(section), at_(at), resume_(resume) {}

  /// The row of `section.key`, whose kind is the member's type; `says` are the help and what config/row.h has.
  template <class M>
  void operator()(std::string_view key, M Section::*member, const auto&... says) {
    Field& field = add(key, kind_of<decltype(value_type_of(std::declval<M>()))>(), says...);
    const auto* text = std::get_if<TextKind>(&field.kind);
    const auto* integer = std::get_if<IntegerKind>(&field.kind);
    Names names = text != nullptr ? text->names : Names{};
    if (integer != nullptr && !integer->word.empty()) names = {integer->word};
    field.read = [at = at_, member, names](const std::any& root) {
      return to_value(at(*std::any_cast<const Root*>(root)).*member, names);
    };
    field.write = [at = at_, member, names](const std::any& root, const Value& value) {
      from_value(value, at(*std::any_cast<Root*>(root)).*member, names);
    };
    field.initial = to_value(Section{}.*member, names);
  }
  /// The row of a key without a member.
  void operator()(std::string_view key, StructureKind kind, const auto&... says) {
    Field& field = add(key, kind, says...);
    field.read = [](const std::any&) { return Value{}; };
  }

 private:
  Field& add(std::string_view key, decltype(Field::kind) kind, const auto&... says) {
    Field& field = fields_.emplace_back();
    field.path = section_.empty() ? std::string(key) : std::string(section_) + "." + std::string(key);
    field.kind = std::move(kind);
    field.resume = resume_;
    (note(field, says), ...);
    return field;
  }
  void note(Field& field, const auto& says) { say(field, says); }
  template <class Reads>
  void note(Field& field, const row::ReadBy<Reads>& by) {
    field.readers.text = by.where;
    field.readers.read = [read = by.read](const std::any& root) { return read(*std::any_cast<const Root*>(root)); };
  }
  /// The section's `name` is the index in the table.
  template <class Traits>
  void note(Field& field, const row::ReadByNames<Traits>& by) {
    Names names;
    for (const Traits& traits : by.table)
      if (has_word(traits.reads, field.key())) names.push_back(traits.text);
    field.readers.text = listed(names);
    field.readers.are_names = true;
    field.readers.read = [at = at_, table = by.table, key = std::string(field.key())](const std::any& root) {
      return has_word(table[static_cast<std::size_t>(at(*std::any_cast<const Root*>(root)).name)].reads, key);
    };
  }

  template <class T>
  static decltype(Field::kind) kind_of() {
    if constexpr (std::is_same_v<T, std::int64_t>) return IntegerKind{};
    if constexpr (std::is_same_v<T, std::uint64_t>) return SeedKind{};
    if constexpr (std::is_same_v<T, double>) return NumberKind{};
    if constexpr (std::is_same_v<T, bool>) return BooleanKind{};
    if constexpr (std::is_enum_v<T> || std::is_same_v<T, std::string>) return TextKind{};
    if constexpr (std::is_same_v<T, std::vector<std::string>>) return TextListKind{};
    if constexpr (std::is_same_v<T, std::vector<double>>) return NumberListKind{};
  }
  template <class T>
  static T value_type_of(T);
  template <class T>
  static T value_type_of(std::optional<T>);

  std::vector<Field>& fields_;
  std::string_view section_;
  At at_;
  ResumeClass resume_;
};

struct Section {
  std::string_view name;
  std::string_view help;
};

/// Rows in the order in which they are written; a section's rows stand together, in the order of the sections.
struct FieldTable {
  std::vector<Field> fields = {};
  std::vector<Section> sections = {};
  /// Why a key is none although someone may well write it; empty where there is nothing special to say.
  std::function<std::string(std::string_view)> special = [](std::string_view) { return std::string(); };

  /// The rows of Root's own keys.
  template <class Root>
  FieldTable add(ResumeClass resume = ResumeClass::free) && {
    SectionRows<Root, Root, std::identity> rows(fields, "", {}, resume);
    Root::declare(rows);
    return std::move(*this);
  }
  template <class Root, class Part>
  FieldTable add(std::string_view name, Part Root::*part, ResumeClass resume, std::string_view help) && {
    const auto at = [part](auto& root) -> auto& { return root.*part; };
    SectionRows<Root, Part, decltype(at)> rows(fields, name, at, resume);
    Part::declare(rows);
    sections.push_back({name, help});
    return std::move(*this);
  }

  /// nullptr: no such field (or section).
  const Field* find(std::string_view path) const;
  const Section* find_section(std::string_view name) const;
  /// "trials, tokens, seconds"
  std::string keys_of(std::string_view section) const;
};

/// The table of RunConfig, and its rows.
const FieldTable& config_table();
inline const std::vector<Field>& config_fields() { return config_table().fields; }
inline const Field* find_field(std::string_view path) { return config_table().find(path); }
/// The other fields of a field's group; none where it has no group.
std::vector<const Field*> alternatives(const Field& field, const FieldTable& table = config_table());

/// The field's value; null where it is not given.
template <class Root>
Value get_field(const Field& field, const Root& root) {
  return field.read(&root);
}
/// Sets the field, or leaves it and returns what is wrong: "model.n_layer is 0; allowed: an integer from 1 to 1024".
/// Integers may be written as integral floating-point numbers (5e8). Empty: it was set.
template <class Root>
std::string set_field(const Field& field, Root& root, const Value& value) {
  return field.set(&root, value);
}
/// Back to the member's initialiser.
template <class Root>
void reset_field(const Field& field, Root& root) {
  field.write(&root, field.initial);
}

/// "integer", "number", "boolean", "string", "string or list of strings", "number or list of numbers".
inline std::string_view type_name(const Field& field) {
  return std::visit([](const auto& kind) { return kind.type; }, field.kind);
}
/// What may stand there, as a phrase: "a number above 0 and at most 1", "one of adamw".
std::string allowed_values(const Field& field);
/// `help` with those before it that read the key.
std::string full_help(const Field& field);
/// As text: the member's initialiser, or what an optimizer's name gives where that decides, "0.95 (lion 0.99, muon required)".
/// Empty: a key that need not be given.
std::string default_text(const Field& field);
/// "must match", "trajectory", ...
std::string_view to_string(ResumeClass resume);

}  // namespace temper
