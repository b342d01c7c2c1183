// A report: a sweep's results with its curves, or a single run as a sweep of one trial. docs/reports.md describes the JSON, which
// scripts/plots/sweep.py draws.
#pragma once

#include <filesystem>
#include <string>

#include "sweep/sweep.h"

namespace temper {

struct ReportSource {
  Sweep sweep;
  SweepPlan plan;       ///< points into `sweep`
  bool is_run = false;  ///< `sweep.folder` is a run directory itself

  std::filesystem::path folder_of(const Trial& trial) const;
};

/// Opens a sweep's folder (it holds sweep.json) or a run directory (config.json and metrics.jsonl). What is neither:
/// Error(ExitCode::usage), which tells what to name instead.
ReportSource open_report(const std::filesystem::path& folder);

/// Everything a report shows, as far as the trials have come. Depends on the folder's name and the trials' results alone, not on
/// how long they took.
std::string report_json(const ReportSource& source);

/// The command that trains the best configuration; empty before one has a result.
std::string best_command(const ReportSource& source);

/// A line about a run, which is a sweep of one trial.
std::string run_text(const Sweep& sweep, const SweepPlan& plan);

/// Where two parameters vary, a map of the metric over both; where one does, a line for each of its values. Empty otherwise, and
/// where it would not fit a terminal. `colour` paints the map.
std::string sweep_chart(const Sweep& sweep, const SweepPlan& plan, bool colour);

}  // namespace temper
