// Two reports of the same benchmarks side by side: what became faster or slower by more than its own noise.
#pragma once

#include <string>

#include "bench/report.h"

namespace temper {

struct NamedReport {
  std::string name;  ///< what the table calls it, e.g. its file
  SavedReport report;
};

/// A table of the benchmarks that both have, in the order of `before`: medians, spreads, after/before, verdict. The spread is
/// half the range from p10 to p90 as a share of the median. Where those two ranges touch, the verdict is "noise"; where either
/// report has fewer than three repetitions there is no range, and the verdict is "?". Below it: what only one of them has, and
/// whether the machines differ. Error(ExitCode::data) when they have no benchmark in common.
std::string compare_reports(const NamedReport& before, const NamedReport& after);

}  // namespace temper
