// What a training step needs, taken from a device in one go: weights, activations, optimizer states, a batch.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "config/run_config.h"
#include "kernels/device_memory.h"
#include "model/gpt2.h"
#include "model/representation.h"
#include "model/weights.h"
#include "optim/diagnostics.h"
#include "optim/optimizer.h"
#include "train/evaluation.h"

namespace temper {

/// What is measured of a step, by the diagnostics section's intervals.
struct DueDiagnostics {
  bool update = false;          ///< norms, angles, noise
  bool representation = false;  ///< change of what layers make of held data
  bool histograms = false;
  bool any() const { return update || representation || histograms; }
};

/// The model's parameters as an optimizer sees them.
std::vector<OptimizedTensor> optimized_tensors(const Weights& weights);

struct Engine {
  Ops* device;
  DeviceMemory memory;
  Weights weights;
  Gpt2 model;
  Optimizer optimizer;
  DeviceBatch batch;
  std::optional<Diagnostics> diagnostics;  ///< where the configuration asks for any
  // Where it asks for the representation change: that, and the sequences it is measured on.
  std::optional<RepresentationChange> representation;
  std::optional<DeviceBatch> held;

  /// With `ops` null nothing is taken and memory.plan() tells what would be, once count_backend_memory() was called too.
  Engine(const RunConfig& config, Ops* ops);
  /// Adds to the plan what `ops` takes beside it.
  void count_backend_memory(const RunConfig& config, const Ops& ops);

  /// Queues loss, gradients and update number `step` (from 0) over micro-batches that `next` uploads into `batch`, one per call.
  /// Returns the read that finish_step wants. At most Ops::open_reads steps may be unfinished, and none when `due` asks for
  /// something.
  template <typename NextBatch>
  std::uint64_t start_step(std::int64_t step, std::int64_t micro_batches, NextBatch next, DueDiagnostics due = {}) {
    optimizer.begin_step(step);
    for (std::int64_t micro = 0; micro < micro_batches; ++micro) {
      next();
      queue_micro_batch(micro, micro_batches);
      if (due.update && micro == 0 && micro_batches > 1) diagnostics->after_first_micro_batch();
    }
    if (due.update || due.representation) diagnostics->before_update();
    device->replay(update_, [&] { optimizer.finish_step(); });
    if (due.update) diagnostics->after_update();
    return optimizer.start_read();
  }
  /// Waits for that step and returns what it measured; the update was made only if `finite` is 1.
  StepScalars finish_step(std::uint64_t read) const { return optimizer.finish_read(read); }

 private:
  void queue_micro_batch(std::int64_t micro, std::int64_t micro_batches);

  std::int64_t recorded_micro_batches_ = 0;  // for which the recordings hold, since the loss is scaled by them
  Recording first_micro_batch_, later_micro_batch_, update_;
};

}  // namespace temper
