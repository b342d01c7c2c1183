// The field table: one row for each thing a run can be told. Parsing, validation, overrides, the resolved configuration, the
// JSON Schema, the reference page and the help text are all made from these rows; defaults are RunConfig's initialisers.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/run_config.h"
#include "config/value.h"

namespace temper {

/// What a changed field means to a run that is resumed.
enum class ResumeClass {
  must_match,  ///< the checkpoint does not fit any more: refused
  trajectory,  ///< the run would continue differently: refused unless the user allows this field
  topology,    ///< how the same arithmetic is laid out: allowed, rounding may differ
  free,        ///< does not touch the weights: allowed
};

/// Reads and writes one member; made from a lambda `[](auto& c) -> auto& { return c.section.member; }`.
template <class T>
struct Member {
  template <class Access>
  explicit Member(Access access) : edit(access), read(access) {}
  T& (*edit)(RunConfig&);
  const T& (*read)(const RunConfig&);
};

struct IntegerKind {
  Member<std::int64_t> member;
  std::int64_t min, max;
  std::optional<std::int64_t> not_given = std::nullopt;  ///< the member's value when no file or override sets it
};
struct SeedKind {
  Member<std::uint64_t> member;
};
struct NumberKind {
  Member<double> member;
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool min_excluded = false, max_excluded = false;
  std::optional<double> not_given = std::nullopt;
};
struct BooleanKind {
  Member<bool> member;
};
struct TextKind {
  Member<std::string> member;
  std::vector<std::string_view> names = {};  ///< the allowed texts; empty: any without control characters
  bool is_folder_name = false;               ///< 1 to 128 letters, digits, '.', '_', '-', the first a letter, digit or '_'
  std::optional<std::string> not_given = std::nullopt;
};
struct TextListKind {
  Member<std::vector<std::string>> member;
  std::vector<std::string_view> names = {};  ///< the allowed elements; empty: any that are not empty
  bool is_glob_factor = false;               ///< elements are "GLOB=FACTOR" (config/glob_factor.h)
};
/// Numbers above `above` and below `below`.
struct NumberListKind {
  Member<std::vector<double>> member;
  double above, below;
};
struct ChoiceKind {
  int (*get)(const RunConfig&);  ///< the enumerator as an index into names
  void (*set)(RunConfig&, int);
  std::vector<std::string_view> names;
};

struct Field {
  std::string_view path;  ///< "optimizer.learning_rate", or "seed" at the top level
  std::variant<IntegerKind, SeedKind, NumberKind, BooleanKind, TextKind, TextListKind, NumberListKind, ChoiceKind> kind;
  ResumeClass resume;
  std::string_view help;        ///< one sentence with its unit, no full stop
  std::string_view group = {};  ///< of the fields of a group, which exclude one another, at most one is given

  std::string_view section() const;  ///< "optimizer"; empty at the top level
  std::string_view key() const;      ///< "learning_rate"
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
/// "must match", "trajectory", ...
std::string_view to_string(ResumeClass resume);

}  // namespace temper
