#include "sweep/formula.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "io/error.h"

namespace temper {
namespace {

using Node = Formula::Node;
using Kind = Node::Kind;
using Result = std::variant<double, std::string>;

// Both bound the recursion on hostile text.
constexpr int deepest_nesting = 100;
constexpr std::size_t longest_text = 1000;

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Binary operators, those that bind least first.
const std::vector<std::vector<std::string_view>> levels = {
    {"or"}, {"and"}, {"<=", ">=", "==", "!=", "<", ">"}, {"+", "-"}, {"*", "/"}};
constexpr std::size_t comparisons = 2;  // which do not follow one another

/// What they and the functions compute; `min(a, b, c)` is min(min(a, b), c).
const std::map<std::string_view, double (*)(double, double)> operations = {
    {"+", [](double a, double b) { return a + b; }},
    {"-", [](double a, double b) { return a - b; }},
    {"*", [](double a, double b) { return a * b; }},
    {"/", [](double a, double b) { return a / b; }},
    {"^", [](double a, double b) { return std::pow(a, b); }},
    {"<", [](double a, double b) { return a < b ? 1.0 : 0.0; }},
    {"<=", [](double a, double b) { return a <= b ? 1.0 : 0.0; }},
    {">", [](double a, double b) { return a > b ? 1.0 : 0.0; }},
    {">=", [](double a, double b) { return a >= b ? 1.0 : 0.0; }},
    {"min", [](double a, double b) { return std::min(a, b); }},
    {"max", [](double a, double b) { return std::max(a, b); }},
    {"sqrt", [](double a, double) { return std::sqrt(a); }},
    {"exp", [](double a, double) { return std::exp(a); }},
    {"log", [](double a, double) { return std::log(a); }},
    {"round", [](double a, double) { return std::round(a); }},
};

/// Recursive descent.
class Parser {
 public:
  Parser(std::string_view text, const std::string& where, std::set<std::string>& keys) : text_(text), where_(where), keys_(keys) {}

  Node parse() {
    Node node = binary(0);
    skip_space();
    if (at_ < text_.size()) fail("expected an operator");
    return node;
  }

 private:
  /// Operators of this level and what binds closer, from left to right.
  Node binary(std::size_t level) {
    if (level == levels.size()) return unary();
    Node left = binary(level + 1);
    for (std::string name = take(levels[level]); !name.empty(); name = take(levels[level])) {
      left = {Kind::operation, 0.0, name, {left, binary(level + 1)}};
      if (level == comparisons) break;
    }
    return left;
  }
  Node unary() {
    const Depth depth(*this);
    if (take({"-"}).empty()) return power();
    return {Kind::operation, 0.0, "-", {{Kind::number, 0.0}, unary()}};
  }
  Node power() {
    Node base = primary();
    return take({"^"}).empty() ? base : Node{Kind::operation, 0.0, "^", {base, unary()}};
  }

  Node primary() {
    if (!take({"("}).empty()) {
      Node inside = binary(0);
      expect(")");
      return inside;
    }
    skip_space();
    if (at_ == text_.size()) fail("expected a number, a key or (");
    if (text_[at_] == '\'') return quoted();
    if (is_digit(text_[at_]) || text_[at_] == '.') return number();
    if (is_letter(text_[at_])) return key_or_function();
    fail("expected a number, a key or (");
  }

  Node quoted() {
    const std::size_t end = text_.find('\'', at_ + 1);
    if (end == std::string_view::npos) fail("the text that begins here has no closing '");
    Node node{Kind::text, 0.0, std::string(text_.substr(at_ + 1, end - at_ - 1))};
    at_ = end + 1;
    return node;
  }

  Node number() {
    Node node{Kind::number};
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), node.number);
    if (error != std::errc{}) fail("not a number");
    at_ = static_cast<std::size_t>(end - text_.data());
    return node;
  }

  Node key_or_function() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && (is_letter(text_[at_]) || is_digit(text_[at_]) || text_[at_] == '.')) ++at_;
    const std::string name(text_.substr(begin, at_ - begin));
    if (take({"("}).empty()) {
      keys_.insert(name);
      return {Kind::key, 0.0, name};
    }
    Node node{Kind::operation, 0.0, name};
    do node.operands.push_back(binary(0));
    while (!take({","}).empty());
    expect(")");
    const bool of_one = name == "sqrt" || name == "exp" || name == "log" || name == "round";
    const bool of_many = name == "min" || name == "max";
    if (!of_one && !of_many) fail("unknown function " + name + "; there are sqrt, exp, log, round, min, max");
    if (of_one && node.operands.size() != 1) fail(name + " takes one number");
    if (of_many && node.operands.size() < 2) fail(name + " takes two numbers or more");
    return node;
  }

  /// Takes whichever of the symbols or words comes next; empty: none of them.
  std::string take(const std::vector<std::string_view>& names) {
    skip_space();
    for (const std::string_view name : names) {
      if (!text_.substr(at_).starts_with(name)) continue;
      const std::size_t end = at_ + name.size();
      if (is_letter(name[0]) && end < text_.size() && (is_letter(text_[end]) || is_digit(text_[end]) || text_[end] == '.'))
        continue;
      at_ = end;
      return std::string(name);
    }
    return "";
  }

  void expect(std::string_view name) {
    if (take({name}).empty()) fail("expected " + std::string(name));
  }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
  }

  [[noreturn]] void fail(const std::string& why) const {
    throw Error(ExitCode::usage, where_ + ": \"" + std::string(text_) + "\", character " + std::to_string(at_ + 1) + ": " + why);
  }

  struct Depth {
    explicit Depth(Parser& owner) : parser(owner) {
      if (++parser.depth_ > deepest_nesting) parser.fail("nested deeper than " + std::to_string(deepest_nesting));
    }
    ~Depth() { --parser.depth_; }
    Parser& parser;
  };

  std::string_view text_;
  const std::string& where_;
  std::set<std::string>& keys_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

