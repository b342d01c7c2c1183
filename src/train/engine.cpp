#include "train/engine.h"

#include "config/validate.h"

namespace temper {

std::vector<OptimizedTensor> optimized_tensors(const Weights& weights) {
  std::vector<OptimizedTensor> tensors;
  for (const Parameter& parameter : weights.layout().parameters()) {
    const bool qkv = parameter.name.ends_with(".c_attn.weight");
    Shape shape = parameter.shape;
    // The vocabulary's padding is no parameter: its rows stay 0, also where a rule takes out a matrix's mean.
    if (parameter.name == "transformer.wte.weight") shape = {weights.config().vocab_size, shape[1]};
    tensors.push_back({parameter.name, shape, parameter.offset, parameter.kind, parameter.layer, qkv ? 3 : 1});
  }
  return tensors;
}

namespace {

Workload workload_of(const RunConfig& config, const Weights& weights, const Optimizer& optimizer) {
  const std::int64_t rows = config.batch.micro_batch * config.model.n_ctx;
  return {weights.activation_type(),
          config.batch.micro_batch,
          config.model.n_ctx,
          config.model.n_embd,
          config.model.n_head,
          padded_vocab_size(config.model),
          head_chunk_rows(config.model, weights.activation_type(), rows),
          optimizer.segment_count()};
}

}  // namespace

Engine::Engine(const RunConfig& config, Ops* ops)
    : device(ops),
      memory(ops),
      weights(config.model, config.precision, Weights::Use::training, ops, memory),
      model(weights, Weights::Use::training, config.train.recompute, config.batch.micro_batch, config.model.n_ctx, ops, memory),
      optimizer(config.optimizer, Schedule(config.schedule, total_steps(config), config.batch.tokens_per_step),
                optimized_tensors(weights), {weights.master(), weights.gradients(), weights.low_precision()},
                config.batch.tokens_per_step / config.model.n_ctx, ops, memory),
      batch(config.batch.micro_batch, config.model.n_ctx, ops, memory) {
  const DiagnosticsConfig& wanted = config.diagnostics;
  if (wanted.every > 0 || wanted.representation_every > 0 || wanted.histogram_every > 0)
    diagnostics.emplace(optimizer, wanted.histogram_bins, ops, memory);
  if (wanted.representation_every > 0) {
    representation.emplace(weights, wanted.representation_sequences, config.model.n_ctx, ops, memory);
    held.emplace(wanted.representation_sequences, config.model.n_ctx, ops, memory);
  }
  if (ops == nullptr) return;
  count_backend_memory(config, *ops);
  ops->reserve_scratch(workload_of(config, weights, optimizer));
}

void Engine::queue_micro_batch(std::int64_t micro, std::int64_t micro_batches) {
  if (recorded_micro_batches_ != micro_batches) first_micro_batch_ = later_micro_batch_ = {};
  recorded_micro_batches_ = micro_batches;
  const Write write = micro == 0 ? Write::overwrite : Write::accumulate;
  const float loss_scale = 1.0f / static_cast<float>(micro_batches * batch.tokens().numel());
  device->replay(micro == 0 ? first_micro_batch_ : later_micro_batch_,
                 [&] { model.forward_backward(batch.tokens(), batch.targets(), loss_scale, write, optimizer.loss()); });
}

void Engine::count_backend_memory(const RunConfig& config, const Ops& ops) {
  weights.count_backend_memory(ops, workload_of(config, weights, optimizer), memory);
}

}  // namespace temper
