#include "sweep/sweep_file.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "config/fields.h"
#include "config/parse.h"
#include "config/resolved.h"
#include "config/suggest.h"
#include "config/validate.h"
#include "io/error.h"
#include "io/file.h"
#include "sweep/file_reader.h"
#include "sweep/metric.h"
#include "sweep/slurm.h"

namespace temper {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Problems = std::vector<std::string>;

const std::vector<std::string_view> top_level_keys = {"$schema", "base",    "method",    "parameters", "ties",
                                                      "where",   "seeds",   "metric",    "budget",     "count",
                                                      "seed",    "halving", "resources", "slurm",      "format"};
const std::vector<std::string_view> methods = {"grid", "random", "halving"};

/// Keys of W&B's sweeps that something else does here.
const std::vector<std::pair<std::string_view, std::string_view>> done_otherwise = {
    {"early_terminate", "here method \"halving\" stops what does badly early"},
    {"run_cap", "here budget.trials is the most that may run, and count how many configurations are drawn"},
    {"program", "here every trial is a run of temper"},
    {"command", "here every trial is a run of temper"},
    {"project", "there is no server; --out names the folder"},
    {"entity", "there is no server; --out names the folder"},
    {"name", "--out names the folder; for a description write a // comment"},
    {"description", "write a // comment"},
};

void check_top_level(const JsonNode& root, Problems& problems) {
  for (const JsonNode& member : root.children) {
    if (std::find(top_level_keys.begin(), top_level_keys.end(), member.key) != top_level_keys.end()) continue;
    std::string hint = nearest_name(member.key, top_level_keys);
    for (const auto& [key, instead] : done_otherwise) {
      if (member.key == key) hint = instead;
    }
    if (find_field(member.key) != nullptr) hint = "a key of a run belongs into parameters";
    problems.push_back(member.where + ": unknown key " + to_text({member.key}) + "; " + hint);
  }
}

RunConfig read_base(const JsonNode& root, const fs::path& path, Problems& problems) {
  const JsonNode* node = root.find("base");
  try {
    if (node == nullptr) {
      throw Error(ExitCode::usage, path.string() +
                                       ": \"base\" is missing; name the configuration that the trials vary, "
                                       "relative to this file: \"base\": \"../quickstart.json\"");
    }
    if (node->is_object()) return base_config(flatten(*node, problems), path.parent_path(), node->where + ": base");
    const auto* file = std::get_if<std::string>(&node->value.data);
    if (file == nullptr || file->empty()) {
      throw Error(ExitCode::usage,
                  node->where + ": base is " + to_json_text(*node) + "; allowed: a configuration file or a configuration, { ... }");
    }
    return base_config((path.parent_path() / *file).lexically_normal());
  } catch (const Error& error) {
    problems.push_back((node != nullptr && !node->is_object() ? node->where + ": base: " : "") + error.what());
    return {};
  }
}

void read_method(ObjectReader& reader, SweepFile& sweep) {
  std::string name = "grid";
  const JsonNode* node = reader.find("method");
  if (node != nullptr && node->value == Value{std::string("bayes")}) {
    return reader.refuse(*node,
                         "method bayes is not offered; use random (as good where seeds differ as much as settings) or halving");
  }
  reader.text("method", methods, name);
  for (std::size_t i = 0; i < methods.size(); ++i) {
    if (name == methods[i]) sweep.method = static_cast<SweepMethod>(i);
  }
}

std::vector<Tie> read_ties(const JsonNode* node, Problems& problems) {
  std::vector<Tie> ties;
  if (node == nullptr) return ties;
  if (!node->is_object()) problems.push_back(node->where + ": ties is an object of formulas: {\"key\": \"0.06 / other.key\"}");
  for (const JsonNode& member : node->children) {
    const auto* text = std::get_if<std::string>(&member.value.data);
    if (find_field(member.key) == nullptr) {
      problems.push_back(member.where + ": unknown key " + to_text({member.key}) + "; " + suggestion_for(member.key));
    } else if (text == nullptr) {
      problems.push_back(member.where + ": " + member.key + " is " + to_json_text(member) + "; a tie is a formula in quotes");
    } else {
      try {
        ties.push_back({member.key, Formula(*text, member.where)});
      } catch (const Error& error) {
        problems.push_back(error.what());
      }
    }
  }
  return ties;
}

std::vector<Formula> read_conditions(const JsonNode* node, Problems& problems) {
  std::vector<Formula> conditions;
  if (node == nullptr) return conditions;
  const std::vector<JsonNode> elements = node->is_list() ? node->children : std::vector<JsonNode>{*node};
  for (const JsonNode& element : elements) {
    const auto* text = std::get_if<std::string>(&element.value.data);
    if (text == nullptr) {
      problems.push_back(node->where + ": where is " + to_json_text(*node) + "; allowed: a condition in quotes, or a list of them");
      break;
    }
    try {
      conditions.emplace_back(*text, node->where);
    } catch (const Error& error) {
      problems.push_back(error.what());
    }
  }
  return conditions;
}

void check_formula_keys(const Formula& formula, Problems& problems) {
  for (const std::string& key : formula.keys()) {
    if (find_field(key) == nullptr) {
      problems.push_back(formula.where() + ": \"" + formula.text() + "\": unknown key " + to_text({key}) + "; " +
                         suggestion_for(key));
    }
  }
}

/// A list of seeds, or how many from the base's on.
void read_seeds(const JsonNode* node, SweepFile& sweep, Problems& problems) {
  sweep.seeds = {sweep.base.seed};
  if (node == nullptr) return;
  sweep.seeds_given = true;
  sweep.seeds.clear();
  const std::string allowed = "seeds is " + to_json_text(*node) + "; allowed: how many (1 to 1000), or a list of different seeds";
  const Field& field = *find_field("seed");
  RunConfig scratch;
  for (const JsonNode& element : node->children) {
    const bool set = set_field(field, scratch, element.value).empty();
    if (!set || std::find(sweep.seeds.begin(), sweep.seeds.end(), scratch.seed) != sweep.seeds.end()) {
      problems.push_back(node->where + ": " + allowed);
      return;
    }
    sweep.seeds.push_back(scratch.seed);
  }
  if (!node->is_list()) {
    const std::optional<std::int64_t> many = as_integer(node->value);
    for (std::int64_t i = 0; many && *many <= 1000 && i < *many; ++i) {
      sweep.seeds.push_back(sweep.base.seed + static_cast<std::uint64_t>(i));
    }
  }
  if (sweep.seeds.empty()) problems.push_back(node->where + ": " + allowed);
}

void read_judge(const JsonNode* node, SweepFile& sweep, Problems& problems) {
  if (node == nullptr) return;
  ObjectReader reader(*node, "metric", problems);
  if (!reader.check_keys({"name", "goal"})) return;
  std::vector<std::string_view> names;
  for (const LoggedMetric& metric : logged_metrics()) names.push_back(metric.name);
  std::string goal = "minimize";
  reader.text("name", names, sweep.metric.name);
  reader.text("goal", {"minimize", "maximize"}, goal);
  sweep.metric.maximize = goal == "maximize";
}

void read_limits(const JsonNode& root, SweepFile& sweep, Problems& problems) {
  if (const JsonNode* node = root.find("budget")) {
    ObjectReader reader(*node, "budget", problems);
    reader.check_keys({"trials", "tokens", "seconds"});
    reader.integer("trials", 1, sweep.budget.trials);
    reader.integer("tokens", 1, sweep.budget.tokens);
    reader.number("seconds", 0.0, sweep.budget.seconds);
  }
  if (const JsonNode* node = root.find("resources")) {
    ObjectReader reader(*node, "resources", problems);
    reader.check_keys({"trials_at_once", "threads_per_trial", "gpus_per_trial"});
    reader.integer("trials_at_once", 1, sweep.resources.trials_at_once);
    reader.integer("threads_per_trial", 1, sweep.resources.threads_per_trial);
    reader.number("gpus_per_trial", 0.0, sweep.resources.gpus_per_trial);
    const double gpus = sweep.resources.gpus_per_trial;
    if (gpus > 0 && std::round(gpus) != gpus && (gpus > 1 || std::abs(1 / gpus - std::round(1 / gpus)) > 1e-9)) {
      reader.refuse(*reader.find("gpus_per_trial"),
                    "resources.gpus_per_trial is " + to_text({gpus}) +
                        "; allowed: a whole number, or 0.5, 0.25 and so on for trials that share one");
    }
  }
}

void read_slurm(const JsonNode* node, SlurmSettings& slurm, Problems& problems) {
  if (node == nullptr) return;
  ObjectReader reader(*node, "slurm", problems);
  if (!reader.check_keys({"options", "queued_trials", "poll_seconds"})) return;
  reader.integer("queued_trials", 1, slurm.queued_trials);
  reader.number("poll_seconds", 0.0, slurm.poll_seconds);
  const JsonNode* options = reader.find("options");
  if (options == nullptr) return;
  for (const JsonNode& element : options->children) {
    const auto* text = std::get_if<std::string>(&element.value.data);
    const std::string why = text != nullptr ? why_refused(*text) : "an option is text";
    if (!why.empty()) reader.refuse(*options, "slurm.options has " + to_json_text(element) + ": " + why);
    if (text != nullptr) slurm.options.push_back(*text);
  }
  if (!options->is_list()) {
    reader.refuse(*options, "slurm.options is " + to_json_text(*options) +
                                "; allowed: options of sbatch, [\"--partition=gpu\", \"--time=04:00:00\"]");
  }
}

void read_halving(const JsonNode* node, SweepFile& sweep, Problems& problems) {
  Halving& halving = sweep.halving;
  if (node != nullptr) {
    ObjectReader reader(*node, "halving", problems);
    if (!reader.check_keys({"eta", "rungs"})) return;
    reader.number("eta", 1.0, halving.eta);
    if (const JsonNode* rungs = reader.find("rungs")) {
      bool growing = rungs->children.size() >= 2;
      for (const JsonNode& rung : rungs->children) {
        const double share = as_number(rung.value).value_or(0.0);
        growing = growing && share > (halving.rungs.empty() ? 0.0 : halving.rungs.back());
        halving.rungs.push_back(share);
      }
      if (!growing || halving.rungs.back() != 1.0) {
        reader.refuse(*rungs, "halving.rungs is " + to_json_text(*rungs) +
                                  "; allowed: two shares of the run's length or more, growing, the last 1: [0.1, 0.3, 1]");
      }
    }
  }
  if (halving.rungs.empty()) halving.rungs = {1 / (halving.eta * halving.eta), 1 / halving.eta, 1.0};
}

/// What belongs to one method only.
void check_method(const JsonNode& root, const SweepFile& sweep, Problems& problems) {
  const auto refuse = [&](std::string_view key, const std::string& why) { problems.push_back(root.find(key)->where + ": " + why); };
  const bool drawn = sweep.method == SweepMethod::random || sweep.count > 0;
  if (sweep.method == SweepMethod::grid) {
    if (root.find("count") != nullptr) refuse("count", "count belongs to method random and halving; a grid has all its points");
    if (root.find("seed") != nullptr) refuse("seed", "seed is that of random draws; the seeds of the trials are \"seeds\"");
  }
  if (sweep.method != SweepMethod::halving && root.find("halving") != nullptr) {
    refuse("halving", "halving belongs to method \"halving\"; choose it or leave this out");
  }
  if (sweep.method == SweepMethod::random && sweep.count == 0 && root.find("count") == nullptr) {
    problems.push_back("method random needs \"count\": how many configurations to draw");
  }
  for (const SweptParameter& parameter : sweep.parameters) {
    const bool endless = parameter.distribution && parameter.distribution->shape != Distribution::Shape::int_uniform;
    if (endless && !drawn) {
      problems.push_back(parameter.where + ": " + parameter.name +
                         " has no end of values for a grid; give \"values\", or use method random with a count");
    }
  }
  if (sweep.parameters.empty() && sweep.seeds.size() < 2) {
    problems.push_back("the sweep is empty: no parameters and one seed; give \"parameters\" with values, or several \"seeds\"");
  }
}

void check_contradictions(const SweepFile& sweep, Problems& problems) {
  std::set<std::string> tied;
  for (const Tie& tie : sweep.ties) tied.insert(tie.key);
  const std::vector<std::string> keys = swept_keys(sweep);
  for (const Tie& tie : sweep.ties) {
    if (std::count(keys.begin(), keys.end(), tie.key) > 1) {
      problems.push_back(tie.formula.where() + ": " + tie.key + " is tied to others and a parameter sets it too; keep one");
    }
    for (const std::string& key : tie.formula.keys()) {
      if (tied.contains(key)) {
        problems.push_back(tie.formula.where() + ": \"" + tie.formula.text() + "\" uses " + key +
                           ", which is tied itself; write that key's formula in its place");
      }
    }
    check_formula_keys(tie.formula, problems);
  }
  for (const Formula& condition : sweep.where) check_formula_keys(condition, problems);
  if (sweep.seeds_given && std::find(keys.begin(), keys.end(), "seed") != keys.end()) {
    problems.push_back("the key seed is swept and \"seeds\" are given; keep \"seeds\"");
  }
}

}  // namespace

