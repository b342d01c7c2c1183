#include "config/json_tree.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "io/error.h"

namespace temper {
namespace {

using nlohmann::json;

constexpr std::size_t deepest_nesting = 8;  // a configuration needs 2, a sweep 5; the limit bounds the work on hostile text

/// Feeds the parser and remembers how far it has read, which is how a key's position is known.
struct CountingIterator {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  const char* at;
  const char** furthest;

  reference operator*() const { return *at; }
  CountingIterator& operator++() {
    *furthest = ++at;
    return *this;
  }
  bool operator==(const CountingIterator& other) const { return at == other.at; }
  bool operator!=(const CountingIterator& other) const { return at != other.at; }
};

class TreeReader : public json::json_sax_t {
 public:
  TreeReader(std::string_view text, const std::string& label, std::vector<std::string>& problems)
      : text_(text), label_(label), problems_(problems), furthest_(text.data()) {
    for (std::size_t at = text.find('\n'); at != std::string_view::npos; at = text.find('\n', at + 1))
      line_starts_.push_back(at + 1);
  }

  JsonNode read() {
    const char* end = text_.data() + text_.size();
    json::sax_parse(CountingIterator{text_.data(), &furthest_}, CountingIterator{end, &furthest_}, this, json::input_format_t::json,
                    true, true);
    return std::move(root_);
  }

  bool null() override { return add({nullptr}); }
  bool boolean(bool value) override { return add({value}); }
  bool number_integer(number_integer_t value) override { return add({value}); }
  bool number_unsigned(number_unsigned_t value) override {
    return value <= INT64_MAX ? add({static_cast<std::int64_t>(value)}) : add({value});
  }
  bool number_float(number_float_t value, const string_t&) override { return add({value}); }
  bool string(string_t& value) override { return add({value}); }
  bool binary(binary_t&) override { return false; }

  bool start_object(std::size_t) override { return open(JsonNode::Kind::object); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override {
    if (open_.empty()) fail(0, "expected an object, { ... }");
    return open(JsonNode::Kind::list);
  }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    key_ = name;
    key_where_ = where(start_of_string());
    const auto [first, is_new] = keys_.back().emplace(name, key_where_);
    if (!is_new)
      problems_.push_back(key_where_ + ": the key " + json(name).dump() + " stands at " + first->second + " already; keep one");
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const json::exception& error) override {
    std::string why = error.what();  // "[json.exception...] parse error at line 1, column 2: what we want"
    const std::size_t column = why.find("column ");
    const std::size_t prefix = column == std::string::npos ? why.find("] ") : why.find(": ", column);
    if (prefix != std::string::npos) why = why.substr(prefix + 2);
    const std::size_t offset = position == 0 ? 0 : std::min(position, text_.size() + 1) - 1;
    const std::size_t before = text_.substr(0, offset).find_last_not_of(" \t\r\n");
    if (before != std::string_view::npos && text_[before] == ',') why += " (remove the comma before it?)";
    fail(offset, why);
  }

 private:
  bool in_object() const { return !open_.empty() && open_.back().is_object(); }

  bool open(JsonNode::Kind kind) {
    if (open_.size() >= deepest_nesting) fail(consumed(), "nested deeper than " + std::to_string(deepest_nesting));
    JsonNode node{in_object() ? key_where_ : where(consumed() - 1), in_object() ? key_ : "", kind};
    open_.push_back(std::move(node));
    keys_.emplace_back();
    return true;
  }

  bool close() {
    JsonNode node = std::move(open_.back());
    open_.pop_back();
    keys_.pop_back();
    (open_.empty() ? root_ : open_.back().children.emplace_back()) = std::move(node);
    return true;
  }

  bool add(Value value) {
    if (open_.empty()) fail(0, "expected an object, { ... }");
    JsonNode node{in_object() ? key_where_ : open_.back().where, in_object() ? key_ : "", JsonNode::Kind::value, std::move(value)};
    open_.back().children.push_back(std::move(node));
    return true;
  }

  std::size_t consumed() const { return static_cast<std::size_t>(furthest_ - text_.data()); }

  /// Offset of the opening quote of the string the parser has just read to its closing quote.
  std::size_t start_of_string() const {
    std::size_t at = consumed() - 1;
    while (at > 0) {
      --at;
      std::size_t backslashes = 0;
      while (backslashes < at && text_[at - 1 - backslashes] == '\\') ++backslashes;
      if (text_[at] == '"' && backslashes % 2 == 0) break;
    }
    return at;
  }

  std::string where(std::size_t offset) const {
    const auto next_line = std::upper_bound(line_starts_.begin(), line_starts_.end(), offset);
    return label_ + ":" + std::to_string(next_line - line_starts_.begin()) + ":" + std::to_string(offset - next_line[-1] + 1);
  }

  [[noreturn]] void fail(std::size_t offset, const std::string& why) const {
    throw Error(ExitCode::usage, where(offset) + ": not valid JSON for a configuration: " + why);
  }

  std::string_view text_;
  const std::string& label_;
  std::vector<std::string>& problems_;
  const char* furthest_;
  std::vector<std::size_t> line_starts_ = {0};
  std::vector<JsonNode> open_;                            // the containers around the place being read
  std::vector<std::map<std::string, std::string>> keys_;  // the keys of each so far, and where they stand
  std::string key_, key_where_;
  JsonNode root_;
};

}  // namespace

const JsonNode* JsonNode::find(std::string_view name) const {
  const auto found = std::find_if(children.begin(), children.end(), [&](const JsonNode& child) { return child.key == name; });
  return is_object() && found != children.end() ? &*found : nullptr;
}

JsonNode read_json_tree(std::string_view text, const std::string& label, std::vector<std::string>& problems) {
  return TreeReader(text, label, problems).read();
}

std::string to_json_text(const JsonNode& node) {
  if (node.kind == JsonNode::Kind::value) return to_text(node.value);
  std::string text;
  for (const JsonNode& child : node.children)
    text += (text.empty() ? "" : ", ") + (node.is_object() ? to_text(Value{child.key}) + ": " : "") + to_json_text(child);
  return node.is_object() ? "{" + text + "}" : "[" + text + "]";
}

}  // namespace temper
