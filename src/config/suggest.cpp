#include "config/suggest.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace temper {
namespace {

using Paths = std::vector<std::string_view>;

std::string_view last_component(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

constexpr std::size_t longest_name = 100;  // edit distance is quadratic; nobody mistypes a name this long

Paths nearest(std::string_view unknown, const FieldTable& table) {
  const std::string_view key = last_component(unknown);
  Paths same_key, all;
  for (const Field& field : table.fields) {
    if (field.key() == key) same_key.push_back(field.path);
    all.push_back(field.path);
  }
  for (const Section& section : table.sections) all.push_back(section.name);
  if (!same_key.empty()) return same_key;

  Paths best;
  for (const Field& field : table.fields)
    if (has_word(field.also_called, key)) best.push_back(field.path);
  if (!best.empty()) return best;

  std::size_t best_distance = std::numeric_limits<std::size_t>::max();
  for (const std::string_view path : all) {
    const bool same_section =
        unknown.substr(0, unknown.size() - key.size()) == path.substr(0, path.size() - last_component(path).size());
    const std::size_t key_distance = edit_distance(key, last_component(path)) + (same_section ? 0 : 1);
    const std::size_t distance = std::min(edit_distance(unknown, path), key_distance);
    if (distance > best_distance || distance > std::max<std::size_t>(1, key.size() / 2)) continue;
    if (distance < best_distance) best.clear();
    best_distance = distance;
    best.push_back(path);
  }
  return best;
}

std::string suggestion_for(std::string_view unknown_path, const FieldTable& table) {
  if (std::string special = table.special(unknown_path); !special.empty()) return special;
  const Paths near = unknown_path.size() <= longest_name ? nearest(unknown_path, table) : Paths{};
  std::string text;
  if (!near.empty()) {
    for (std::size_t i = 0; i < std::min<std::size_t>(near.size(), 3); ++i)
      text += (i == 0 ? "did you mean \"" : " or \"") + std::string(near[i]) + '"';
    return text + "?";
  }
  const std::size_t dot = unknown_path.find('.');
  const Section* section = dot == std::string_view::npos ? nullptr : table.find_section(unknown_path.substr(0, dot));
  if (section != nullptr) return "keys of " + std::string(section->name) + ": " + table.keys_of(section->name);
  text = "known at the top level: " + table.keys_of("");
  for (const Section& each : table.sections) text += ", " + std::string(each.name);
  return text;
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

std::string nearest_name(std::string_view unknown, const std::vector<std::string_view>& names) {
  if (unknown.size() > longest_name || names.empty()) return "";
  const auto distance = [&](std::string_view name) { return edit_distance(unknown, name); };
  const std::string_view nearest = *std::ranges::min_element(names, {}, distance);
  return distance(nearest) <= std::max<std::size_t>(1, unknown.size() / 3) ? "did you mean \"" + std::string(nearest) + "\"?" : "";
}

std::string unknown_key(std::string_view path, const FieldTable& table, std::string_view what) {
  return "unknown " + std::string(what) + " " + to_text({std::string(path)}) + "; " + suggestion_for(path, table);
}

}  // namespace temper
