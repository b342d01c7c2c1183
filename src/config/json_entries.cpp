#include "config/json_entries.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "io/error.h"

namespace temper {
namespace {

using nlohmann::json;

constexpr std::size_t deepest_nesting = 8;  // a configuration needs 2; the limit bounds the work on hostile text

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

class EntryReader : public json::json_sax_t {
 public:
  EntryReader(std::string_view text, const std::string& label, std::vector<std::string>& problems)
      : text_(text), label_(label), problems_(problems), furthest_(text.data()) {
    for (std::size_t at = text.find('\n'); at != std::string_view::npos; at = text.find('\n', at + 1))
      line_starts_.push_back(at + 1);
  }

  std::vector<Entry> read() {
    const char* end = text_.data() + text_.size();
    json::sax_parse(CountingIterator{text_.data(), &furthest_}, CountingIterator{end, &furthest_}, this, json::input_format_t::json,
                    true, true);
    return std::move(entries_);
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

  bool start_object(std::size_t) override {
    if (in_list_) fail(consumed(), "an object in a list; lists hold plain values");
    if (path_.size() >= deepest_nesting) fail(consumed(), "objects nested deeper than " + std::to_string(deepest_nesting));
    if (!path_.empty()) {
      entries_.push_back({key_where_, joined_path(), {}, true});
    }
    path_.emplace_back();
    return true;
  }
  bool end_object() override {
    path_.pop_back();
    return true;
  }
  bool key(string_t& name) override {
    const std::size_t offset = start_of_string();
    path_.back() = name;
    key_where_ = where(offset);
    if (name.find('.') != std::string::npos) {
      problems_.push_back(key_where_ + ": key " + json(name).dump() +
                          ": in a file a section is an object, \"section\": {\"key\": ...}");
    }
    const std::string path = joined_path();
    const auto [first, is_new] = first_seen_.emplace(path, key_where_);
    if (!is_new) problems_.push_back(key_where_ + ": the key \"" + path + "\" stands at " + first->second + " already; keep one");
    return true;
  }
  bool start_array(std::size_t) override {
    if (path_.empty()) fail(0, "expected an object, { ... }");
    if (in_list_) fail(consumed(), "a list in a list; lists hold plain values");
    in_list_ = true;
    list_.clear();
    return true;
  }
  bool end_array() override {
    in_list_ = false;
    return add({list_});
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
  bool add(Value value) {
    if (path_.empty()) fail(0, "expected an object, { ... }");
    if (in_list_) {
      list_.push_back(std::move(value));
    } else {
      entries_.push_back({key_where_, joined_path(), std::move(value), false});
    }
    return true;
  }

  std::string joined_path() const {
    std::string path;
    for (const std::string& name : path_) path += (path.empty() ? "" : ".") + name;
    return path;
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
  std::vector<Entry> entries_;
  std::vector<std::string> path_;  // the key being read in each open object
  std::string key_where_;
  std::map<std::string, std::string> first_seen_;
  bool in_list_ = false;
  std::vector<Value> list_;
};

}  // namespace

std::vector<Entry> read_entries(std::string_view text, const std::string& label, std::vector<std::string>& problems) {
  return EntryReader(text, label, problems).read();
}

bool read_value(std::string_view text, Value& value) {
  const std::string wrapped = "{\"value\": " + std::string(text) + "\n}";
  std::vector<std::string> problems;
  try {
    const std::vector<Entry> entries = read_entries(wrapped, "", problems);
    if (entries.size() != 1 || entries[0].is_object) return false;
    value = entries[0].value;
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace temper
