// What must hold between the keys of the schedule and the length of the run.
#pragma once

#include <string>
#include <vector>

#include "config/run_config.h"

namespace temper {

/// Adds what is wrong, one line each with the numbers and the remedy. Every value by itself is in its range, the length is given
/// once and at most one warmup is given.
void check_schedule(const RunConfig& config, std::vector<std::string>& problems);

}  // namespace temper
