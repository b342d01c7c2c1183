// What a training step needs, taken from a device in one go: weights, activations, optimizer states, a batch.
#pragma once

#include <cstdint>
#include <vector>

#include "config/run_config.h"
#include "kernels/device_memory.h"
#include "model/gpt2.h"
#include "model/weights.h"
#include "optim/optimizer.h"
#include "train/evaluation.h"

namespace temper {

struct Engine {
  Ops* device;
  DeviceMemory memory;
  Weights weights;
  Gpt2 model;
  Optimizer optimizer;
  DeviceBatch batch;

  /// With `ops` null nothing is taken and memory.plan() tells what would be, once count_backend_memory() was called too.
  Engine(const RunConfig& config, Ops* ops);
  /// Adds to the plan what `ops` takes beside it.
  void count_backend_memory(const RunConfig& config, const Ops& ops);

  /// Queues loss, gradients and update number `step` (from 0) over micro-batches that `next` uploads into `batch`, one per call.
  /// Returns the read that finish_step wants. At most Ops::open_reads steps may be unfinished.
  template <typename NextBatch>
  std::uint64_t start_step(std::int64_t step, std::int64_t micro_batches, std::int64_t tokens_per_step, NextBatch next) {
    optimizer.begin_step(step);
    for (std::int64_t micro = 0; micro < micro_batches; ++micro) {
      next();
      const Write write = micro == 0 ? Write::overwrite : Write::accumulate;
      device->replay(micro == 0 ? first_micro_batch_ : later_micro_batch_, [&] {
        model.forward_backward(batch.tokens(), batch.targets(), 1.0f / static_cast<float>(tokens_per_step), write,
                               optimizer.loss());
      });
    }
    device->replay(update_, [&] { optimizer.finish_step(); });
    return optimizer.start_read();
  }
  /// Waits for that step and returns what it measured; the update was made only if `finite` is 1.
  StepScalars finish_step(std::uint64_t read) const { return optimizer.finish_read(read); }

 private:
  Recording first_micro_batch_, later_micro_batch_, update_;
};

}  // namespace temper
