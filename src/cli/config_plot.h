// What the schedules of a configuration come to over its run, as a table and as charts for a terminal.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/run_config.h"

namespace temper {

struct SchedulePoint {
  std::int64_t step;
  double learning_rate;
  double decay;              ///< share of itself that a decayed weight loses; with L2 the coefficient of the weight in the gradient
  double momentum;           ///< the first moment's decay rate
  std::int64_t step_tokens;  ///< tokens of this step
  std::int64_t context;      ///< tokens of each of its sequences
};

/// The run's steps where it has at most 1000, otherwise every so many, and always the last one. `config` passed validate().
std::vector<SchedulePoint> schedule_points(const RunConfig& config);

/// One JSON object a line, with SchedulePoint's members; scripts/plots/schedule.py draws pictures of it.
std::string schedule_table(const std::vector<SchedulePoint>& points);

/// Three charts one below the other, and one each of the batch and of the sequences where they grow, 72 columns wide.
std::string schedule_charts(const RunConfig& config, const std::vector<SchedulePoint>& points);

}  // namespace temper
