// Which settings of the optimizer mean something together.
#pragma once

#include <string>
#include <vector>

#include "config/run_config.h"

namespace temper {

/// Adds a line for each combination of optimizer settings that means nothing: the key, its value, why, and what to do instead.
/// Every value by itself is in its range.
void check_optimizer(const RunConfig& config, std::vector<std::string>& problems);

}  // namespace temper
