// What a training step needs, taken from a device in one go: weights, activations, optimizer states, a batch.
#pragma once

#include <vector>

#include "config/run_config.h"
#include "kernels/device_memory.h"
#include "model/gpt2.h"
#include "model/weights.h"
#include "optim/optimizer.h"
#include "train/evaluation.h"

namespace temper {

struct Engine {
  DeviceMemory memory;
  Weights weights;
  Gpt2 model;
  Optimizer optimizer;
  DeviceBatch batch;

  /// With `ops` null nothing is taken and memory.plan() tells what would be, once count_linear_memory() was called too.
  Engine(const RunConfig& config, Ops* ops);
  /// Adds to the plan what `ops` takes beside it.
  void count_linear_memory(const RunConfig& config, const Ops& ops);

  /// Loss, gradients and update number `step` (from 0) over micro-batches that `next` uploads into `batch`, one per call.
  /// Returns what the step measured; the update was made only if `finite` is 1.
  template <typename NextBatch>
  StepScalars step(std::int64_t step, std::int64_t micro_batches, std::int64_t tokens_per_step, NextBatch next) {
    optimizer.begin_step(step);
    for (std::int64_t micro = 0; micro < micro_batches; ++micro) {
      next();
      model.forward_backward(batch.tokens(), batch.targets(), 1.0f / static_cast<float>(tokens_per_step),
                             micro == 0 ? Write::overwrite : Write::accumulate, optimizer.loss());
    }
    optimizer.finish_step();
    return optimizer.read_scalars();
  }
};

}  // namespace temper
