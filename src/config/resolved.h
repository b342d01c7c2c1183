// The resolved configuration: what a run directory and a checkpoint keep, and how two of them differ.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/fields.h"
#include "config/run_config.h"

namespace temper {

/// The configuration with what is not given filled in, where something has a default. Idempotent.
RunConfig resolved(RunConfig config);

/// The resolved optimizer of a valid configuration, with a weight_decay in place of a decay_timescale: tau updates at the peak rate
/// lose 1/tau of a weight each. `epoch`: steps that go through data.train once, which only a timescale in epochs asks for. Throws
/// Error(ExitCode::usage) where tau is below one step.
OptimizerConfig settled_optimizer(const RunConfig& config, double epoch);
/// Whether that asks for the epoch.
bool counts_epochs(const OptimizerConfig& config);

/// What is trained, whole and nothing else: the resolved fields that are read, in the table's order as indented JSON.
/// config_from_json (config/parse.h) reads it back to the same run, bit for bit.
std::string config_to_json(const RunConfig& config);
/// The same of a base for more layers: without what is not given.
std::string base_to_json(const RunConfig& config);
/// The same of any table, without structures: what `root` has given and `whole`, the same resolved, reads. Both point to its
/// struct.
std::string table_to_json(const FieldTable& table, const std::any& root, const std::any& whole);

/// What tells a run from others: a hash, as 16 hexadecimal digits, of the resolved fields that are read, in the order of their
/// paths, without those at their `as_before`. So a key that is added changes no identity, and a changed default changes all that
/// rely on it.
std::string config_identity(const RunConfig& config, const std::vector<Field>& fields = config_fields());

/// Of what a run or a sweep leaves in its folder. This program writes `run_format` and goes on with all from `oldest_run_format`
/// on; older ones do not say all that they were trained with.
inline constexpr int run_format = 4, oldest_run_format = 4;

/// What is wrong with a format found there; empty: nothing.
std::string format_problem(std::int64_t found);

struct FieldDifference {
  std::string_view path;
  ResumeClass resume;
  std::string before;  ///< as JSON, or "not given"
  std::string after;
};

/// The fields whose values differ once resolved and that one of the two reads, in the table's order.
std::vector<FieldDifference> compare(const RunConfig& before, const RunConfig& after);

}  // namespace temper