class Evaluation {
 public:
  /// `so_far`: a comparison that cannot be made does not hold.
  Evaluation(const Formula& formula, const Formula::Lookup& value_of, bool so_far = false)
      : formula_(formula), value_of_(value_of), so_far_(so_far) {}

  Result result(const Node& node) const {
    const auto& symbols = levels[comparisons];
    if (!so_far_ || std::find(symbols.begin(), symbols.end(), node.text) == symbols.end()) return computed(node);
    try {
      return Evaluation(formula_, value_of_).computed(node);  // one inside of it that cannot be made counts neither way
    } catch (const Error&) {
      return 0.0;
    }
  }

  double number(const Node& node) const {
    const Result value = result(node);
    if (const auto* text = std::get_if<std::string>(&value)) fail("'" + *text + "' is text where a number is wanted");
    return std::get<double>(value);
  }

 private:
  Result computed(const Node& node) const {
    if (node.kind == Kind::number) return node.number;
    if (node.kind == Kind::text) return node.text;
    if (node.kind == Kind::key) return value_of_key(node.text);
    if (node.text == "==") return result(node.operands[0]) == result(node.operands[1]) ? 1.0 : 0.0;
    if (node.text == "!=") return result(node.operands[0]) != result(node.operands[1]) ? 1.0 : 0.0;
    // What decides comes first, so that the other side may be undefined where it does not count.
    if (node.text == "or") return number(node.operands[0]) != 0.0 || number(node.operands[1]) != 0.0 ? 1.0 : 0.0;
    if (node.text == "and") return number(node.operands[0]) != 0.0 && number(node.operands[1]) != 0.0 ? 1.0 : 0.0;
    double value = number(node.operands[0]);
    const auto apply = operations.at(node.text);
    if (node.operands.size() == 1) value = apply(value, 0.0);
    for (std::size_t i = 1; i < node.operands.size(); ++i) value = apply(value, number(node.operands[i]));
    if (!std::isfinite(value)) fail(node.text + " gives no finite number here");
    return value;
  }

  Result value_of_key(const std::string& key) const {
    const Value value = value_of_(key);
    if (const auto* text = std::get_if<std::string>(&value.data)) return *text;
    if (const auto* flag = std::get_if<bool>(&value.data)) return *flag ? 1.0 : 0.0;
    if (const std::optional<double> number_of = as_number(value)) return *number_of;
    if (value.is_null()) fail(key + " is not given; give it in the base configuration or in a parameter");
    fail(key + " is " + to_text(value) + ", neither a number nor text");
  }

  [[noreturn]] void fail(const std::string& why) const {
    throw Error(ExitCode::usage, formula_.where() + ": \"" + formula_.text() + "\": " + why);
  }

  const Formula& formula_;
  const Formula::Lookup& value_of_;
  bool so_far_;
};

}  // namespace

Formula::Formula(std::string text, std::string where) : text_(std::move(text)), where_(std::move(where)) {
  if (text_.size() > longest_text) {
    throw Error(ExitCode::usage, where_ + ": a formula of " + std::to_string(text_.size()) + " characters; allowed: at most " +
                                     std::to_string(longest_text));
  }
  root_ = Parser(text_, where_, keys_).parse();
}

double Formula::number(const Lookup& value_of) const { return Evaluation(*this, value_of).number(root_); }

bool Formula::holds_so_far(const std::map<std::string, double>& known) const {
  const Lookup value_of = [&](const std::string& key) {
    const auto found = known.find(key);
    return found == known.end() ? Value{} : Value{found->second};
  };
  try {
    return Evaluation(*this, value_of, true).number(root_) != 0.0;
  } catch (const Error&) {
    return false;  // `and` and `or` of what is no comparison
  }
}

bool Formula::is_condition() const {
  return std::any_of(levels.begin(), levels.begin() + comparisons + 1, [&](const std::vector<std::string_view>& level) {
    return root_.kind == Kind::operation && std::find(level.begin(), level.end(), root_.text) != level.end();
  });
}

}  // namespace temper
