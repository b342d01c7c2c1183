// What an update did, measured on the device: norms, angles, alignment of gradient and moment, noise of the gradient, histograms of
// weights. Kosson et al., arXiv 2410.23922 and 2305.17212 (angles); McCandlish et al., arXiv 1812.06162 (noise scale).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/device_memory.h"
#include "kernels/ops.h"
#include "optim/optimizer.h"

namespace temper {

/// A measurement has one name, wherever it is met: in diagnostics.jsonl, metrics.jsonl, TensorBoard, reports and
/// docs/diagnostics.md, which are all made from the tables below.
template <typename Record, typename Value = double>
struct Measurement {
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
};
inline constexpr Measurement<UpdateDiagnostics> update_measurements[] = {
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

/// Running means over measured steps from which ratios are taken; part of a run's state.
struct NoiseAverages {
  double moment_signal = 0.0,
         moment_noise = 0.0;         ///< ||m-hat||^2 - share ||g||^2 and ||g||^2 - ||m-hat||^2 (kernels/noise_scale.h)
  double signal = 0.0, noise = 0.0;  ///< |G|^2 and tr(Sigma) per example, from batches of two sizes
};

/// Signal and noise of the gradient; an example is a sequence. Absent where it was not or could not be estimated.
struct NoiseDiagnostics {
  std::optional<double> moment_snr, moment_critical_batch, batch_snr, batch_critical_batch;
};
inline constexpr Measurement<NoiseDiagnostics, std::optional<double>> noise_measurements[] = {
    {"moment_snr", &NoiseDiagnostics::moment_snr, "signal-to-noise ratio of the batch, from the first moment", true},
    {"moment_critical_batch", &NoiseDiagnostics::moment_critical_batch, "sequences at which moment_snr would be 1"},
    {"batch_snr", &NoiseDiagnostics::batch_snr, "the same ratio, from the first micro-batch and the whole batch"},
    {"batch_critical_batch", &NoiseDiagnostics::batch_critical_batch, "sequences at which batch_snr would be 1", true},
};

/// The name of RepresentationChange::Layer::change, and in the step's line of its root mean square over the layers.
inline constexpr const char* representation_change = "representation_change";

/// A matrix's weights in units of their root mean square.
struct WeightHistogram {
  std::string name;
  double deviation;                       ///< root mean square of the weights
  std::optional<double> prior_deviation;  ///< of the Gaussian that the decay stands for; see optim/prior.h
  double distance;                        ///< largest distance between the distribution functions of weights and N(0, deviation^2)
  std::vector<std::int32_t> counts;       ///< equal bins over [-6, 6) deviations
};

struct WeightHistograms {
  std::vector<WeightHistogram> plain;
  /// Of w sqrt(s), s Adam's preconditioner, for matrices where that has a prior: preconditioned_prior_deviation.
  std::vector<WeightHistogram> preconditioned;
};

struct StepDiagnostics {
  UpdateDiagnostics all;
  std::vector<UpdateDiagnostics> layers;  ///< blocks 0, 1, ...
  std::vector<UpdateDiagnostics> tensors;
  NoiseDiagnostics noise;
};

class Diagnostics {
 public:
  /// Takes all memory it will need; with `ops` null only the plan is counted.
  Diagnostics(const Optimizer& optimizer, std::int64_t histogram_bins, Ops* ops, DeviceMemory& memory);

  // Around the update of a measured step, in this order; they queue work.
  void after_first_micro_batch();
  void before_update();
  void after_update();

  /// Weights before the last measured update, f32 flat; until histograms() are asked for.
  ConstTensorView weights_before() const { return before_; }

  /// Waits, and returns what was measured about update k. `micro_batches` of `micro_batch` sequences each made its gradient.
  StepDiagnostics read(std::int64_t k, std::int64_t micro_batches, std::int64_t micro_batch, NoiseAverages& averages);

  /// Waits. Histograms of the weights as they are now, of all tensors of more than one row, after update k of a run of `tokens`.
  WeightHistograms histograms(std::int64_t k, double tokens);

 private:
  struct Tensor {
    std::string name;
    std::int64_t layer;
    ParameterSegment segment;
  };
  void measure_moments(const float* moment, TensorView out);
  std::vector<double> deviations(const float* values);
  WeightHistogram histogram(const Tensor& tensor, const float* values, double deviation);

  std::vector<Tensor> tensors_;
  const Optimizer& optimizer_;
  Ops* ops_;
  std::int64_t bins_;
  TensorView before_;         // f32 flat
  TensorView segments_;       // ParameterSegment each
  TensorView small_moments_;  // TensorMoments each, of the first micro-batch
  TensorView moments_;        // TensorMoments each
  TensorView statistics_;     // UpdateStatistics each
  TensorView counts_;         // i32 [bins]
};

}  // namespace temper
