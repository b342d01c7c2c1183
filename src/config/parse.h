// Configurations from files, overrides and resolved text.
//
// A file is JSON with // comments. Its settings are applied in layers: RunConfig's defaults, then the files that "extends" names
// (relative to the file that names them), then the file, then the overrides. A later layer replaces single keys, and lists whole.
// Where keys exclude one another (train.steps and train.tokens), a layer that sets one takes back the others of earlier layers.
// Paths to data stay as they are written, so they are relative to the working directory.
//
// Everything wrong is one Error(ExitCode::usage) that lists all of it: file, line, column, key, value, what is allowed.
#pragma once

#include <any>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "config/json_entries.h"
#include "config/run_config.h"

namespace temper {

struct FieldTable;

// Except for bases, what comes back is resolved (config/resolved.h) and validated. `notes` takes lines about settings that are
// allowed and may not be meant: a rate or decay that was given for another optimizer.

/// `overrides` are "section.key=value"; a value is JSON, or the bare text where the field takes text.
RunConfig load_config(const std::filesystem::path& path, const std::vector<std::string>& overrides = {},
                      std::vector<std::string>* notes = nullptr);

/// A configuration as it is given, for more layers on top: a file's, or one that stands inside another file; what that extends is
/// relative to `folder`. Validated.
RunConfig base_config(const std::filesystem::path& path);
RunConfig base_config(std::vector<Entry> entries, const std::filesystem::path& folder, const std::string& label);

/// A configuration that extends nothing, as config_to_json writes it; `label` names the text in errors. What a text that is older
/// than a key says of it by its silence is Field::as_before.
RunConfig config_from_json(std::string_view text, const std::string& label);

/// `base` with one more layer on top; `label` names the result in errors.
RunConfig config_with(RunConfig base, const std::vector<Entry>& layer, const std::string& label,
                      std::vector<std::string>* notes = nullptr);

/// The text of a file of reasonable size; otherwise Error(ExitCode::usage), after `named_at`, with what is `wanted`.
std::string read_config_file(const std::filesystem::path& path, const std::string& named_at, std::string_view wanted);

// What any table describes; `root` points to its struct, and what is wrong is added to `problems`.

/// Sets what the entries say.
void set_entries(const FieldTable& table, const std::vector<Entry>& entries, const std::any& root,
                 std::vector<std::string>& problems);
/// Sets what the object says, but for its structures, and returns that as entries. Messages name it, where `name` is given.
std::vector<Entry> read_object(const FieldTable& table, JsonNode object, const std::any& root, std::vector<std::string>& problems,
                               const std::string& name = "");

}  // namespace temper
