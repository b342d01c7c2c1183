// A sweep as its file describes it: rows as those of a run (config/fields.h), of which reader, schema and the reference in
// docs/sweeps.md are made, and the structures that no row can hold. Key names are those of Weights & Biases where it has the same.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/fields.h"
#include "config/json_entries.h"
#include "config/resolved.h"
#include "config/schema.h"
#include "sweep/formula.h"
#include "sweep/metric.h"

namespace temper {

enum class SweepMethod { grid, random, halving };

/// One of a parameter's values: what it sets, under the name that tables show.
struct Choice {
  Value label;                  ///< the value itself, or the label of several that move together
  std::vector<Entry> settings;  ///< dotted keys with their place in the sweep file
};

/// Numbers to draw from, both ends included.
struct Distribution {
  enum class Shape { uniform, log_uniform_values, int_uniform, q_uniform, q_log_uniform_values };
  Shape shape = Shape::uniform;
  double min = 0.0, max = 0.0;
  double q = 0.0;  ///< the q_ shapes: results are multiples of it
};

struct SweptParameter {
  std::string name;  ///< a dotted key, or what the user calls keys that move together
  std::string where;
  std::vector<Choice> choices;               ///< empty: `distribution` says what the values are
  std::optional<Distribution> distribution;  ///< of the key `name`
};

/// A key that is computed from the others of a trial.
struct Tie {
  std::string key;
  Formula formula;
};

enum class Goal { minimize, maximize };

struct Metric {
  std::string name = "val_loss";
  Goal goal = Goal::minimize;

  bool maximize() const { return goal == Goal::maximize; }

  static void declare(auto& rows) {
    using Self = Metric;
    using namespace row;
    rows("name", &Self::name, one_of(metric_names()), "a number that runs log, as it is at the end; best_val_loss: the least");
    rows("goal", &Self::goal, one_of({"minimize", "maximize"}), "which end of it is the good one; to be given where it is no loss");
  }
};

/// The most that a sweep may take; 0: no limit.
struct SweepBudget {
  std::int64_t trials = 0, tokens = 0;
  double seconds = 0.0;

  static void declare(auto& rows) {
    using Self = SweepBudget;
    using namespace row;
    rows("trials", &Self::trials, from(0), "runs, seeds and rungs counted; a sweep that takes more is refused; 0: no limit");
    rows("tokens", &Self::tokens, from(0), to(most_tokens),
         "tokens trained on over all runs; a sweep that takes more is refused; 0: no limit");
    rows("seconds", &Self::seconds, from(0),
         "seconds of training over all trials; when they are spent no trial is started any more, and once a trial has been "
         "measured a sweep that will not fit is refused; 0: no limit");
  }
};

struct Halving {
  double eta = 3.0;
  std::vector<double> rungs;

  static void declare(auto& rows) {
    using Self = Halving;
    using namespace row;
    const auto halving = read_by("method halving", [](const auto& sweep) { return sweep.method == SweepMethod::halving; });
    rows("eta", &Self::eta, above(1), halving, "of a rung's configurations one in eta goes on");
    rows("rungs", &Self::rungs, above(0), to(1), halving,
         "lengths of the runs as shares of the configuration's, growing, the last 1; empty: 1/eta^2, 1/eta, 1");
  }
};

struct SweepResources {
  std::int64_t trials_at_once = 1, threads_per_trial = 0;
  double gpus_per_trial = 0.0;