SweepFile load_sweep(const fs::path& path) {
  std::error_code failed;
  if (!fs::is_regular_file(path, failed)) {
    throw Error(ExitCode::usage,
                path.string() + " is no file; name a sweep file, such as configs/sweeps/quickstart-decay-warmup.json");
  }
  constexpr std::uintmax_t largest_file = 1 << 20;
  if (fs::file_size(path) > largest_file) {
    throw Error(ExitCode::usage, path.string() + " has " + std::to_string(fs::file_size(path)) +
                                     " bytes, too many for a sweep (at most " + std::to_string(largest_file) + ")");
  }
  Problems problems;
  const JsonNode root = read_json_tree(read_file(path), path.string(), problems);
  check_top_level(root, problems);

  SweepFile sweep;
  ObjectReader reader(root, "", problems);
  sweep.base = read_base(root, path, problems);
  read_method(reader, sweep);
  if (const JsonNode* node = root.find("parameters")) sweep.parameters = read_parameters(*node, problems);
  sweep.ties = read_ties(root.find("ties"), problems);
  sweep.where = read_conditions(root.find("where"), problems);
  read_seeds(root.find("seeds"), sweep, problems);
  read_judge(root.find("metric"), sweep, problems);
  read_limits(root, sweep, problems);
  read_slurm(root.find("slurm"), sweep.slurm, problems);
  reader.integer("count", 1, sweep.count);
  if (const JsonNode* node = root.find("seed")) {
    const std::int64_t negative = -1;
    sweep.seed = static_cast<std::uint64_t>(as_integer(node->value).value_or(negative));
    if (as_integer(node->value).value_or(negative) < 0)
      reader.refuse(*node, "seed is " + to_json_text(*node) + "; allowed: an integer of at least 0");
  }
  if (sweep.method == SweepMethod::halving) read_halving(root.find("halving"), sweep, problems);
  check_method(root, sweep, problems);
  check_contradictions(sweep, problems);
  refuse_problems(problems);
  return sweep;
}

