#include "optim/optimizer.h"

#include <cmath>
#include <cstddef>
#include <utility>

namespace temper {

namespace {

/// Room for `bytes` of a plain struct, counted in f32 elements.
TensorView add_bytes(DeviceMemory& memory, std::size_t bytes) {
  return memory.add("optimizer states", DType::f32, {static_cast<std::int64_t>((bytes + 3) / 4)});
}

UpdateRule make_rule(const OptimizerConfig& config) {
  switch (config.name) {
    case OptimizerName::adamw:
      break;
  }
  return AdamW{static_cast<float>(config.beta1), static_cast<float>(config.beta2), static_cast<float>(config.eps)};
}

}  // namespace

bool decays(const OptimizedTensor& tensor) { return tensor.shape.rank() >= 2; }

Optimizer::Optimizer(const OptimizerConfig& config, const Schedule& schedule, std::vector<OptimizedTensor> tensors,
                     OptimizedBuffers buffers, Ops* ops, DeviceMemory& memory)
    : config_(config), schedule_(schedule), rule_(make_rule(config)), tensors_(std::move(tensors)), buffers_(buffers), ops_(ops) {
  for (const char* name : {"exp_avg", "exp_avg_sq"})
    states_.push_back({name, memory.add("optimizer states", DType::f32, buffers_.master.shape)});
  segments_ = add_bytes(memory, tensors_.size() * sizeof(ParameterSegment));
  scalars_ = add_bytes(memory, sizeof(StepScalars));
  if (ops_ == nullptr) return;

  for (const State& state : states_) ops_->zero(state.values.data, state.values.bytes());
  ops_->zero(scalars_.data, scalars_.bytes());
  std::vector<ParameterSegment> segments;
  for (const OptimizedTensor& tensor : tensors_) {
    const bool decay = config_.decay == DecayMode::decoupled && decays(tensor);
    segments.push_back(
        {tensor.offset, tensor.shape.rows(), tensor.shape.back(), 1.0f, decay ? static_cast<float>(config_.weight_decay) : 0.0f});
  }
  ops_->copy_to_device(segments_.data, segments.data(), segments.size() * sizeof(ParameterSegment));
  ops_->synchronize();
}

TensorView Optimizer::loss() const { return {static_cast<char*>(scalars_.data) + offsetof(StepScalars, loss), DType::f32, {1}}; }

double Optimizer::learning_rate(std::int64_t k) const { return config_.learning_rate * schedule_.multiplier(k); }

void Optimizer::begin_step(std::int64_t k) {
  const double t = static_cast<double>(k + 1);
  StepScalars begun{};
  begun.learning_rate = static_cast<float>(learning_rate(k));
  begun.schedule = static_cast<float>(schedule_.multiplier(k));
  begun.bias_correction1 = static_cast<float>(1.0 - std::pow(config_.beta1, t));
  begun.bias_correction2 = static_cast<float>(1.0 - std::pow(config_.beta2, t));
  ops_->copy_to_device(scalars_.data, &begun, sizeof(begun));
}

void Optimizer::finish_step() {
  auto* scalars = static_cast<StepScalars*>(scalars_.data);
  ops_->global_norm(buffers_.gradients, static_cast<float>(config_.grad_clip), scalars);
  UpdateBuffers buffers;
  buffers.master = buffers_.master.as<float>();
  buffers.gradient = buffers_.gradients.as<float>();
  for (std::size_t i = 0; i < states_.size(); ++i) buffers.state[i] = states_[i].values.as<float>();
  buffers.low_precision = buffers_.low_precision.as<bfloat16>();
  ops_->optimizer_update(rule_, buffers, static_cast<const ParameterSegment*>(segments_.data),
                         static_cast<std::int64_t>(tensors_.size()), scalars);
}

StepScalars Optimizer::finish_read(std::uint64_t read) const {
  static_assert(sizeof(StepScalars) <= Ops::read_bytes);
  StepScalars scalars{};
  ops_->finish_read(read, &scalars, sizeof(scalars));
  return scalars;
}

}  // namespace temper
