// What a training step needs, taken from a device in one go: weights, activations, optimizer states, a batch.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "config/run_config.h"
#include "distributed/communicator.h"
#include "kernels/device_memory.h"
#include "model/gpt2.h"
#include "model/representation.h"
#include "model/weights.h"
#include "optim/diagnostics.h"
#include "optim/optimizer.h"
#include "train/evaluation.h"
#include "train/gradient_sum.h"

namespace temper {

/// What is measured of a step, by the diagnostics section's intervals.
struct DueDiagnostics {
  bool update = false;          ///< norms, angles, noise
  bool representation = false;  ///< change of what layers make of held data, and of the batch
  bool histograms = false;
  bool any() const { return update || representation || histograms; }
};

/// What the optimizer of a run is made with (settled_optimizer); opens data.train where the decay's timescale counts its epochs.
OptimizerConfig optimizer_of(const RunConfig& config);

/// The model's parameters as an optimizer sees them.
std::vector<OptimizedTensor> optimized_tensors(const ModelConfig& config, const ParameterLayout& layout);

struct Engine {
  Ops* device;
  DeviceMemory memory;
  std::unique_ptr<Communicator> by_itself;  ///< of a run that is given no ranks
  Communicator& ranks;
  ShardPlace place;  ///< of the optimizer, where ranks share its states (ZeRO-1)
  Weights weights;
  Gpt2 model;
  Optimizer optimizer;
  GradientSum gradient_sum;
  DeviceBatch batch;
  std::optional<MovingAverage> average;    ///< where eval.weight_average asks for one
  std::optional<Diagnostics> diagnostics;  ///< where the configuration asks for any
  // Where it asks for the representation change: that, and the tokens it is measured on, held out and the first of the step's batch.
  std::optional<RepresentationChange> representation;
  std::optional<DeviceBatch> held;
  TensorView of_batch;  ///< i32 [S,T], on rank 0, after a step for which it was due
  bool replays = true;  ///< false: operations are queued one by one, as a profiler wants to see them; the same bits

  /// With `ops` null nothing is taken and memory.plan() tells what would be, once count_backend_memory() was called too: on the
  /// device `planned_for`, or at the least. `others` are the ranks that train together, and outlive the engine; null: this process
  /// alone.
  Engine(const RunConfig& config, Ops* ops, Communicator* others = nullptr, const Ops* planned_for = nullptr);
  /// Adds to the plan what `ops` takes beside it.
  void count_backend_memory(const RunConfig& config, const Ops& ops);

  /// Queues loss, gradients and update number `step` (from 0) over this many micro-batches, of all ranks together; next(m) uploads
  /// number m into `batch`, for those that are this rank's. Returns the read that finish_step wants. At most Ops::open_reads steps
  /// may be unfinished, and none when `due` asks for something.
  template <typename NextBatch>
  std::uint64_t start_step(std::int64_t step, std::int64_t micro_batches, NextBatch next, DueDiagnostics due = {}) {
    optimizer.begin_step(step);
    gradient_sum.begin(micro_batches, due.update || optimizer.corrects_rates());
    for (std::int64_t round = 0; round < gradient_sum.rounds(); ++round) {
      const std::int64_t micro_batch = gradient_sum.micro_batch(round);
      if (micro_batch >= 0) next(micro_batch);
      if (due.representation && micro_batch == 0) device->copy(of_batch.data, batch.tokens().data, of_batch.bytes());
      queue_round(round, micro_batches);
    }
    queue_update(due);
    if (average) average->follow(step + 1);
    return optimizer.start_read();
  }
  /// Waits for that step and returns what it measured; the update was made only if `finite` is 1.
  StepScalars finish_step(std::uint64_t read) const { return optimizer.finish_read(read); }

  /// Waits. What the last measured update changed in what matrices make of the held sequences, and of the step's own batch where this
  /// rank has its first micro-batch (`with_batch`).
  std::vector<RepresentationDiagnostics> representation_changes(bool with_batch);

  /// Does everything of the run's steps that the device may choose a way for (Ops::choices), on what is in `batch`. Weights, moments and all
  /// else that outlives a step stay as they are.
  void rehearse(const RunConfig& config);

  /// For checkpoints, as WholeState: uses the gradients' memory. All ranks call it together, and wait for one another however long
  /// that takes.
  ConstTensorView whole(const Optimizer::StateBuffer& buffer);

 private:
  void queue_round(std::int64_t round, std::int64_t micro_batches);
  void queue_update(DueDiagnostics due);
  void queue(Recording& recording, const std::function<void()>& work);

  std::int64_t windows_;  // of a micro-batch, into however many sequences they are cut; also where a rank has none
  // For which the recordings hold: loss and halves are scaled by the one, shapes follow from the other.
  std::int64_t recorded_micro_batches_ = 0, recorded_length_ = 0;
  Recording first_micro_batch_, later_micro_batch_, update_;
};

}  // namespace temper
