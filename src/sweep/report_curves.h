// The curves of one run as a report holds them: read from its metrics.jsonl and diagnostics.jsonl, smoothed and thinned. What is in
// the files is not trusted: lines that do not fit the run are passed over, numbers that are not there are null.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>

#include "config/run_config.h"

namespace temper {

/// Most points of one curve, by what it is of.
struct CurveLimits {
  std::int64_t run;    ///< loss, gradient norm, learning rate, validation loss
  std::int64_t model;  ///< a measurement of the whole model
  std::int64_t part;   ///< of one layer, or of the tensors of one kind
};

/// At most 300 points each, fewer where many trials of many layers would make a report too large to send around.
CurveLimits curve_limits(std::size_t trials, std::int64_t layers);

/// {"smoothed_over": W, "step": [...], "loss": [...], "grad_norm": [...], "learning_rate": [...]}; loss and gradient norm are means
/// over W logged steps around each, fewer towards both ends. Every k-th step of the run, the first and the last, so that all runs
/// of one length have the same ones.
nlohmann::ordered_json training_curve(const std::filesystem::path& run, const RunConfig& config, const CurveLimits& limits);

/// {"step": [...], "val_loss": [...]}
nlohmann::ordered_json validation_curve(const std::filesystem::path& run, const RunConfig& config, const CurveLimits& limits);

/// {PART: {"step": [...], MEASUREMENT: [...], ...}, ...}; empty without diagnostics. Parts are "all", "layer 0" ..., the kinds of
/// tensors ("query", "MLP in", ...) and "representation". Norms of a kind are those of its tensors together, step_row_angle is
/// their root mean square.
nlohmann::ordered_json diagnostics_curves(const std::filesystem::path& run, const RunConfig& config, const CurveLimits& limits);

}  // namespace temper
