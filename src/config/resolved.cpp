#include "config/resolved.h"

#include <nlohmann/json.hpp>

namespace temper {
namespace {

std::string text_or_not_given(const Value& value) { return value.is_null() ? "not given" : to_text(value); }

}  // namespace

std::string config_to_json(const RunConfig& config) {
  using Json = nlohmann::ordered_json;
  Json json = Json::object();
  for (const Field& field : config_fields()) {
    const Value value = get_field(field, config);
    Json& section = field.section().empty() ? json : json[std::string(field.section())];
    if (!value.is_null()) section[std::string(field.key())] = Json::parse(to_text(value));
  }
  return json.dump(2) + "\n";
}

std::vector<FieldDifference> compare(const RunConfig& before, const RunConfig& after) {
  std::vector<FieldDifference> differences;
  for (const Field& field : config_fields()) {
    const Value old_value = get_field(field, before), new_value = get_field(field, after);
    if (old_value != new_value) {
      differences.push_back({field.path, field.resume, text_or_not_given(old_value), text_or_not_given(new_value)});
    }
  }
  return differences;
}

}  // namespace temper
