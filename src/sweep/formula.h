// The small arithmetic of a sweep file: ties ("0.06 / optimizer.learning_rate") and conditions ("schedule.warmup_steps <
// train.steps").
//
//   or, and                         any number but 0 is true; the result is 1 or 0
//   < <= > >= == !=                 numbers; == and != also compare text with text
//   + -   * /   unary -   ^         binding in this order; ^ from the right, closer than a minus before it
//   name(...)                       sqrt exp log round, min max of two or more
//   12 1e-3 'text' section.key      a key stands for its value in the trial; true is 1, false 0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/value.h"

namespace temper {

class Formula {
 public:
  /// Text that is no formula: Error(ExitCode::usage), which begins with `where` and shows the place.
  Formula(std::string text, std::string where);

  const std::string& text() const { return text_; }
  const std::string& where() const { return where_; }
  /// The keys that stand in it.
  const std::set<std::string>& keys() const { return keys_; }

  using Lookup = std::function<Value(const std::string& key)>;
  /// A finite number; anything else (text, a division by 0, a key that is not given): Error(ExitCode::usage).
  double number(const Lookup& value_of) const;
  /// Whether a condition holds.
  bool holds(const Lookup& value_of) const { return number(value_of) != 0.0; }
  /// Whether it is a comparison, or several joined by `and` and `or`.
  bool is_condition() const;
  /// The same as holds() while not all of its keys have a number yet: a comparison that cannot be made does not hold.
  bool holds_so_far(const std::map<std::string, double>& known) const;

  /// A number, a text, a key, or an operation on others.
  struct Node {
    enum class Kind { number, text, key, operation };
    Kind kind;
    double number = 0.0;
    std::string text = {};  ///< the text, the key or the operation's name
    std::vector<Node> operands = {};
  };

 private:
  std::string text_, where_;
  std::set<std::string> keys_;
  Node root_;
};

}  // namespace temper
