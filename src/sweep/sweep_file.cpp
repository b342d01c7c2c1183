#include "sweep/sweep_file.h"

#include <algorithm>
#include <cmath>

#include "config/parse.h"
#include "config/suggest.h"
#include "config/validate.h"
#include "io/error.h"
#include "io/file.h"
#include "io/json.h"
#include "sweep/slurm.h"

namespace temper {
namespace {

namespace fs = std::filesystem;
using Problems = std::vector<std::string>;

/// Keys of W&B's sweeps that something else does here.
constexpr std::pair<std::string_view, std::string_view> done_otherwise[] = {
    {"early_terminate", "here method \"halving\" stops what does badly early"},
    {"run_cap", "here budget.trials is the most that may run, and count how many configurations are drawn"},
    {"program command", "here every trial is a run of temper"},
    {"project entity", "there is no server; --out names the folder"},
    {"name", "--out names the folder; for a description write a // comment"},
    {"description", "write a // comment"},
};

std::string why_no_key(std::string_view key) {
  for (const auto& [others, instead] : done_otherwise)
    if (has_word(others, key)) return std::string(instead);
  const bool of_a_run = find_field(key) != nullptr || config_table().find_section(key) != nullptr;
  return of_a_run ? "a key of a run belongs into parameters, or into base" : "";
}

/// Where the file says what stands at `path`, which it does.
const std::string& where_of(const std::vector<Entry>& entries, std::string_view path) {
  return std::ranges::find(entries, path, &Entry::path)->where;
}

RunConfig read_base(const JsonNode& root, const fs::path& path, Problems& problems) {
  const JsonNode* node = root.find("base");
  if (node == nullptr) {
    problems.push_back(path.string() +
                       ": \"base\" is missing; name the configuration that the trials vary, relative to this file: \"base\": "
                       "\"../quickstart.json\"");
    return {};
  }
  try {
    if (node->is_object()) return base_config(flatten(*node, problems), path.parent_path(), node->where + ": base");
    const auto* file = std::get_if<std::string>(&node->value.data);
    if (file != nullptr && !file->empty()) return base_config((path.parent_path() / *file).lexically_normal());
    problems.push_back(node->where + ": base is " + to_json_text(*node) +
                       "; allowed: a configuration file or a configuration, { ... }");
  } catch (const Error& error) {
    problems.push_back((node->is_object() ? "" : node->where + ": base: ") + error.what());
  }
  return {};
}

/// Hands the text to `add` as a formula, where it is one.
void read_formula(const std::string& text, const std::string& where, Problems& problems, const auto& add) {
  try {
    Formula formula(text, where);
    for (const std::string& key : formula.keys())
      if (find_field(key) == nullptr) problems.push_back(where + ": \"" + text + "\": " + unknown_key(key));
    add(std::move(formula));
  } catch (const Error& error) {
    problems.push_back(error.what());
  }
}

std::vector<Tie> read_ties(const JsonNode& node, Problems& problems) {
  std::vector<Tie> ties;
  if (!node.is_object()) problems.push_back(node.where + ": ties is an object of formulas: {\"key\": \"0.06 / other.key\"}");
  for (const JsonNode& member : node.children) {
    const auto* text = std::get_if<std::string>(&member.value.data);
    if (find_field(member.key) == nullptr)
      problems.push_back(member.where + ": " + unknown_key(member.key));
    else if (text == nullptr)
      problems.push_back(member.where + ": " + member.key + " is " + to_json_text(member) + "; a tie is a formula in quotes");
    else
      read_formula(*text, member.where, problems, [&](Formula formula) { ties.push_back({member.key, std::move(formula)}); });
  }
  return ties;
}

/// A list of seeds, or how many from the base's on.
void read_seeds(const JsonNode& node, SweepFile& sweep, Problems& problems) {
  sweep.seeds_given = true;
  sweep.seeds.clear();
  RunConfig scratch;
  bool is_right = true;
  for (const JsonNode& element : node.children) {
    is_right = is_right && set_field(*find_field("seed"), scratch, element.value).empty() &&
               std::ranges::count(sweep.seeds, scratch.seed) == 0;
    sweep.seeds.push_back(scratch.seed);
  }
  const std::int64_t many = as_integer(node.value).value_or(0);
  for (std::int64_t i = 0; many <= 1000 && i < many; ++i) sweep.seeds.push_back(sweep.base.seed + static_cast<std::uint64_t>(i));
  if (!is_right || sweep.seeds.empty()) {
    problems.push_back(node.where + ": seeds is " + to_json_text(node) +
                       "; allowed: " + allowed_values(*sweep_table().find("seeds")));
  }
}

/// Rules that no row can say of a value.
void check_values(const std::vector<Entry>& entries, SweepFile& sweep, Problems& problems) {
  const auto refuse = [&](std::string_view path, const std::string& why) {
    problems.push_back(where_of(entries, path) + ": " + std::string(path) + " " + why);
  };
  const double gpus = sweep.resources.gpus_per_trial;
  if (gpus > 0 && std::round(gpus) != gpus && (gpus > 1 || gpus < 0.001 || std::abs(1 / gpus - std::round(1 / gpus)) > 1e-9)) {
    refuse("resources.gpus_per_trial",
           "is " + to_text({gpus}) + "; allowed: a whole number, or 0.5, 0.25 and so on for trials that share one");
  }
  for (const std::string& option : sweep.slurm.options)
    if (const std::string why = why_refused(option); !why.empty()) refuse("slurm.options", "has " + to_text({option}) + ": " + why);
  std::vector<double>& rungs = sweep.halving.rungs;
  const double eta = sweep.halving.eta;
  if (rungs.empty()) rungs = {1 / (eta * eta), 1 / eta, 1.0};
  if (rungs.size() < 2 || !std::ranges::is_sorted(rungs, std::less_equal<>()) || rungs.back() != 1.0) {
    refuse("halving.rungs", "is " + to_text(to_value(rungs)) +
                                "; allowed: two shares of the run's length or more, growing, the last 1: [0.1, 0.3, 1]");
  }
  if (!find_metric(sweep.metric.name).is_loss && std::ranges::count(entries, "metric.goal", &Entry::path) == 0)
    refuse("metric.name", "is " + sweep.metric.name + ", which is no loss; say with metric.goal which end of it is the good one");
  if (!sweep.stop_when.empty() && sweep.resources.ranks() > 1)
    refuse("stop_when", "is given, and resources.gpus_per_trial is " + to_text({gpus}) +
                            ": of several ranks only one writes the lines that it is judged by; leave one of the two out");
  if (!sweep.stop_when.empty()) {
    try {
      sweep.stop_condition = stop_condition(sweep.stop_when, where_of(entries, "stop_when"));
    } catch (const Error& error) {
      problems.push_back(error.what());
    }
  }
  for (const std::string& condition : sweep.where) {
    read_formula(condition, where_of(entries, "where"), problems,
                 [&](Formula formula) { sweep.conditions.push_back(std::move(formula)); });
  }
}

/// What belongs to another method.
void check_method(const std::vector<Entry>& entries, const SweepFile& sweep, Problems& problems) {
  for (const Entry& entry : entries) {
    const auto about = [&](const Field& field) { return field.path == entry.path || field.section() == entry.path; };
    const auto field = std::ranges::find_if(sweep_table().fields, about);
    if (field == sweep_table().fields.end() || field->is_read(sweep)) continue;
    problems.push_back(entry.where + ": " + entry.path + " belongs to " + field->readers.text + ", and nothing reads it in a " +
                       std::string(to_string(sweep.method)) + "; remove it or choose another method");
  }
  const bool drawn = sweep.method == SweepMethod::random || sweep.count > 0;
  if (sweep.method == SweepMethod::random && sweep.count == 0)
    problems.push_back("method random needs \"count\": how many configurations to draw");
  for (const SweptParameter& parameter : sweep.parameters) {
    const bool endless = parameter.distribution && parameter.distribution->shape != Distribution::Shape::int_uniform;
    if (endless && !drawn) {
      problems.push_back(parameter.where + ": " + parameter.name +
                         " has no end of values for a grid; give \"values\", or use method random with a count");
    }
  }
  if (sweep.parameters.empty() && sweep.seeds.size() < 2)
    problems.push_back("the sweep is empty: no parameters and one seed; give \"parameters\" with values, or several \"seeds\"");
}

void check_contradictions(const SweepFile& sweep, Problems& problems) {
  const std::vector<std::string> keys = swept_keys(sweep);
  for (const Tie& tie : sweep.ties) {
    if (std::count(keys.begin(), keys.end(), tie.key) > 1)
      problems.push_back(tie.formula.where() + ": " + tie.key + " is tied to others and a parameter sets it too; keep one");
    for (const std::string& key : tie.formula.keys()) {
      if (std::ranges::count(sweep.ties, key, &Tie::key) > 0) {
        problems.push_back(tie.formula.where() + ": \"" + tie.formula.text() + "\" uses " + key +
                           ", which is tied itself; write that key's formula in its place");
      }
    }
  }
  if (sweep.seeds_given && std::find(keys.begin(), keys.end(), "seed") != keys.end())
    problems.push_back("the key seed is swept and \"seeds\" are given; keep \"seeds\"");
}

}  // namespace

const FieldTable& sweep_table() {
  using enum ResumeClass;
  static const FieldTable table =
      FieldTable{{}, {}, why_no_key}
          .add<SweepFile>()
          .add("metric", &SweepFile::metric, free, "By what configurations are ranked.")
          .add("budget", &SweepFile::budget, free, "The most that the sweep may take.")
          .add("halving", &SweepFile::halving, free, "Successive halving.")
          .add("resources", &SweepFile::resources, free, "What trials have of the machine, or of a cluster's nodes.")
          .add("slurm", &SweepFile::slurm, free, "What `--executor slurm` looks at.");
  return table;
}

SweepFile load_sweep(const fs::path& path) {
  Problems problems;
  const std::string text = read_config_file(path, "", "a sweep file, such as configs/sweeps/quickstart-decay-warmup.json");
  const JsonNode root = read_json_tree(text, path.string(), problems);
  SweepFile sweep;
  const std::vector<Entry> entries = read_object(sweep_table(), root, &sweep, problems);
  sweep.base = read_base(root, path, problems);
  if (const JsonNode* node = root.find("parameters")) sweep.parameters = read_parameters(*node, problems);
  if (const JsonNode* node = root.find("ties")) sweep.ties = read_ties(*node, problems);
  sweep.seeds = {sweep.base.seed};
  if (const JsonNode* node = root.find("seeds")) read_seeds(*node, sweep, problems);
  check_values(entries, sweep, problems);
  check_method(entries, sweep, problems);
  check_contradictions(sweep, problems);
  refuse_problems(problems);
  return sweep;
}

void check_sweep_format(const fs::path& folder) {
  const fs::path path = folder / "sweep.json";
  Problems problems;
  const JsonNode root = read_json_tree(read_config_file(path, "", "the folder of a sweep"), path.string(), problems);
  const JsonNode* format = root.find("format");
  const std::int64_t found = format != nullptr ? as_integer(format->value).value_or(0) : 0;
  if (const std::string problem = format_problem(found); !problem.empty())
    throw Error(ExitCode::checkpoint, path.string() + " " + problem);
}

SweepFile open_sweep(const fs::path& folder) {
  check_sweep_format(folder);
  return load_sweep(folder / "sweep.json");
}

std::string sweep_to_json(const SweepFile& sweep) {
  Json json = Json::parse(table_to_json(sweep_table(), &sweep, &sweep));
  json["base"] = Json::parse(base_to_json(sweep.base));
  json["parameters"] = json["ties"] = Json::object();
  for (const SweptParameter& parameter : sweep.parameters)
    json["parameters"][parameter.name] = Json::parse(parameter_to_json(parameter));
  for (const Tie& tie : sweep.ties) json["ties"][tie.key] = tie.formula.text();
  if (sweep.seeds_given) json["seeds"] = sweep.seeds;
  return json_text(json, 2) + "\n";
}

std::string sweep_schema() {
  Json schema = schema_of(sweep_table(), "temper sweep");
  schema["required"] = {"base"};
  Json parameter = schema_of(parameter_table(), "");
  parameter["oneOf"] = Json::parse(R"([{"required": ["value"]}, {"required": ["values"]}, {"required": ["min", "max"]}])");
  schema["definitions"]["parameter"] = parameter;
  // A parameter that is named after a key takes that key's values, or several keys that move together.
  for (const Field& field : config_fields()) {
    const std::string section(field.section()), key(field.key());
    const Json value = {{"$ref", "schema.json#/properties/" + (section.empty() ? "" : section + "/properties/") + key}};
    const Json values = {{"items", {{"if", {{"type", "object"}}}, {"else", value}}}};
    schema["properties"]["parameters"]["properties"][field.path]["properties"] = {{"value", value}, {"values", values}};
    schema["properties"]["ties"]["propertyNames"]["enum"].push_back(field.path);
  }
  return json_text(schema, 2) + "\n";
}

std::string sweep_reference() {
  return "## Keys\n\n<!-- Made by `temper config reference --sweep`; change src/sweep/sweep_file.h and parameters.cpp instead. "
         "-->\n\n" +
         reference_of(sweep_table(), "###", "Top level", false) + "\n" +
         reference_of(parameter_table(), "###", "One of parameters", false);
}

std::string_view to_string(SweepMethod method) {
  return std::get<TextKind>(sweep_table().find("method")->kind).names[static_cast<std::size_t>(method)];
}

}  // namespace temper
