// The field table: one row for each thing a run can be told, as the sections' declare() state them (config/run_config.h). Parsing,
// validation, overrides, the resolved configuration, the JSON Schema, the reference page and the help text are made from these
// rows.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/row.h"
#include "config/run_config.h"
#include "config/value.h"

namespace temper {

/// Reads and writes one member. Nothing: it is optional and not given.
template <class T>
struct Member {
  std::function<std::optional<T>(const RunConfig&)> read;
  std::function<void(RunConfig&, T)> write;
};

struct IntegerKind {
  Member<std::int64_t> member;
  std::int64_t min = 0, max = most_steps;
};
struct SeedKind {
  Member<std::uint64_t> member;
};
struct NumberKind {
  Member<double> member;
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool min_excluded = false, max_excluded = false;
};
struct BooleanKind {
  Member<bool> member;
};
struct TextKind {
  Member<std::string> member;
  std::vector<std::string_view> names = {};  ///< the allowed texts; empty: any without control characters
  bool is_folder_name = false;               ///< 1 to 128 letters, digits, '.', '_', '-', the first a letter, digit or '_'
};
struct TextListKind {
  Member<std::vector<std::string>> member;
  std::vector<std::string_view> names = {};  ///< the allowed elements; empty: any that are not empty
  bool is_glob_factor = false;               ///< elements are "GLOB=FACTOR" (config/glob_factor.h)
};
/// Numbers above `above` and below `below`.
struct NumberListKind {
  Member<std::vector<double>> member;
  double above = 0.0, below = 0.0;
};
struct ChoiceKind {
  Member<int> member;  ///< the enumerator as an index into names
  std::vector<std::string_view> names = {};
};

/// Where a key is read: "lion and muon", "norm_control rotational". One that is not read is left out of the resolved configuration.
struct Readers {
  std::string text;                            ///< empty: always read
  bool are_names = false;                      ///< of optimizers or schedules, not a condition
  std::function<bool(const RunConfig&)> read;  ///< of a resolved configuration
  bool refuse_others = true;                   ///< a value that is set and not read is an error
};

struct Field {
  std::string path;  ///< "optimizer.learning_rate", or "seed" at the top level
  std::variant<IntegerKind, SeedKind, NumberKind, BooleanKind, TextKind, TextListKind, NumberListKind, ChoiceKind> kind;
  ResumeClass resume;
  std::function<void(const RunConfig& from, RunConfig& to)> copy;
  std::string_view also_called;  ///< elsewhere, words
  std::string_view help;         ///< one sentence with its unit, no full stop
  std::string_view group;        ///< of the fields of a group, which exclude one another, at most one is given
  Readers readers;
  Value as_before;  ///< the value at which runs are as they were before there was the key; null: it is as old as its section

  std::string_view section() const;  ///< "optimizer"; empty at the top level
  std::string_view key() const;      ///< "learning_rate"
  /// `config` as resolved() gives it.
  bool is_read(const RunConfig& config) const { return !readers.read || readers.read(config); }
};

/// Collects the rows of one section; what a declare() is given. A row's defaults are the member's initialisers, an integer's range
/// 0 to most_steps.
template <class Section>
class SectionRows {
 public:
  SectionRows(std::vector<Field>& fields, std::string_view section, std::function<Section&(RunConfig&)> at, ResumeClass resume)
      : fields_(fields), section_(section), at_(std::move(at)), resume_(resume) {}

  /// The row of `section.key`, whose kind is the member's type; `says` are the help and what config/row.h has.
  template <class M>
  void operator()(std::string_view key, M Section::*member, const auto&... says) {
    Field& field = fields_.emplace_back();
    field.path = section_.empty() ? std::string(key) : std::string(section_) + "." + std::string(key);
    field.kind = kind_of(member);
    field.resume = resume_;
    field.copy = [at = at_, member](const RunConfig& from, RunConfig& to) {
      at(to).*member = at(const_cast<RunConfig&>(from)).*member;
    };
    (say(field, says), ...);
  }

 private:
  // Optional members and others alike: std::optional takes both. `at_` takes no constant reference.
  template <class T>
  Member<T> access(auto member) {
    return {[at = at_, member](const RunConfig& config) -> std::optional<T> { return at(const_cast<RunConfig&>(config)).*member; },
            [at = at_, member](RunConfig& config, T value) { at(config).*member = std::move(value); }};
  }
  template <class Enum>
  Member<int> access_enum(auto member) {
    const Member<Enum> as_enum = access<Enum>(member);
    return {[as_enum](const RunConfig& config) -> std::optional<int> {
              const std::optional<Enum> held = as_enum.read(config);
              return held ? std::optional(static_cast<int>(*held)) : std::nullopt;
            },
            [as_enum](RunConfig& config, int value) { as_enum.write(config, static_cast<Enum>(value)); }};
  }
  template <class M>
  decltype(Field::kind) kind_of(M Section::*member) {
    using T = decltype(value_type_of(std::declval<M>()));
    if constexpr (std::is_enum_v<T>) return ChoiceKind{access_enum<T>(member)};
    if constexpr (std::is_same_v<T, std::int64_t>) return IntegerKind{access<T>(member)};
    if constexpr (std::is_same_v<T, std::uint64_t>) return SeedKind{access<T>(member)};
    if constexpr (std::is_same_v<T, double>) return NumberKind{access<T>(member)};
    if constexpr (std::is_same_v<T, bool>) return BooleanKind{access<T>(member)};
    if constexpr (std::is_same_v<T, std::string>) return TextKind{access<T>(member)};
    if constexpr (std::is_same_v<T, std::vector<std::string>>) return TextListKind{access<T>(member)};
    if constexpr (std::is_same_v<T, std::vector<double>>) return NumberListKind{access<T>(member)};
  }
  template <class T>
  static T value_type_of(T);
  template <class T>
  static T value_type_of(std::optional<T>);

  std::vector<Field>& fields_;
  std::string_view section_;
  std::function<Section&(RunConfig&)> at_;
  ResumeClass resume_;
};

struct Section {
  std::string_view name;
  std::string_view help;
};

/// Rows in the order in which they are written; a section's rows stand together, in the order of config_sections().
const std::vector<Field>& config_fields();
const std::vector<Section>& config_sections();
/// nullptr: no such field (or section).
const Field* find_field(std::string_view path);
const Section* find_section(std::string_view name);
/// The other fields of a field's group; none where it has no group.
std::vector<const Field*> alternatives(const Field& field);

/// The field's value; null where it is not given.
Value get_field(const Field& field, const RunConfig& config);
/// Sets the field, or leaves it and returns what is wrong: "model.n_layer is 0; allowed: an integer from 1 to 1024".
/// Integers may be written as integral floating-point numbers (5e8). Empty: it was set.
std::string set_field(const Field& field, RunConfig& config, const Value& value);
/// Back to RunConfig's initialiser.
void reset_field(const Field& field, RunConfig& config);

/// "integer", "number", "boolean", "string", "string or list of strings", "number or list of numbers".
std::string_view type_name(const Field& field);
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
