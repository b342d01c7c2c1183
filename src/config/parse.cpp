#include "config/parse.h"

#include <algorithm>
#include <map>

#include "config/fields.h"
#include "config/json_entries.h"
#include "config/resolved.h"
#include "config/suggest.h"
#include "config/validate.h"
#include "io/error.h"
#include "io/file.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t largest_file = 1 << 20;

bool is_inside(std::string_view path, std::string_view section) {
  return path.size() > section.size() && path.starts_with(section) && path[section.size()] == '.';
}

std::string problem_with_object(const FieldTable& table, const Entry& entry) {
  if (table.find_section(entry.path) != nullptr) return "";
  if (const Field* field = table.find(entry.path)) return entry.path + " is an object; allowed: " + allowed_values(*field);
  return unknown_key(entry.path, table, "section");
}

std::string problem_with_value(const FieldTable& table, const Entry& entry, const std::any& root) {
  if (const Field* field = table.find(entry.path)) return field->set(root, entry.value);
  if (table.find_section(entry.path) == nullptr) return unknown_key(entry.path, table);
  return entry.path + " is " + to_text(entry.value) + "; allowed: an object with any of the keys " + table.keys_of(entry.path);
}

/// Of the fields that exclude one another a layer may set one, and takes back the others.
void settle_alternatives(const std::map<std::string_view, const Entry*>& given, RunConfig& config,
                         std::vector<std::string>& problems) {
  for (const Field& field : config_fields()) {
    const auto one = given.find(field.path);
    if (one == given.end()) continue;
    for (const Field* alternative : alternatives(field)) {
      const auto other = given.find(alternative->path);
      if (other == given.end()) {
        reset_field(*alternative, config);
      } else if (one->second < other->second) {
        problems.push_back(other->second->where + ": " + alternative->path + " and " + field.path +
                           " exclude one another; give only one of them");
      }
    }
  }
}

/// What is put together, layer by layer.
struct Layers {
  RunConfig config;
  std::vector<std::string> problems = {};
  /// Keys whose right value depends on optimizer.name, and the name that they were given for.
  std::map<std::string_view, OptimizerName> given_for = {};
  std::size_t files = 0;
};

/// One layer on top of what is there.
void add_layer(const std::vector<Entry>& entries, Layers& layers) {
  auto& [config, problems, given_for, files] = layers;
  const OptimizerName name_below = config.optimizer.name;
  set_entries(config_table(), entries, &config, problems);
  std::map<std::string_view, const Entry*> given;
  for (const Entry& entry : entries)
    if (!entry.value.is_null()) given[entry.path] = &entry;
  settle_alternatives(given, config, problems);
  for (const char* path : {"optimizer.learning_rate", "optimizer.weight_decay"}) {
    if (given.contains(path)) given_for[path] = config.optimizer.name;
    if (get_field(*find_field(path), config).is_null())
      given_for.erase(path);
    else
      given_for.try_emplace(path, name_below);
  }
}

/// What was meant for another optimizer than the one that came of all layers.
std::vector<std::string> given_for_others(const RunConfig& config, const Layers& layers) {
  std::vector<std::string> notes;
  RunConfig by_name;
  by_name.optimizer.name = config.optimizer.name;
  by_name.optimizer.decay = config.optimizer.decay;
  by_name = resolved(by_name);
  const std::string name(traits_of(config.optimizer.name).text);
  for (const auto& [path, other] : layers.given_for) {
    const Field& field = *find_field(path);
    if (other == config.optimizer.name || !field.is_read(config)) continue;
    const Value own = get_field(field, by_name);
    notes.push_back(field.path + " " + to_text(get_field(field, config)) + " was given for " + std::string(traits_of(other).text) +
                    ", and optimizer.name is " + name + ", " +
                    (own.is_null() ? "which has no default of its own" : "whose own default is " + to_text(own)));
  }
  return notes;
}

