#include "config/schema.h"

#include <cmath>

#include "config/fields.h"
#include "io/json.h"

namespace temper {
namespace {

void add_type(const IntegerKind& kind, Json& property) {
  const Json integer = {{"type", "integer"}, {"minimum", kind.min}, {"maximum", kind.max}};
  if (kind.word.empty())
    property.update(integer);
  else
    property["anyOf"] = Json::array({integer, {{"const", kind.word}}});
}

void add_type(const SeedKind&, Json& property) {
  property["type"] = "integer";
  property["minimum"] = 0;
  property["maximum"] = UINT64_MAX;
}

void add_type(const NumberKind& kind, Json& property) {
  property["type"] = "number";
  if (std::isfinite(kind.min)) property[kind.min_excluded ? "exclusiveMinimum" : "minimum"] = kind.min;
  if (std::isfinite(kind.max)) property[kind.max_excluded ? "exclusiveMaximum" : "maximum"] = kind.max;
}

void add_type(const BooleanKind&, Json& property) { property["type"] = "boolean"; }

void add_type(const TextKind& kind, Json& property) {
  property["type"] = "string";
  if (kind.is_folder_name) property["pattern"] = "^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$";
  if (kind.is_timescale) property["pattern"] = "^([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)? (steps|epochs|runs)$";
  if (!kind.names.empty()) property["enum"] = kind.names;
}

/// `element`, or a list of it.
Json one_or_list(const Json& element) { return Json::array({element, {{"type", "array"}, {"items", element}}}); }

Json any_text() { return {{"type", "string"}, {"minLength", 1}}; }

void add_type(const TextListKind& kind, Json& property) {
  Json element = any_text();
  if (!kind.names.empty()) element = {{"type", "string"}, {"enum", kind.names}};
  if (kind.is_glob_factor) element["pattern"] = "^.+=([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?$";
  property["anyOf"] = one_or_list(element);
}

void add_type(const NumberListKind& kind, Json& property) {
  Json element;
  add_type(kind.each, element);
  property["anyOf"] = one_or_list(element);
}

void add_type(const StructureKind& kind, Json& property) { property.update(Json::parse(kind.schema)); }

/// null takes a key of an extended file back.
void allow_null(Json& property) {
  if (property.contains("anyOf")) property["anyOf"].push_back({{"type", "null"}});
  if (property.contains("type")) property["type"] = {property["type"], "null"};
  if (property.contains("enum")) property["enum"].push_back(nullptr);
}

Json property_of(const Field& field) {
  Json property = {{"description", full_help(field)}};
  std::visit([&](const auto& kind) { add_type(kind, property); }, field.kind);
  const Value initial = field.initial;
  if (!initial.is_null()) property["default"] = to_json(initial);
  if (!field.is_structure()) allow_null(property);
  return property;
}

/// An object whose properties are the fields of a section (empty: the top level).
Json object_of(const FieldTable& table, std::string_view section) {
  Json object = {{"type", "object"}, {"additionalProperties", false}, {"properties", Json::object()}};
  for (const Field& field : table.fields) {
    if (field.section() != section) continue;
    object["properties"][std::string(field.key())] = property_of(field);
    for (const Field* other : alternatives(field, table))
      if (other > &field) object["allOf"].push_back({{"not", {{"required", {field.key(), other->key()}}}}});
  }
  return object;
}

}  // namespace

Json schema_of(const FieldTable& table, std::string_view title) {
  if (title.empty()) return object_of(table, "");
  Json schema = {{"$schema", "http://json-schema.org/draft-07/schema#"}, {"title", title}};
  schema.update(object_of(table, ""));
  for (const Section& section : table.sections) {
    Json& object = schema["properties"][std::string(section.name)] = {{"description", section.help}};
    object.update(object_of(table, section.name));
  }
  return schema;
}

std::string config_schema() {
  FieldTable table = config_table();
  const auto key_of_file = [](const char* key, const std::string& schema, std::string_view help) {
    Field field{key, StructureKind{"", "", schema}};
    field.help = help;
    return field;
  };
  const Json files = {{"anyOf", one_or_list(any_text())}};
  table.fields.insert(table.fields.begin(),
                      {key_of_file("$schema", R"({"type": "string"})", where_the_schema_is),
                       key_of_file("extends", files.dump(),
                                   "configuration files to start from, relative to this one; this file's keys replace theirs")});
  return json_text(schema_of(table, "temper run configuration"), 2) + "\n";
}

}  // namespace temper
