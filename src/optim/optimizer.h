// The optimizer: states, and from gradients to new weights in a few launches. What is done with each tensor stands in
// optim/pipeline.h, the numbers of each step in optim/hyperparameters.h, the maths in kernels/update_rules.h. Where ranks share the
// work, each has an optimizer of its shard (optim/shards.h), which holds the states of that and updates nothing else.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "kernels/device_memory.h"
#include "kernels/ops.h"
#include "optim/hyperparameters.h"
#include "optim/muon.h"
#include "optim/pipeline.h"
#include "optim/schedule.h"
#include "optim/shards.h"
#include "optim/weight_average.h"

namespace temper {

/// Those that a part of the pipeline updates.
inline std::span<const ParameterSegment> segments_of(const Pipeline& pipeline, const UpdatePart& part) {
  return std::span(pipeline.segments).subspan(static_cast<std::size_t>(part.first), static_cast<std::size_t>(part.count));
}

/// What signal and noise of a step's gradient are told by: the part of it that its first sequences make.
struct BatchHalves {
  ConstTensorView first;                                 ///< f32, as long as the gradients, which are means over all sequences
  std::int64_t first_examples = 0, second_examples = 0;  ///< sequences
};

class Optimizer {
 public:
  /// Takes memory for the states of the shard at `place`, all zero. `buffers` and `tensors` are whole on every rank. With `ops` null
  /// only the plan is counted. Throws Error(ExitCode::usage) where a name pattern matches no tensor. Schedule-Free is not for several
  /// ranks.
  Optimizer(const OptimizerConfig& config, const Schedule& schedule, std::vector<OptimizedTensor> tensors, OptimizedBuffers buffers,
            Ops* ops, DeviceMemory& memory, ShardPlace place = {});

  // ---- a step ------------------------------------------------------------------------------------------------------

  /// Before a run's first step: takes the means out of rows (or matrices) under rotational control with rotation_zero_mean, which
  /// keep the norm that they had; from here on it is held. What has a norm already, of a branched run's states, stays as it is. Of
  /// the shard, in both copies of the weights. Waits.
  void center_rows();

  /// Where the step's loss belongs: f32 [1] on the device, written between begin_step() and finish_step().
  TensorView loss() const;

  /// Writes the host's part of the scalars of update k. Call before the step's forward pass.
  void begin_step(std::int64_t k);

  /// Carries out the products of a step, for Ops::choices. Gradients are not what they were afterwards.
  void rehearse();

  // Then, with the gradients of the whole batch in the shard, in this order. These only queue work on the device, the same at each
  // step (Ops::replay) whose halves have the same sizes.

  /// Whether steps want measure_halves().
  bool corrects_rates() const { return scale_settings_.correction != RateCorrection::none; }
  void measure_halves(const BatchHalves& halves);
  /// Decay that is part of the loss (L2 before clipping), into the shard's gradients. Without such decay nothing.
  void add_decay_gradient();
  /// norm[0] (f32) = l2 norm of the shard's gradients; for finish_step, where ranks tell each other theirs.
  void measure_shard(TensorView norm);
  /// Norm, clipping, update of the shard. Nothing is changed when loss or norm is not finite. The norm of all gradients is that of
  /// `norm_of`, f32: all gradients, or the norms of all shards.
  void finish_step(ConstTensorView norm_of);

  /// Starts to read what the step measured: loss, norm, clip factor and whether the update was made.
  std::uint64_t start_read() const { return ops_->start_read(scalars(), sizeof(StepScalars)); }
  /// Waits for the step behind which that read was started.
  StepScalars finish_read(std::uint64_t read) const;

  /// Updates that the states saw before this run's update 0 (a branched run).
  void set_earlier_updates(std::int64_t updates) { earlier_ = updates; }

  // ---- for checkpoints ---------------------------------------------------------------------------------------------

  // Together with the weights, states are all that a step depends on. They are to be read, and written, while the average is shown.