/// Takes the keys of the file itself, "extends" and "$schema", out of the entries; returns the files to extend.
std::vector<std::string> take_extends(std::vector<Entry>& entries, std::string& where, std::vector<std::string>& problems) {
  std::vector<std::string> bases;
  for (const Entry& entry : entries) {
    if (entry.path != "extends") continue;
    where = entry.where;
    const auto* list = std::get_if<std::vector<Value>>(&entry.value.data);
    for (const Value& element : list != nullptr ? *list : std::vector<Value>{entry.value}) {
      const auto* base = std::get_if<std::string>(&element.data);
      if (base != nullptr && !base->empty())
        bases.push_back(*base);
      else
        problems.push_back(entry.where + ": extends is " + to_text(entry.value) + "; allowed: a file or a list of files");
    }
  }
  std::erase_if(entries, [](const Entry& entry) {
    return entry.path == "extends" || entry.path == "$schema" || is_inside(entry.path, "extends");
  });
  return bases;
}

/// Applies the files, relative to `folder`, that the entries extend, then the entries.
void apply_entries(std::vector<Entry> entries, const fs::path& folder, std::vector<fs::path>& open, Layers& layers);

/// Applies what `path` extends, then `path`. `open` holds the files on the way here, to refuse cycles.
void apply_file(const fs::path& path, const std::string& named_at, std::vector<fs::path>& open, Layers& layers) {
  constexpr std::size_t most_files = 64;  // which may be one file many times: two that each extend the same two ...
  const std::string text = read_config_file(path, named_at, "a configuration file, such as configs/quickstart.json");
  const fs::path canonical = fs::weakly_canonical(path);
  if (std::find(open.begin(), open.end(), canonical) != open.end())
    throw Error(ExitCode::usage, named_at + path.string() + " extends itself, directly or through others; break the circle");
  if (++layers.files > most_files) {
    throw Error(ExitCode::usage, named_at + "a configuration is put together from at most " + std::to_string(most_files) +
                                     " files, each counted as often as it is extended; extend fewer");
  }
  open.push_back(canonical);
  apply_entries(read_entries(text, path.string(), layers.problems), path.parent_path(), open, layers);
  open.pop_back();
}

void apply_entries(std::vector<Entry> entries, const fs::path& folder, std::vector<fs::path>& open, Layers& layers) {
  std::string where;
  for (const std::string& base : take_extends(entries, where, layers.problems))
    apply_file((folder / base).lexically_normal(), where + ": extends: ", open, layers);
  add_layer(entries, layers);
}

/// An override as an entry. A field that takes text takes it bare; JSON strings, lists and null are understood there too.
Entry read_override(const std::string& text, std::vector<std::string>& problems) {
  const std::string where = "override " + text;
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    problems.push_back(where + ": not of the form section.key=value");
    return {};
  }
  Entry entry{where, text.substr(0, equals), {}, false};
  const std::string value = text.substr(equals + 1);
  const Field* field = find_field(entry.path);
  const std::string_view type = field != nullptr ? type_name(*field) : std::string_view{};
  const bool is_json = read_value(value, entry.value);
  const bool is_text =
      type.starts_with("string") && (!is_json || (value.front() != '"' && value.front() != '[' && !entry.value.is_null()));
  if (is_text || !is_json) entry.value = {value};
  return entry;
}

std::vector<Entry> read_overrides(const std::vector<std::string>& overrides, std::vector<std::string>& problems) {
  std::vector<Entry> entries;
  for (const std::string& override_text : overrides) {
    Entry entry = read_override(override_text, problems);
    if (!entry.path.empty()) entries.push_back(std::move(entry));
  }
  return entries;
}

/// Cross-field problems are worth telling only once every value is right by itself.
RunConfig checked(Layers layers, const std::string& label) {
  if (layers.problems.empty())
    for (const std::string& problem : config_problems(layers.config)) layers.problems.push_back(label + ": " + problem);
  refuse_problems(layers.problems);
  return layers.config;
}

