#include "config/json_entries.h"

#include "io/error.h"

namespace temper {
namespace {

void add_members(const JsonNode& object, const std::string& prefix, std::vector<Entry>& entries,
                 std::vector<std::string>& problems) {
  for (const JsonNode& member : object.children) {
    if (member.key.find('.') != std::string::npos) {
      problems.push_back(member.where + ": key " + to_text(Value{member.key}) +
                         ": in a file a section is an object, \"section\": {\"key\": ...}");
    }
    const std::string path = prefix + member.key;
    entries.push_back({member.where, path, plain_value(member), member.is_object()});
    if (member.is_object()) add_members(member, path + ".", entries, problems);
  }
}

}  // namespace

Value plain_value(const JsonNode& node) {
  if (!node.is_list()) return node.value;
  std::vector<Value> values;
  for (const JsonNode& element : node.children) {
    if (element.kind != JsonNode::Kind::value) {
      throw Error(ExitCode::usage, element.where + ": not valid JSON for a configuration: " +
                                       (element.is_list() ? "a list in a list" : "an object in a list") +
                                       "; lists hold plain values");
    }
    values.push_back(element.value);
  }
  return {values};
}

std::vector<Entry> flatten(const JsonNode& object, std::vector<std::string>& problems) {
  std::vector<Entry> entries;
  add_members(object, "", entries, problems);
  return entries;
}

std::vector<Entry> read_entries(std::string_view text, const std::string& label, std::vector<std::string>& problems) {
  return flatten(read_json_tree(text, label, problems), problems);
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
