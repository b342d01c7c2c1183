// What editors and readers get from the field tables.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace temper {

struct FieldTable;

/// What the key "$schema" of a file says.
inline constexpr std::string_view where_the_schema_is = "where an editor finds this schema; not read by temper";

/// JSON Schema draft-07 of a configuration file, for completion and checks in an editor; configs/schema.json is this text.
std::string config_schema();

/// Every key as a Markdown page; docs/configuration.md is this text.
std::string config_reference();

/// Every key as plain text for a terminal, a line or two each.
std::string config_help();

// The same of any table.
/// `title`: empty where the schema is a part of another.
nlohmann::ordered_json schema_of(const FieldTable& table, std::string_view title);
/// A table in Markdown for the keys at the `top`, then one for each section, below headings at `level`, "##"; where a run is
/// resumed, with what a change means then.
std::string reference_of(const FieldTable& table, const std::string& level, const std::string& top, bool is_resumed);

}  // namespace temper