  /// What the model reads, weights or their average; the next begin_step() puts the weights back.
  WeightAverage& average() { return average_; }
  const WeightAverage& average() const { return average_; }

  /// Device memory, f32, of which every rank has a part; the parts one after the other are the whole.
  struct StateBuffer {
    std::string name;                  ///< "exp_avg", "row_norm", ...
    TensorView values;                 ///< this rank's part, of one dimension; absent where it is empty
    std::vector<std::int64_t> shards;  ///< where each rank's part begins in the whole, as ShardPlace::begins
  };
  /// The same names and shards on all ranks, in the same order.
  const std::vector<StateBuffer>& state_buffers() const { return state_buffers_; }

  /// A named piece of a whole buffer.
  struct State {
    std::string name;     ///< "transformer.wte.weight.exp_avg"
    std::size_t buffer;   ///< among state_buffers()
    std::int64_t offset;  ///< in the whole buffer
    Shape shape;
  };
  /// Of all tensors, whoever has them; buffer by buffer.
  const std::vector<State>& states() const { return states_; }
  const ShardPlace& place() const { return place_; }

  // ---- for logs and diagnostics (optim/prior.h) ----------------------------------------------------------------------

  const OptimizerConfig& config() const { return config_; }  ///< resolved
  const std::vector<OptimizedTensor>& tensors() const { return tensors_; }
  const OptimizedBuffers& buffers() const { return buffers_; }
  /// Of the shard.
  const Pipeline& pipeline() const { return pipeline_; }
  /// Segments that the update of the shard walks: for Workload.
  std::int64_t segment_count() const { return static_cast<std::int64_t>(pipeline_.segments.size()); }
  /// The rules' states of the shard, f32, in their order.
  const std::vector<TensorView>& flat_states() const { return flat_states_; }
  std::int64_t earlier_updates() const { return earlier_; }
  double learning_rate(std::int64_t k) const { return hyperparameters_.learning_rate(k); }
  std::optional<DecaySummary> decay_summary() const { return hyperparameters_.decay_summary(); }
  /// The host's part of the scalars with which update k walks the part.
  StepScalars scalars_at(std::int64_t k, const UpdatePart& part) const;
  /// Of the last step, on the device.
  const StepScalars* scalars() const { return static_cast<const StepScalars*>(scalars_.data); }
  /// TensorScale of the last step, on the device, of the pipeline's segments with a gradient; absent where none has its own.
  TensorView scales() const { return scales_; }

 private:
  void add_states(const Pipeline& whole, DeviceMemory& memory);
  void add_work(DeviceMemory& memory);
  void scale_tensors();
  void update(const UpdatePart& part);
  void orthogonalize(const UpdatePart& part);
  StepScalars* scalars_of(const UpdatePart& part) const;
  const ParameterSegment* device_segments(std::int64_t first) const;

  OptimizerConfig config_;
  std::vector<OptimizedTensor> tensors_;
  OptimizedBuffers buffers_;
  ShardPlace place_;
  OptimizedBuffers shard_;  // what of the buffers is this rank's
  Ops* ops_;
  Pipeline pipeline_;  // of the shard
  Hyperparameters hyperparameters_;
  std::optional<Hyperparameters> beside_muon_;
  ScaleSettings scale_settings_;
  std::int64_t earlier_ = 0;
  WeightAverage average_;

  // Memory is that of the shard.
  std::vector<StateBuffer> state_buffers_;
  std::vector<State> states_;
  std::vector<TensorView> flat_states_;                                  // f32, as many as the rule with most has
  TensorView row_norm_, row_mean_square_, row_gain_moments_, row_work_;  // where rows are controlled
  TensorView moments_, half_moments_, smoothed_, scales_;                // where tensors have factors of their own
  std::optional<NewtonSchulz> newton_schulz_;
  TensorView segments_;  // ParameterSegment each
  TensorView scalars_;   // StepScalars; two of them beside Muon
};

}  // namespace temper
