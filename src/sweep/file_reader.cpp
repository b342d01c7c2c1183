#include "sweep/file_reader.h"

#include <algorithm>
#include <cmath>

#include "config/suggest.h"

namespace temper {

std::string nearest_name(std::string_view unknown, const std::vector<std::string_view>& names) {
  constexpr std::size_t longest_name = 100;  // edit distance is quadratic; nobody mistypes a name this long
  const auto distance = [&](std::string_view name) { return edit_distance(unknown, name); };
  if (unknown.size() <= longest_name && !names.empty()) {
    const auto nearest = std::min_element(names.begin(), names.end(),
                                          [&](std::string_view a, std::string_view b) { return distance(a) < distance(b); });
    if (distance(*nearest) <= std::max<std::size_t>(1, unknown.size() / 3))
      return "did you mean \"" + std::string(*nearest) + "\"?";
  }
  std::string all;
  for (const std::string_view name : names) all += (all.empty() ? "allowed: " : ", ") + std::string(name);
  return all;
}

bool ObjectReader::check_keys(const std::vector<std::string_view>& known) {
  if (!object_.is_object()) {
    refuse(object_, name_ + " is " + to_json_text(object_) + "; expected an object, { ... }");
    return false;
  }
  for (const JsonNode& member : object_.children) {
    if (std::find(known.begin(), known.end(), member.key) != known.end()) continue;
    refuse(member, "unknown key " + to_text({path(member.key)}) + "; " + nearest_name(member.key, known));
  }
  return true;
}

void ObjectReader::integer(std::string_view key, std::int64_t min, std::int64_t& result) {
  const JsonNode* node = find(key);
  if (node == nullptr) return;
  const std::optional<std::int64_t> value = as_integer(node->value);
  if (!value || *value < min) return refuse_value(*node, "an integer of at least " + std::to_string(min));
  result = *value;
}

void ObjectReader::number(std::string_view key, double above, double& result) {
  const JsonNode* node = find(key);
  if (node == nullptr) return;
  const std::optional<double> value = as_number(node->value);
  if (!value || !(*value > above)) {
    return refuse_value(*node, std::isfinite(above) ? "a number above " + to_text({above}) : "a number");
  }
  result = *value;
}

void ObjectReader::text(std::string_view key, const std::vector<std::string_view>& names, std::string& result) {
  const JsonNode* node = find(key);
  if (node == nullptr) return;
  const auto* value = std::get_if<std::string>(&node->value.data);
  if (value == nullptr || std::find(names.begin(), names.end(), *value) == names.end()) {
    return refuse(*node, path(key) + " is " + to_json_text(*node) + "; " + nearest_name(value ? *value : "", names));
  }
  result = *value;
}

void ObjectReader::refuse_value(const JsonNode& node, const std::string& allowed) {
  refuse(node, path(node.key) + " is " + to_json_text(node) + "; allowed: " + allowed);
}

}  // namespace temper