RunConfig resolved_and_told(const Layers& layers, const std::string& label, std::vector<std::string>* notes) {
  RunConfig config = resolved(checked(layers, label));
  if (notes != nullptr) *notes = given_for_others(config, layers);
  return config;
}

}  // namespace

std::string read_config_file(const fs::path& path, const std::string& named_at, std::string_view wanted) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) throw Error(ExitCode::usage, named_at + path.string() + " is a folder; name the file in it");
  if (!fs::exists(path, ignored))
    throw Error(ExitCode::usage, named_at + path.string() + " does not exist; name " + std::string(wanted));
  try {
    return read_file(path, largest_file);
  } catch (const Error& error) {
    throw Error(ExitCode::usage, named_at + error.what());
  }
}

void set_entries(const FieldTable& table, const std::vector<Entry>& entries, const std::any& root,
                 std::vector<std::string>& problems) {
  const Entry* refused_object = nullptr;
  for (const Entry& entry : entries) {
    if (refused_object != nullptr && is_inside(entry.path, refused_object->path)) continue;
    const Field* taken_back = entry.is_object || !entry.value.is_null() ? nullptr : table.find(entry.path);
    if (taken_back != nullptr) {  // null: as if nobody had given the key
      taken_back->write(root, taken_back->initial);
      continue;
    }
    const std::string problem = entry.is_object ? problem_with_object(table, entry) : problem_with_value(table, entry, root);
    if (!problem.empty()) problems.push_back(entry.where + ": " + problem);
    if (entry.is_object && !problem.empty()) refused_object = &entry;
  }
}

std::vector<Entry> read_object(const FieldTable& table, JsonNode object, const std::any& root, std::vector<std::string>& problems,
                               const std::string& name) {
  for (JsonNode& member : object.children) member.where += name.empty() ? "" : ": " + name;
  std::erase_if(object.children, [&](const JsonNode& member) {
    const Field* field = table.find(member.key);
    if (member.key.find('.') == std::string::npos) return field != nullptr && field->is_structure();
    problems.push_back(member.where + ": " + unknown_key(member.key, table));
    return true;
  });
  std::vector<Entry> entries = flatten(object, problems);
  set_entries(table, entries, root, problems);
  return entries;
}

RunConfig load_config(const fs::path& path, const std::vector<std::string>& overrides, std::vector<std::string>* notes) {
  Layers layers;
  std::vector<fs::path> open;
  apply_file(path, "", open, layers);
  add_layer(read_overrides(overrides, layers.problems), layers);
  return resolved_and_told(layers, path.string(), notes);
}

RunConfig base_config(const fs::path& path) {
  Layers layers;
  std::vector<fs::path> open;
  apply_file(path, "", open, layers);
  return checked(std::move(layers), path.string());
}

RunConfig base_config(std::vector<Entry> entries, const fs::path& folder, const std::string& label) {
  Layers layers;
  std::vector<fs::path> open;
  apply_entries(std::move(entries), folder, open, layers);
  return checked(std::move(layers), label);
}

RunConfig config_from_json(std::string_view text, const std::string& label) {
  Layers layers;
  std::vector<Entry> entries = read_entries(text, label, layers.problems);
  std::string where;
  if (!take_extends(entries, where, layers.problems).empty())
    layers.problems.push_back(where + ": extends has no meaning here; a resolved configuration stands by itself");
  add_layer(entries, layers);
  // A key that is read and does not stand there is younger than the text.
  const RunConfig whole = resolved(layers.config);
  for (const Field& field : config_fields()) {
    const bool stands = std::any_of(entries.begin(), entries.end(), [&](const Entry& entry) { return entry.path == field.path; });
    if (!stands && !field.as_before.is_null() && field.is_read(whole)) set_field(field, layers.config, field.as_before);
  }
  return resolved(checked(std::move(layers), label));
}

RunConfig config_with(RunConfig base, const std::vector<Entry>& layer, const std::string& label, std::vector<std::string>* notes) {
  Layers layers{std::move(base)};
  add_layer(layer, layers);
  return resolved_and_told(layers, label, notes);
}

}  // namespace temper