  static void declare(auto& rows) {
    using Self = SweepResources;
    using namespace row;
    rows("trials_at_once", &Self::trials_at_once, from(1), to(10'000), "trials side by side");
    rows("threads_per_trial", &Self::threads_per_trial, from(0),
         "threads of each (OMP_NUM_THREADS); 0: the machine's processors divided by the trials");
    rows("gpus_per_trial", &Self::gpus_per_trial, from(0), to(1024),
         "GPUs of each (CUDA_VISIBLE_DEVICES): a whole number, of which each trains as a rank of the trial, or 0.5, 0.25 and so on "
         "for trials that share one; 0: every trial sees all");
  }

  /// Of a trial.
  std::int64_t ranks() const { return gpus_per_trial > 1.0 ? static_cast<std::int64_t>(gpus_per_trial) : 1; }
};

/// What only a sweep through Slurm looks at.
struct SlurmSettings {
  std::vector<std::string> options;
  std::int64_t queued_trials = 1000;
  double poll_seconds = 5.0;

  static void declare(auto& rows) {
    using Self = SlurmSettings;
    using namespace row;
    rows("options", &Self::options, each("an option of sbatch, --name or --name=value"),
         "what a site wants to know, as [\"--partition=gpu\", \"--time=04:00:00\"]; what temper sets itself is refused");
    rows("queued_trials", &Self::queued_trials, from(1),
         "the most trials in the queue; lower it where a site limits submitted jobs");
    rows("poll_seconds", &Self::poll_seconds, above(0), "seconds between two looks at the queue, one squeue for all trials");
  }
};

struct SweepFile {
  std::int64_t format = run_format;
  RunConfig base;
  SweepMethod method = SweepMethod::grid;
  std::vector<SweptParameter> parameters;
  std::vector<Tie> ties;
  std::vector<std::string> where;
  std::vector<Formula> conditions;   ///< `where`, read
  std::vector<std::uint64_t> seeds;  ///< at least one
  bool seeds_given = false;          ///< false: the base's own
  Metric metric;
  std::string stop_when;
  std::optional<Formula> stop_condition;  ///< `stop_when`, read
  SweepBudget budget;
  std::int64_t count = 0;
  std::uint64_t seed = 0;
  Halving halving;
  SweepResources resources;
  SlurmSettings slurm;

  static void declare(auto& rows) {
    using Self = SweepFile;
    using namespace row;
    const auto drawn = read_by("method random and halving", [](const auto& sweep) { return sweep.method != SweepMethod::grid; });
    rows("$schema", StructureKind{"string", "a text", R"({"type": "string"})"}, where_the_schema_is);
    rows("format", &Self::format, from(0), "of sweep.json, which temper writes; a file by hand needs none");
    rows("base",
         StructureKind{"string or object", "a configuration file or a configuration, { ... }",
                       R"({"anyOf": [{"type": "string", "minLength": 1}, {"$ref": "schema.json"}]})"},
         "what the trials vary: a configuration file, relative to this one, or a configuration");
    rows("method", &Self::method, one_of({"grid", "random", "halving"}),
         instead("bayes", "not offered; use random (as good where seeds differ as much as settings) or halving"),
         "how configurations are chosen: all combinations, draws, or successive halving");
    rows("parameters",
         StructureKind{"object", "a parameter under each name",
                       R"({"type": "object", "patternProperties": {"": {"$ref": "#/definitions/parameter"}}})"},
         "what varies: keys of a run, or names of your choice for keys that move together");
    rows("ties",
         StructureKind{"object", "a formula for each key", R"({"type": "object", "additionalProperties": {"type": "string"}})"},
         "keys of a run that are computed from others");
    rows("where", &Self::where, each("a condition such as \"train.steps > 100\""), "a configuration is tried if all of these hold");
    rows("stop_when", &Self::stop_when,
         "a condition on a line of metrics.jsonl, such as \"step > 500 and val_loss > 6.5\", that ends a trial; empty: none");
    rows("seeds",
         StructureKind{"integer or list of integers", "how many (1 to 1000), or a list of different seeds",
                       R"({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 1000}, {"type": "array", "minItems": 1,
                       "uniqueItems": true, "items": {"type": "integer", "minimum": 0, "maximum": 18446744073709551615}}]})"},
         "seeds of the trials of each configuration; a number: so many from the base's on; not given: the base's");
    rows("count", &Self::count, from(0), drawn, "configurations to draw, all different; 0, halving only: all of the grid");
    rows("seed", &Self::seed, drawn, "of the draws (those of the trials are `seeds`)");
  }
};

/// The rows of SweepFile, and of the object of one of its parameters.
const FieldTable& sweep_table();
const FieldTable& parameter_table();
/// JSON Schema draft-07 of a sweep file; configs/sweep.schema.json is this text. It refers to schema.json beside it.
std::string sweep_schema();
/// The keys of a sweep file in Markdown; docs/sweeps.md ends with this text.
std::string sweep_reference();

/// Reads and checks a sweep file: its keys and values, and whether parameters contradict one another. `base` in it is relative to
/// it. Everything wrong is one Error(ExitCode::usage) that lists all of it with line and column.
SweepFile load_sweep(const std::filesystem::path& path);

/// The same from the sweep.json of a sweep's folder. Error(ExitCode::checkpoint): as check_sweep_format().
SweepFile open_sweep(const std::filesystem::path& folder);
/// Refuses a sweep's folder of a format that this program does not go on with (run_format in config/resolved.h).
void check_sweep_format(const std::filesystem::path& folder);

/// The sweep as a file that stands by itself: the base resolved, every default written out.
std::string sweep_to_json(const SweepFile& sweep);

std::string_view to_string(SweepMethod method);

/// The keys of a trial that a sweep sets: its parameters' and its ties', in the order of the file.
std::vector<std::string> swept_keys(const SweepFile& sweep);

// The parts of load_sweep() and sweep_to_json() in parameters.cpp.
std::vector<SweptParameter> read_parameters(const JsonNode& node, std::vector<std::string>& problems);
std::string parameter_to_json(const SweptParameter& parameter);

}  // namespace temper
