// What a sweep leaves to read: tables of configurations and trials, and the best configuration.
#pragma once

#include <cstddef>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "sweep/sweep.h"

namespace temper {

/// Writes into the sweep's folder: results.csv, results.md and results.json (a row per configuration, ranked), trials.csv,
/// best.json (the best configuration, ready to train, or the first of those that tie; not there before a trial has finished) and
/// timing.csv. All but timing.csv depend on the sweep file and the trials' results alone: two sweeps with equal trials have them
/// byte for byte.
void write_tables(const Sweep& sweep, const SweepPlan& plan);

/// results.md
std::string results_markdown(const Sweep& sweep, const SweepPlan& plan);

/// What the ranking says: the best configuration or how many tie for it, and what was compared; lines, empty before two results.
std::string verdict_text(const Sweep& sweep, const std::vector<SweepResult>& results);

/// The ranking in cells, a row of names first and at most that many below it; names and labels as `shown` shows them.
std::vector<std::vector<std::string>> result_rows(const Sweep& sweep, const std::vector<SweepResult>& results, std::size_t most,
                                                  std::string (*shown)(const std::string&));
/// Four decimals, or powers of ten of what diverged.
std::string number_text(const std::optional<double>& number, bool sign = false);
/// All that is known of a result, as results.json and reports have it.
nlohmann::ordered_json result_json(const SweepResult& result);

/// How the trials shared the machine; empty before one has been measured.
std::string timing_text(const Sweep& sweep, const SweepPlan& plan);

/// A line per trial with its state and its cost, and the sums. `memory_of` tells the bytes a trial takes, where they are
/// known.
std::string cost_text(const Sweep& sweep, const SweepPlan& plan,
                      const std::function<std::optional<std::size_t>(const RunConfig&)>& memory_of);

/// A line per state, and what is left to do.
std::string status_text(const Sweep& sweep, const SweepPlan& plan);

}  // namespace temper
