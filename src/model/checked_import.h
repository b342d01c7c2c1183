// What every importer of weights checks, whatever the format: files come from strangers.
// Failures are Error(ExitCode::checkpoint).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "config/run_config.h"

namespace temper {

/// Refuses sizes that temper does not compute with (n_embd / n_head must be even and at most 256), or so large that products
/// of them would not fit in 64 bits. `label` names the file.
void check_model_sizes(const ModelConfig& config, const std::string& label);

/// Refuses the weights of a file for a model of other sizes, or with biases for one without or the other way round.
void check_same_model(const ModelConfig& file, const ModelConfig& model, const std::string& label);

/// Refuses NaN and infinities. `what` names file and tensor.
void check_finite(std::span<const float> values, const std::string& what);

}  // namespace temper
