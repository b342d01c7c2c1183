// What editors and readers get from the field table.
#pragma once

#include <string>

namespace temper {

/// JSON Schema draft-07 of a configuration file, for completion and checks in an editor; configs/schema.json is this text.
std::string config_schema();

/// Every key as a Markdown page; docs/configuration.md is this text.
std::string config_reference();

/// Every key as plain text for a terminal, a line or two each.
std::string config_help();

}  // namespace temper
