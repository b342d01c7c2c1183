// What a sweep leaves to read: tables of configurations and trials, and the best configuration.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "sweep/sweep.h"

namespace temper {

/// Writes into a folder, usually the sweep's: results.csv, results.md and results.json (a row per configuration, ranked),
/// trials.csv, best.json (the best configuration, ready to train, or the first of those that tie; not there before a trial has
/// finished) and timing.csv. All but timing.csv depend on the sweep file and the trials' results alone: two sweeps with equal
/// trials have them byte for byte.
void write_tables(const Sweep& sweep, const SweepPlan& plan, const std::filesystem::path& folder);

/// How the trials shared the machine; empty before one has been measured.
std::string timing_text(const Sweep& sweep, const SweepPlan& plan);

/// A line per trial with its state and its cost, and the sums. `memory_of` tells the bytes a trial takes, where they are
/// known.
std::string cost_text(const Sweep& sweep, const SweepPlan& plan,
                      const std::function<std::optional<std::size_t>(const RunConfig&)>& memory_of);

/// A line per state, and what is left to do.
std::string status_text(const Sweep& sweep, const SweepPlan& plan);

}  // namespace temper
