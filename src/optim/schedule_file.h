// Rates by step out of a file: what schedule.name file follows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace temper {

struct RatePoint {
  std::int64_t step;  ///< of a run's log: step 1 is update 0
  double rate;        ///< over the largest of the file
};

/// Reads JSON lines with a "step" and the number `column` (metrics.jsonl; in diagnostics.jsonl it may be one of "all"), or lines of
/// "step,rate", the first of which may be a header. Lines without the number, and step 0, which no update has made, are passed over.
/// Steps must rise, from 1 to at least `total`; rates are finite and at least 0. What lies beyond is not kept, though its rates count
/// for the largest. Throws Error(ExitCode::data) naming file, line and what is wrong.
std::vector<RatePoint> read_rates(const std::filesystem::path& file, const std::string& column, std::int64_t total);

/// At a step from 1 to the last one's: linear between neighbours.
double rate_at(const std::vector<RatePoint>& points, std::int64_t step);

}  // namespace temper
