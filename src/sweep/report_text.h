// A report for the terminal.
#pragma once

#include <cstddef>
#include <string>

#include "sweep/sweep.h"

namespace temper {

/// The ranked configurations, best first, in columns; at most `rows` of them. What is tied with the best is marked.
std::string ranking_text(const Sweep& sweep, const SweepPlan& plan, std::size_t rows);

/// A line about a run, which is a sweep of one trial.
std::string run_text(const Sweep& sweep, const SweepPlan& plan);

/// Where two parameters vary, a map of the metric over both; where one does, a line for each of its values. Empty otherwise, and
/// where it would not fit a terminal. `colour` paints the map.
std::string sweep_chart(const Sweep& sweep, const SweepPlan& plan, bool colour);

}  // namespace temper
