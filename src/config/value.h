// One configuration value between JSON text and a field: what a file, an override or a resolved configuration holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "io/json.h"

namespace temper {

struct Value {
  /// Whole numbers are int64_t where they fit, uint64_t above that. Null stands for "not given".
  std::variant<std::nullptr_t, bool, std::int64_t, std::uint64_t, double, std::string, std::vector<Value>> data = nullptr;

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(data); }
  bool operator==(const Value&) const = default;
};

/// The value as compact JSON, numbers in the shortest form that reads back to the same bits.
std::string to_text(const Value& value);

Json to_json(const Value& value);

/// The value as a number; nothing for other kinds. As an integer: also a floating-point number that is one (5e8), up to 2^53.
std::optional<double> as_number(const Value& value);
std::optional<std::int64_t> as_integer(const Value& value);

/// "GLOB=FACTOR": what tensors of a name are multiplied with (optimizer.decay_factors, optimizer.rate_factors).
struct GlobFactor {
  std::string glob;  ///< as fnmatch(3) takes it
  double factor;     ///< finite, at least 0
};
/// What stands before and behind the last '='; nothing where the text is not of that form.
std::optional<GlobFactor> parse_glob_factor(const std::string& text);

/// A stretch of training: "2000 steps", "1.5 epochs", "0.3 runs".
struct Timescale {
  double number;  ///< finite, above 0
  enum class Unit { steps, epochs, runs } unit;
};
/// Nothing where the text is not a plain number, one space and a unit.
std::optional<Timescale> parse_timescale(const std::string& text);

/// Whether JSON can hold the text as it is.
bool is_utf8(const std::string& text);

}  // namespace temper
