#include "train/engine.h"

#include "config/validate.h"

namespace temper {

namespace {

std::vector<OptimizedTensor> optimized_tensors(const ParameterLayout& layout) {
  std::vector<OptimizedTensor> tensors;
  for (const Parameter& parameter : layout.parameters()) tensors.push_back({parameter.name, parameter.shape, parameter.offset});
  return tensors;
}

}  // namespace

Engine::Engine(const RunConfig& config, Ops* ops)
    : device(ops),
      memory(ops),
      weights(config.model, config.precision, Weights::Use::training, ops, memory),
      model(weights, Weights::Use::training, config.train.recompute, config.batch.micro_batch, config.model.n_ctx, ops, memory),
      optimizer(config.optimizer, Schedule(config.schedule, total_steps(config)), optimized_tensors(weights.layout()),
                {weights.master(), weights.gradients(), weights.low_precision()}, ops, memory),
      batch(config.batch.micro_batch, config.model.n_ctx, ops, memory) {
  if (ops != nullptr) count_backend_memory(config, *ops);
}

void Engine::count_backend_memory(const RunConfig& config, const Ops& ops) {
  weights.count_backend_memory(ops, config.batch.micro_batch, config.model.n_ctx, memory);
}

}  // namespace temper