void check_sweep_format(const fs::path& folder) {
  const fs::path path = folder / "sweep.json";
  Problems problems;
  const JsonNode root = read_json_tree(read_file(path), path.string(), problems);
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
  Json json;
  json["format"] = run_format;
  json["base"] = Json::parse(base_to_json(sweep.base));
  json["method"] = to_string(sweep.method);
  json["parameters"] = Json::object();
  for (const SweptParameter& parameter : sweep.parameters)
    json["parameters"][parameter.name] = Json::parse(parameter_to_json(parameter));
  json["ties"] = Json::object();
  for (const Tie& tie : sweep.ties) json["ties"][tie.key] = tie.formula.text();
  json["where"] = Json::array();
  for (const Formula& condition : sweep.where) json["where"].push_back(condition.text());
  if (sweep.seeds_given) json["seeds"] = sweep.seeds;
  json["metric"] = {{"name", sweep.metric.name}, {"goal", sweep.metric.maximize ? "maximize" : "minimize"}};
  Json budget = Json::object();
  if (sweep.budget.trials > 0) budget["trials"] = sweep.budget.trials;
  if (sweep.budget.tokens > 0) budget["tokens"] = sweep.budget.tokens;
  if (sweep.budget.seconds > 0) budget["seconds"] = sweep.budget.seconds;
  json["budget"] = budget;
  if (sweep.count > 0) json["count"] = sweep.count;
  if (sweep.method != SweepMethod::grid) json["seed"] = sweep.seed;
  if (sweep.method == SweepMethod::halving) json["halving"] = {{"eta", sweep.halving.eta}, {"rungs", sweep.halving.rungs}};
  Json resources = {{"trials_at_once", sweep.resources.trials_at_once}};
  if (sweep.resources.threads_per_trial > 0) resources["threads_per_trial"] = sweep.resources.threads_per_trial;
  if (sweep.resources.gpus_per_trial > 0) resources["gpus_per_trial"] = sweep.resources.gpus_per_trial;
  json["resources"] = resources;
  json["slurm"] = {
      {"options", sweep.slurm.options}, {"queued_trials", sweep.slurm.queued_trials}, {"poll_seconds", sweep.slurm.poll_seconds}};
  return json.dump(2) + "\n";
}

std::string_view to_string(SweepMethod method) { return methods[static_cast<std::size_t>(method)]; }

}  // namespace temper
