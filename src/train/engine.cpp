#include "train/engine.h"

#include "config/validate.h"

namespace temper {

namespace {

std::vector<OptimizedTensor> optimized_tensors(const ParameterLayout& layout) {
  std::vector<OptimizedTensor> tensors;
  for (const Parameter& parameter : layout.parameters()) tensors.push_back({parameter.name, parameter.shape, parameter.offset});
  return tensors;
}

Workload workload_of(const RunConfig& config, const Weights& weights) {
  const std::int64_t rows = config.batch.micro_batch * config.model.n_ctx;
  return {weights.activation_type(),
          config.batch.micro_batch,
          config.model.n_ctx,
          config.model.n_embd,
          config.model.n_head,
          padded_vocab_size(config.model),
          head_chunk_rows(config.model, weights.activation_type(), rows)};
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
  if (ops == nullptr) return;
  count_backend_memory(config, *ops);
  ops->reserve_scratch(workload_of(config, weights));
}

void Engine::count_backend_memory(const RunConfig& config, const Ops& ops) {
  weights.count_backend_memory(ops, workload_of(config, weights), memory);
}

}  // namespace temper
