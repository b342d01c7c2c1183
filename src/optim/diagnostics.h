// What an update did, measured on the device: norms, angles, alignment of gradient and moment, noise of the gradient, histograms of
// weights. Kosson et al., arXiv 2410.23922 and 2305.17212 (angles); McCandlish et al., arXiv 1812.06162 (noise scale).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/device_memory.h"
#include "kernels/ops.h"
#include "optim/measurements.h"
#include "optim/optimizer.h"

namespace temper {

/// Running means of signal and noise (follow_halves), in which measured steps have the weights that optimizer.rate_correction_smoothing
/// gives to all steps. Part of a run's state.
struct NoiseAverages {
  std::int64_t updates = 0;   ///< made when they were last added to
  std::vector<double> means;  ///< two for each tensor, each layer, and all together
};

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
};

class Diagnostics {
 public:
  /// Takes all memory it will need; with `ops` null only the plan is counted.
  Diagnostics(const Optimizer& optimizer, std::int64_t histogram_bins, Ops* ops, DeviceMemory& memory);

  // Around the update of a measured step, in this order; they queue work. Afterwards the gradients are not what they were.
  void before_update(const std::optional<BatchHalves>& halves);
  void after_update();

  /// Weights before the last measured update, f32 flat; until histograms() are asked for.
  ConstTensorView weights_before() const { return before_; }
  /// That update without the decay, f32 flat, where the gradients were; until they are written again.
  ConstTensorView step() const { return optimizer_.buffers().gradients; }

  /// Waits, and returns what was measured about update k.
  StepDiagnostics read(std::int64_t k, NoiseAverages& averages);

  /// Waits. Histograms of the weights as they are now, of all tensors of more than one row, after update k of a run of `tokens`.
  WeightHistograms histograms(std::int64_t k, double tokens);

 private:
  struct Tensor {
    std::string name;
    std::int64_t layer;
    ParameterSegment segment;
  };
  void measure_moments(const float* moment, TensorView out);
  void read_noise(std::int64_t k, NoiseAverages& averages, StepDiagnostics& out);
  std::vector<double> deviations(const float* values);
  WeightHistogram histogram(const Tensor& tensor, const float* values, double deviation);

  std::vector<Tensor> tensors_;
  const Optimizer& optimizer_;
  Ops* ops_;
  std::int64_t bins_;
  TensorView before_;                  // f32 flat
  TensorView segments_;                // ParameterSegment each
  TensorView moments_, half_moments_;  // TensorMoments each
  TensorView statistics_;              // UpdateStatistics each
  TensorView counts_;                  // i32 [bins]
  std::optional<BatchHalves> halves_;  // of the last measured step
};

}  // namespace temper
