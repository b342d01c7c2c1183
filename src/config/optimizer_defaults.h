// What an optimizer's name implies.
#pragma once

#include "config/run_config.h"

namespace temper {

/// The configuration with everything that is left to the name filled in: no number is -1, no choice is by_name. Keys that the name
/// has no use for keep their values.
OptimizerConfig resolved_optimizer(const OptimizerConfig& config);

/// Whether optimizer.momentum, not optimizer.beta1, is the decay rate of the name's first moment.
bool uses_momentum(OptimizerName name);

/// Signs of a single average: Nesterov-Lion, LionA, LionAR.
bool is_sign_of_average(OptimizerName name);

}  // namespace temper
