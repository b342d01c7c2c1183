// From a sweep file to the runs it asks for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "config/value.h"
#include "sweep/sweep_file.h"

namespace temper {

/// One point of the search space, tried once for each seed.
struct Configuration {
  std::vector<Value> labels;    ///< one for each of columns()
  std::vector<Entry> settings;  ///< what it changes in the base
};

/// One run of a configuration.
struct Trial {
  std::string id;                 ///< config_identity(); names its folder
  std::size_t configuration = 0;  ///< index
  std::uint64_t seed = 0;
  std::size_t rung = 0;  ///< of halving; 0 otherwise
  double flops = 0.0;    ///< floating-point operations of the whole run
  RunConfig config;
};

/// What tables show of a configuration: the parameters' names, then the tied keys.
std::vector<std::string> columns(const SweepFile& sweep);

/// The configurations in their order: of a grid the last parameter varies fastest; of random draws the first `count` that differ,
/// each a function of (sweep.seed, its number, the parameter's name), so that a larger count keeps the earlier ones. Numbers that
/// were drawn are rounded to 6 digits and tied ones to 12, so that no library's last bit decides what a trial is. Refused,
/// Error(ExitCode::usage): a search space without any configuration or with fewer than `count`, more than 100,000
/// trials, seeds and rungs counted.
std::vector<Configuration> configurations(const SweepFile& sweep);

/// Of configurations that resolve to one run the first stays. Returns what people should know, a line each: which are one run, and
/// rates or decays that were given for another optimizer.
std::vector<std::string> drop_repeated(const SweepFile& sweep, std::vector<Configuration>& all);

/// Shares of the full length at which configurations are tried: {1}, or the rungs of halving.
std::vector<double> rung_shares(const SweepFile& sweep);
/// How many configurations a rung tries when `first` began.
std::size_t rung_size(const SweepFile& sweep, std::size_t rung, std::size_t first);

/// The trials of all configurations at a rung, seed by seed, in the configurations' order. A shorter rung has fewer train.steps and
/// nothing else is changed: its schedule ends with it. Configurations that do not validate, never log the metric, or are equal at
/// a shorter rung: Error(ExitCode::usage), which lists them.
std::vector<Trial> make_trials(const SweepFile& sweep, const std::vector<Configuration>& all, std::size_t rung);

/// A label as tables show it: 0 for 0.0, text without quotes.
std::string label_text(const Value& label);
/// "optimizer.weight_decay 0.1, schedule.warmup_steps 100"
std::string describe(const SweepFile& sweep, const Configuration& configuration);

/// Tokens a run trains on.
std::int64_t tokens_of(const RunConfig& config);

/// Refuses a budget that the sweep does not fit into.
void check_budget(const SweepFile& sweep, const std::vector<std::vector<Trial>>& rungs);

}  // namespace temper
