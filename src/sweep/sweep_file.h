// A sweep as its file describes it; docs/sweeps.md has the format. Key names are those of Weights & Biases where it has the same
// thing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/json_entries.h"
#include "config/run_config.h"
#include "config/value.h"
#include "sweep/formula.h"

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

struct Metric {
  std::string name = "val_loss";
  bool maximize = false;
};

/// The most that a sweep may take; 0: no limit.
struct SweepBudget {
  std::int64_t trials = 0;  ///< runs, each seed counted
  std::int64_t tokens = 0;  ///< trained on, over all runs
  double seconds = 0.0;     ///< of training, over all runs
};

struct Halving {
  double eta = 3.0;           ///< of a rung's configurations, one in eta goes on
  std::vector<double> rungs;  ///< lengths of the runs as shares of the configuration's, growing to 1
};

struct SweepResources {
  std::int64_t trials_at_once = 1;
  std::int64_t threads_per_trial = 0;  ///< 0: the machine's, divided
  double gpus_per_trial = 0.0;         ///< 0: what the process sees; 1/k: k trials share one
};

/// What only a sweep through Slurm looks at.
struct SlurmSettings {
  std::vector<std::string> options;   ///< of sbatch: "--partition=gpu"
  std::int64_t queued_trials = 1000;  ///< the most in Slurm's queue
  double poll_seconds = 5.0;          ///< between two looks at it
};

struct SweepFile {
  RunConfig base;
  SweepMethod method = SweepMethod::grid;
  std::vector<SweptParameter> parameters;
  std::vector<Tie> ties;
  std::vector<Formula> where;        ///< a configuration is tried if all of them hold
  std::vector<std::uint64_t> seeds;  ///< at least one
  bool seeds_given = false;          ///< false: the base's own
  Metric metric;
  SweepBudget budget;
  std::int64_t count = 0;  ///< random and halving: configurations to draw; 0, halving only: all of the grid
  std::uint64_t seed = 0;  ///< of the draws
  Halving halving;
  SweepResources resources;
  SlurmSettings slurm;
};

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

}  // namespace temper
