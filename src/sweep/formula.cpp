#include "sweep/formula.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <initializer_list>

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

/// Recursive descent, one method per level of binding.
class Parser {
 public:
  Parser(std::string_view text, const std::string& where, std::set<std::string>& keys) : text_(text), where_(where), keys_(keys) {}

  Node parse() {
    Node node = disjunction();
    skip_space();
    if (at_ < text_.size()) fail("expected an operator");
    return node;
  }

 private:
  Node disjunction() {
    return left_to_right({"or"}, [this] { return conjunction(); });
  }
  Node conjunction() {
    return left_to_right({"and"}, [this] { return comparison(); });
  }
  Node comparison() {
    Node left = sum();
    const std::string name = take({"<=", ">=", "==", "!=", "<", ">"});
    return name.empty() ? left : operation(name, std::move(left), sum());
  }
  Node sum() {
    return left_to_right({"+", "-"}, [this] { return product(); });
  }
  Node product() {
    return left_to_right({"*", "/"}, [this] { return unary(); });
  }
  Node unary() {
    const Depth depth(*this);
    if (take({"-"}).empty()) return power();
    return operation("-", {Kind::number, 0.0}, unary());
  }
  Node power() {
    Node base = primary();
    return take({"^"}).empty() ? base : operation("^", std::move(base), unary());
  }

  Node primary() {
    if (!take({"("}).empty()) {
      Node inside = disjunction();
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
    do node.operands.push_back(disjunction());
    while (!take({","}).empty());
    expect(")");
    const bool of_one = name == "sqrt" || name == "exp" || name == "log" || name == "round";
    const bool of_many = name == "min" || name == "max";
    if (!of_one && !of_many) fail("unknown function " + name + "; there are sqrt, exp, log, round, min, max");
    if (of_one && node.operands.size() != 1) fail(name + " takes one number");
    if (of_many && node.operands.size() < 2) fail(name + " takes two numbers or more");
    return node;
  }

  template <class Next>
  Node left_to_right(std::initializer_list<std::string_view> names, Next next) {
    Node left = next();
    for (std::string name = take(names); !name.empty(); name = take(names)) left = operation(name, std::move(left), next());
    return left;
  }

  static Node operation(const std::string& name, Node left, Node right) {
    Node node{Kind::operation, 0.0, name};
    node.operands.push_back(std::move(left));
    node.operands.push_back(std::move(right));
    return node;
  }

  /// Takes whichever of the symbols or words comes next; empty: none of them.
  std::string take(std::initializer_list<std::string_view> names) {
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
  Evaluation(const Formula& formula, const Formula::Lookup& value_of) : formula_(formula), value_of_(value_of) {}

  Result result(const Node& node) const {
    if (node.kind == Kind::number) return node.number;
    if (node.kind == Kind::text) return node.text;
    if (node.kind == Kind::key) return value_of_key(node.text);
    if (node.text == "==") return result(node.operands[0]) == result(node.operands[1]) ? 1.0 : 0.0;
    if (node.text == "!=") return result(node.operands[0]) != result(node.operands[1]) ? 1.0 : 0.0;
    // What decides comes first, so that the other side may be undefined where it does not count.
    if (node.text == "or") return number(node.operands[0]) != 0.0 || number(node.operands[1]) != 0.0 ? 1.0 : 0.0;
    if (node.text == "and") return number(node.operands[0]) != 0.0 && number(node.operands[1]) != 0.0 ? 1.0 : 0.0;
    const double value = arithmetic(node);
    if (!std::isfinite(value)) fail(node.text + " gives no finite number here");
    return value;
  }

  double number(const Node& node) const {
    const Result value = result(node);
    if (const auto* text = std::get_if<std::string>(&value)) fail("'" + *text + "' is text where a number is wanted");
    return std::get<double>(value);
  }

 private:
  double arithmetic(const Node& node) const {
    const std::string& name = node.text;
    const double a = number(node.operands[0]);
    if (name == "sqrt") return std::sqrt(a);
    if (name == "exp") return std::exp(a);
    if (name == "log") return std::log(a);
    if (name == "round") return std::round(a);
    double b = number(node.operands[1]);
    if (name == "min" || name == "max") {
      for (std::size_t i = 2; i < node.operands.size(); ++i) {
        const double next = number(node.operands[i]);
        b = name == "min" ? std::min(b, next) : std::max(b, next);
      }
      return name == "min" ? std::min(a, b) : std::max(a, b);
    }
    if (name == "+") return a + b;
    if (name == "-") return a - b;
    if (name == "*") return a * b;
    if (name == "/") return a / b;
    if (name == "^") return std::pow(a, b);
    if (name == "<") return a < b;
    if (name == "<=") return a <= b;
    if (name == ">") return a > b;
    return a >= b;
  }

  Result value_of_key(const std::string& key) const {
    const Value value = value_of_(key);
    if (const auto* text = std::get_if<std::string>(&value.data)) return *text;
    if (const auto* flag = std::get_if<bool>(&value.data)) return *flag ? 1.0 : 0.0;
    if (const auto* whole = std::get_if<std::int64_t>(&value.data)) return static_cast<double>(*whole);
    if (const auto* large = std::get_if<std::uint64_t>(&value.data)) return static_cast<double>(*large);
    if (const auto* real = std::get_if<double>(&value.data)) return *real;
    if (value.is_null()) fail(key + " is not given; give it in the base configuration or in a parameter");
    fail(key + " is " + to_text(value) + ", neither a number nor text");
  }

  [[noreturn]] void fail(const std::string& why) const {
    throw Error(ExitCode::usage, formula_.where() + ": \"" + formula_.text() + "\": " + why);
  }

  const Formula& formula_;
  const Formula::Lookup& value_of_;
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

}  // namespace temper
