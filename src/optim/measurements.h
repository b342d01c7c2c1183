// What is measured of an update. A measurement has one name wherever it is met: diagnostics.jsonl, metrics.jsonl, TensorBoard,
// reports and docs/diagnostics.md are all made from these tables.
#pragma once

#include <optional>
#include <string>

namespace temper {

template <typename Record, typename Value = double>
struct MeasurementKey {
  const char* name;
  Value Record::*member;
  const char* meaning;
  bool in_summary = false;  ///< for all tensors together it stands in the step's own line too
  bool of_parts = false;    ///< TensorBoard and reports have it for each layer and tensor
};

/// One tensor, the tensors of one layer together, or all of them. A packed qkv weight counts as three tensors. Weights are those
/// before the update. What has no value (a ratio to 0) is 0.
struct UpdateDiagnostics {
  std::string name;  ///< "transformer.h.0.attn.c_attn.weight.q", "layer 0", "all"
  double grad_norm, weight_norm, update_norm, step_norm, relative_update, angle, row_angle, step_angle, step_row_angle;
  double effective_rate, alignment, moment_ratio, excess_kurtosis, largest_weight;
  std::optional<double> snr, critical_batch, rate_factor, rate_applied;
};
inline constexpr MeasurementKey<UpdateDiagnostics> update_measurements[] = {
    {"grad_norm", &UpdateDiagnostics::grad_norm, "norm of the gradient, before clipping", false, true},
    {"weight_norm", &UpdateDiagnostics::weight_norm, "norm of the weights before the update", true, true},
    {"update_norm", &UpdateDiagnostics::update_norm, "norm of what was added to the weights", false, true},
    {"step_norm", &UpdateDiagnostics::step_norm, "norm of the step: the update without the decay"},
    {"relative_update", &UpdateDiagnostics::relative_update, "update_norm / weight_norm", true, true},
    {"angle", &UpdateDiagnostics::angle, "radians that the update turned the tensor"},
    {"row_angle", &UpdateDiagnostics::row_angle, "radians that it turned the rows, root mean square"},
    {"step_angle", &UpdateDiagnostics::step_angle, "radians that the step turned the tensor"},
    {"step_row_angle", &UpdateDiagnostics::step_row_angle, "radians that the step turned the rows, root mean square", true, true},
    {"effective_rate", &UpdateDiagnostics::effective_rate, "learning_rate / weight_norm", true},
    {"alignment", &UpdateDiagnostics::alignment, "cosine of gradient and first moment before the update", true, true},
    {"moment_ratio", &UpdateDiagnostics::moment_ratio, "norm of the first moment / grad_norm"},
    {"excess_kurtosis", &UpdateDiagnostics::excess_kurtosis, "of the weights about 0; 0 for a Gaussian"},
    {"largest_weight", &UpdateDiagnostics::largest_weight, "largest absolute value of a weight"},
};

/// Signal and noise of its gradient; an example is a sequence. Absent where they were not or could not be estimated.
inline constexpr MeasurementKey<UpdateDiagnostics, std::optional<double>> noise_measurements[] = {
    {"snr", &UpdateDiagnostics::snr, "signal-to-noise ratio of the batch, by its two halves, smoothed", true, true},
    {"critical_batch", &UpdateDiagnostics::critical_batch, "sequences at which snr would be 1", true},
    {"rate_factor", &UpdateDiagnostics::rate_factor, "what rate_correction asks for by snr; mean over matrices", true, true},
    {"rate_applied", &UpdateDiagnostics::rate_applied, "what it multiplied the rate with; mean over matrices", true, true},
};

/// How much of what a matrix makes of some tokens an update changed, as a share of it: of held-out tokens and of the step's own batch.
/// Absent where it was not measured.
struct RepresentationDiagnostics {
  std::string name;  ///< "transformer.h.0.attn.c_attn.weight.q"
  std::optional<double> held, held_step, batch, batch_step;
  double relative_update, relative_step;  ///< ||dW||/||W|| of the whole update and of the step
};
/// What is in the summary is there as root mean square over the matrices.
inline constexpr MeasurementKey<RepresentationDiagnostics, std::optional<double>> representation_measurements[] = {
    {"representation_change", &RepresentationDiagnostics::held, "of held-out tokens, by the whole update", true, true},
    {"step_representation_change", &RepresentationDiagnostics::held_step, "of held-out tokens, by the step", true, true},
    {"batch_representation_change", &RepresentationDiagnostics::batch, "of the batch, by the whole update", true, true},
    {"batch_step_representation_change", &RepresentationDiagnostics::batch_step, "of the batch, by the step", true, true},
};

}  // namespace temper
