#include "train/engine.h"

#include <algorithm>
#include <utility>

#include "config/resolved.h"
#include "config/validate.h"
#include "train/start.h"

namespace temper {

OptimizerConfig optimizer_of(const RunConfig& config) {
  if (!counts_epochs(config.optimizer)) return settled_optimizer(config, 0.0);
  const BatchSource data(train_batches(config));
  return settled_optimizer(config, static_cast<double>(data.windows_per_epoch() * config.model.n_ctx) /
                                       static_cast<double>(config.batch.tokens_per_step));
}

std::vector<OptimizedTensor> optimized_tensors(const ModelConfig& config, const ParameterLayout& layout) {
  std::vector<OptimizedTensor> tensors;
  for (const Parameter& parameter : layout.parameters()) {
    Shape shape = parameter.shape;
    // The vocabulary's padding is no parameter: its rows stay 0, also where a rule takes out a matrix's mean.
    if (parameter.name == "transformer.wte.weight") shape = {config.vocab_size, shape[1]};
    tensors.push_back({parameter.name, shape, parameter.offset, parameter.kind, parameter.layer, parameter.stacked(),
                       config.width_ratio(), parameter.fold});
  }
  return tensors;
}

namespace {

/// Nothing where each rank has all states.
ShardPlace place_of(const RunConfig& config, const Communicator& ranks) {
  if (config.parallel.zero_stage == 0 || ranks.size() == 1) return {};
  const ParameterLayout layout(config.model);
  return {optimizer_shards(optimizer_of(config), optimized_tensors(config.model, layout), layout.flat_size(), ranks.size()),
          ranks.rank()};
}

std::optional<Weights::Range> masters_of(const ShardPlace& place) {
  if (place.begins.empty()) return std::nullopt;
  return Weights::Range{place.begin(), place.end()};
}

/// What the head's logits may take. A GPU multiplies few chunks of rows faster than many, and adds their weight gradients less often:
/// there it is what the rest of the plan leaves of nine tenths of its memory, but no more than an eighth of it.
std::int64_t most_logits_bytes(const RunConfig& config, const Ops* device, Communicator& ranks) {
  if (device == nullptr || !device->device().asynchronous) return least_logits_bytes;
  Engine plan(config, nullptr, &ranks);
  plan.count_backend_memory(config, *device);
  const auto memory = static_cast<std::int64_t>(device->device().memory);
  const std::int64_t left = memory / 10 * 9 - static_cast<std::int64_t>(plan.memory.total_bytes());
  return std::max(least_logits_bytes, std::min(least_logits_bytes + left, memory / 8));
}

/// What a micro-batch asks of the device, at that of the run's lengths which takes most scratch memory.
Workload largest_workload(const RunConfig& config, const Engine& engine, const Ops& ops) {
  Workload largest =
      workload_of(engine.weights, config.batch.micro_batch, engine.model.head_rows(), engine.optimizer.segment_count());
  for (const ContextStage& stage : context_stages(config)) {
    Workload one = largest;
    one.sequences = largest.rows() / stage.length;
    one.positions = stage.length;
    if (ops.scratch_bytes(one) > ops.scratch_bytes(largest)) largest = one;
  }
  return largest;
}

}  // namespace

Engine::Engine(const RunConfig& config, Ops* ops, Communicator* others, const Ops* planned_for)
    : device(ops),
      memory(ops),
      by_itself(others == nullptr ? make_self_communicator() : nullptr),
      ranks(others == nullptr ? *by_itself : *others),
      place(place_of(config, ranks)),
      weights(config.model, config.precision, Weights::Use::training, ops, memory, masters_of(place)),
      model(weights, Weights::Use::training, config.train.recompute, config.batch.micro_batch, config.model.n_ctx, ops, memory,
            most_logits_bytes(config, ops != nullptr ? ops : planned_for, ranks)),
      optimizer(optimizer_of(config), Schedule(config.schedule, total_steps(config), config.batch.tokens_per_step),
                optimized_tensors(config.model, weights.layout()), {weights.master(), weights.gradients(), weights.low_precision()},
                ops, memory, place),
      gradient_sum(config.parallel, weights, place.begins, micro_batches_per_step(config),
                   config.diagnostics.every > 0 || optimizer.corrects_rates(), ranks, ops, memory),
      batch(config.batch.micro_batch, config.model.n_ctx, ops, memory),
      windows_(config.batch.micro_batch) {
  if (config.eval.weight_average > 0.0)
    average.emplace(config.eval.weight_average, OptimizedBuffers{weights.master(), weights.gradients(), weights.low_precision()},
                    ops, memory);
  const DiagnosticsConfig& wanted = config.diagnostics;
  if (wanted.every > 0 || wanted.representation_every > 0 || wanted.histogram_every > 0)
    diagnostics.emplace(optimizer, wanted.histogram_bins, ops, memory);
  if (wanted.representation_every > 0) {
    representation.emplace(weights, config.model.n_ctx, ops, memory);
    held.emplace(wanted.representation_sequences, config.model.n_ctx, ops, memory);
    const std::int64_t sequences = std::min(wanted.representation_sequences, config.batch.micro_batch);
    of_batch = memory.add("diagnostics", DType::i32, {sequences, config.model.n_ctx});
  }
  if (ops == nullptr) return;
  count_backend_memory(config, *ops);
  ops->reserve_scratch(largest_workload(config, *this, *ops));
}

/// The gradients of this rank's micro-batch in `batch`, where it has one in this round.
void Engine::queue_round(std::int64_t round, std::int64_t micro_batches) {
  const std::int64_t length = batch.tokens().shape[1];
  if (recorded_micro_batches_ != micro_batches) update_ = {};
  if (recorded_micro_batches_ != micro_batches || recorded_length_ != length) first_micro_batch_ = later_micro_batch_ = {};
  recorded_micro_batches_ = micro_batches;
  recorded_length_ = length;
  gradient_sum.before_round(round);
  if (gradient_sum.micro_batch(round) >= 0) {
    const float loss_scale = 1.0f / static_cast<float>(micro_batches * batch.tokens().numel());
    const auto work = [&](const GradientsFinal& final) {
      model.forward_backward(batch.tokens(), batch.targets(), loss_scale, gradient_sum.write(round), optimizer.loss(), final);
    };
    if (!gradient_sum.leaves(round))
      queue(round == 0 ? first_micro_batch_ : later_micro_batch_, [&] { work({}); });
    else
      work([&](std::int64_t from) { gradient_sum.send(from); });
  }
  gradient_sum.after_round(round, optimizer.loss());
}

void Engine::queue_update(DueDiagnostics due) {
  const NamedRange range(*device, "update");
  gradient_sum.finish_sums(optimizer.loss());
  std::optional<BatchHalves> halves;
  if (const std::int64_t half = gradient_sum.half(); half > 0)
    halves = {gradient_sum.first_half(), half * windows_, (recorded_micro_batches_ - half) * windows_};
  if (due.update || due.representation) diagnostics->before_update(halves);
  if (optimizer.corrects_rates()) optimizer.measure_halves(halves.value());
  optimizer.add_decay_gradient();
  const ConstTensorView norm_of = gradient_sum.norm_of(optimizer);
  queue(update_, [&] { optimizer.finish_step(norm_of); });
  if (due.update || due.representation) diagnostics->after_update();
  gradient_sum.gather_weights();
}

std::vector<RepresentationDiagnostics> Engine::representation_changes(bool with_batch) {
  const auto measure = [&](ConstTensorView tokens) {
    return representation->measure(model, tokens, diagnostics->weights_before(), diagnostics->step());
  };
  std::vector<RepresentationDiagnostics> changes;
  for (RepresentationChange::Layer& layer : measure(held->tokens()))
    changes.push_back({std::move(layer.name), layer.change, layer.step_change, std::nullopt, std::nullopt, layer.relative_update,
                       layer.relative_step});
  if (!with_batch) return changes;
  const std::vector<RepresentationChange::Layer> of_own = measure(of_batch);
  for (std::size_t i = 0; i < of_own.size(); ++i) {
    changes[i].batch = of_own[i].change;
    changes[i].batch_step = of_own[i].step_change;
  }
  return changes;
}

void Engine::rehearse(const RunConfig& config) {
  const float loss_scale = 1.0f / static_cast<float>(batch.tokens().numel());
  const auto pass = [&](std::int64_t length, Write write) {
    const auto cut = [&](ConstTensorView tokens) {
      return ConstTensorView{tokens.data, tokens.dtype, {tokens.numel() / length, length}};
    };
    model.forward_backward(cut(batch.tokens()), cut(batch.targets()), loss_scale, write, optimizer.loss());
  };
  for (const ContextStage& stage : context_stages(config)) pass(stage.length, Write::overwrite);
  if (micro_batches_per_step(config) > ranks.size()) pass(config.model.n_ctx, Write::accumulate);
  optimizer.rehearse();
  device->synchronize();
}

void Engine::queue(Recording& recording, const std::function<void()>& work) {
  if (replays)
    device->replay(recording, work);
  else
    work();
}

ConstTensorView Engine::whole(const Optimizer::StateBuffer& buffer) {
  if (buffer.shards.size() == 2) return buffer.values;
  const TensorView all = {weights.gradients().data, DType::f32, {buffer.shards.back()}};
  const std::int64_t begin = buffer.shards[static_cast<std::size_t>(ranks.rank())];
  if (buffer.values.present()) device->copy(all.as<float>() + begin, buffer.values.data, buffer.values.bytes());
  ranks.meet("the saving of " + buffer.name);
  ranks.all_gather(all, buffer.shards, buffer.name);
  ranks.wait();
  return all;
}

void Engine::count_backend_memory(const RunConfig& config, const Ops& ops) {
  weights.count_backend_memory(ops, largest_workload(config, *this, ops), memory);
}

}  // namespace temper
