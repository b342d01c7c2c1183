// The optimizer: which parameters decay, the moments, and one fused update a step.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "kernels/device_memory.h"
#include "kernels/ops.h"
#include "optim/schedule.h"

namespace temper {

/// One parameter tensor as the optimizer sees it; the caller (who knows the model) describes it.
struct OptimizedTensor {
  std::string name;
  Shape shape;
  std::int64_t offset;  ///< in the flat buffers
};

/// The flat buffers an optimizer works on, all of flat_size elements.
struct OptimizedBuffers {
  TensorView master;         ///< f32
  TensorView gradients;      ///< f32
  TensorView low_precision;  ///< bf16 or absent
};

class Optimizer {
 public:
  /// Takes memory for the states, all zero. With `ops` null only the plan is counted.
  Optimizer(const OptimizerConfig& config, const Schedule& schedule, std::vector<OptimizedTensor> tensors, OptimizedBuffers buffers,
            Ops* ops, DeviceMemory& memory);

  /// Where the step's loss belongs: f32 [1] on the device, written before step() is called.
  TensorView loss() const;

  /// Writes the host's part of the scalars (rate and bias corrections of update k). Call before the step's forward pass.
  void begin_step(std::int64_t k);
  /// Global norm, clip factor, fused update. Nothing is changed when loss or norm is not finite.
  void finish_step();
  /// Starts to read what the step measured: loss, norm, clip factor and whether the update was made.
  std::uint64_t start_read() const { return ops_->start_read(scalars_.data, sizeof(StepScalars)); }
  /// Waits for the step behind which that read was started.
  StepScalars finish_read(std::uint64_t read) const;

  double learning_rate(std::int64_t k) const;

  /// States by name ("exp_avg", "exp_avg_sq"), each flat like the weights: for checkpoints.
  struct State {
    std::string name;
    TensorView values;
  };
  const std::vector<State>& states() const { return states_; }
  const std::vector<OptimizedTensor>& tensors() const { return tensors_; }

 private:
  OptimizerConfig config_;
  Schedule schedule_;
  UpdateRule rule_;
  std::vector<OptimizedTensor> tensors_;
  OptimizedBuffers buffers_;
  Ops* ops_;
  std::vector<State> states_;
  TensorView segments_;  // bytes of ParameterSegment[tensors]
  TensorView scalars_;   // bytes of StepScalars
};

/// True for tensors that weight decay acts on: those of two or more dimensions (matrices and embeddings; no biases, no
/// layer norms), as GPT-2's successors all do.
bool decays(const OptimizedTensor& tensor);

}  // namespace temper
