// An optimizer of three small tensors and its diagnostics, and vectors in double to hold them against.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <vector>

#include "optim/diagnostics.h"

namespace temper {

using Vector = std::vector<double>;

inline double dot(const Vector& a, const Vector& b) { return std::inner_product(a.begin(), a.end(), b.begin(), 0.0); }
inline double norm(const Vector& a) { return std::sqrt(dot(a, a)); }
inline Vector sum(const Vector& a, const Vector& b, double factor) {
  Vector out = a;
  for (std::size_t i = 0; i < a.size(); ++i) out[i] += factor * b[i];
  return out;
}
inline double angle_between(const Vector& a, const Vector& b) {
  Vector across = sum(a, b, -dot(a, b) / dot(b, b));  // a without its part along b
  return std::atan2(norm(across), dot(a, b) / norm(b));
}

inline OptimizerConfig adamw() {
  OptimizerConfig config;
  config.learning_rate = 0.01;
  config.grad_clip = 0.0;
  return config;
}

/// A packed qkv weight [12,4] in block 0, a matrix [6,8] in block 1, a vector [5] outside; 256 elements with padding.
class Problem {
 public:
  explicit Problem(const OptimizerConfig& config)
      : ops_(make_cpu_ops()),
        memory_(ops_.get()),
        buffers_{memory_.add("test", DType::f32, {flat}), memory_.add("test", DType::f32, {flat}), {}},
        half_(memory_.add("test", DType::f32, {flat})),
        optimizer(config, Schedule({.name = ScheduleName::constant}, 1000, 1), tensors(), buffers_, ops_.get(), memory_),
        diagnostics(optimizer, 96, ops_.get(), memory_) {
    ops_->zero(buffers_.gradients.data, buffers_.gradients.bytes());
    ops_->zero(buffers_.master.data, buffers_.master.bytes());
    for (const OptimizedTensor& tensor : tensors()) set(buffers_.master, tensor, 0.5);
  }

  static std::vector<OptimizedTensor> tensors() {
    return {{"transformer.h.0.attn.c_attn.weight", {12, 4}, 0, ParameterKind::matrix, 0, 3},
            {"transformer.h.1.mlp.c_fc.weight", {6, 8}, 64, ParameterKind::matrix, 1, 1},
            {"transformer.ln_f.weight", {5}, 128, ParameterKind::layernorm, -1, 1}};
  }

  /// Random numbers of this deviation, the same on each run of the test.
  void set(TensorView into, const OptimizedTensor& tensor, double deviation) {
    std::normal_distribution<float> numbers(0.0f, static_cast<float>(deviation));
    std::vector<float> values(static_cast<std::size_t>(tensor.shape.numel()));
    for (float& value : values) value = numbers(random_);
    ops_->copy_to_device(into.as<float>() + tensor.offset, values.data(), values.size() * sizeof(float));
  }
  void new_gradients() {
    for (const OptimizedTensor& tensor : tensors()) set(buffers_.gradients, tensor, 1.0);
    gradients_ = read(buffers_.gradients, 0, flat);
  }
  /// Weights, gradients and the rule's states.
  void become(const Problem& other) {
    const auto copy = [&](TensorView to, TensorView from) {
      std::vector<char> bytes(from.bytes());
      other.ops_->copy_to_host(bytes.data(), from.data, bytes.size());
      ops_->copy_to_device(to.data, bytes.data(), bytes.size());
    };
    copy(buffers_.master, other.buffers_.master);
    copy(buffers_.gradients, other.buffers_.gradients);
    optimizer.average().hide();  // what begins as a copy of the weights does so now
    const std::vector<TensorView>&to = optimizer.flat_states(), &from = other.optimizer.flat_states();
    for (std::size_t i = 0; i < from.size(); ++i) copy(to[i], from[i]);
  }
  /// Of 3 and 5 sequences; the first half's part is somewhat like 3/8 of the whole.
  void new_halves() {
    new_gradients();
    std::vector<float> part(static_cast<std::size_t>(flat));
    ops_->copy_to_host(part.data(), buffers_.gradients.data, part.size() * sizeof(float));
    std::normal_distribution<float> numbers(0.375f, 0.2f);
    for (float& one : part) one *= numbers(random_);
    ops_->copy_to_device(half_.data, part.data(), part.size() * sizeof(float));
    halves = {half_, 3, 5};
  }

  StepDiagnostics step(std::int64_t k) {
    optimizer.begin_step(k);
    const float loss = 1.0f;
    ops_->copy_to_device(optimizer.loss().data, &loss, sizeof(loss));
    diagnostics.before_update(halves);
    if (optimizer.corrects_rates()) optimizer.measure_halves(halves.value());
    optimizer.add_decay_gradient();
    optimizer.finish_step(buffers_.gradients);
    diagnostics.after_update();
    return diagnostics.read(k, averages);
  }

  Vector read(ConstTensorView from, std::int64_t offset, std::int64_t count) {
    std::vector<float> values(static_cast<std::size_t>(count));
    ops_->copy_to_host(values.data(), from.as<float>() + offset, values.size() * sizeof(float));
    return {values.begin(), values.end()};
  }
  Vector weights(std::int64_t offset, std::int64_t count) { return read(buffers_.master, offset, count); }
  /// The last new ones; a measured step leaves others.
  Vector gradients(std::int64_t offset, std::int64_t count) {
    return {gradients_.begin() + offset, gradients_.begin() + offset + count};
  }

  /// By the halves' own means, as shares of their mean square.
  SignalNoise signal_and_noise(std::int64_t offset, std::int64_t count) {
    Vector first = read(half_, offset, count), second = sum(gradients(offset, count), first, -1.0);
    for (double& one : first) one *= 8.0 / 3.0;
    for (double& one : second) one *= 8.0 / 5.0;
    const Vector difference = sum(first, second, -1.0);
    const double squares = (3.0 * dot(first, first) + 5.0 * dot(second, second)) / 8.0;
    return {dot(first, second) / squares, dot(difference, difference) / (1.0 / 3.0 + 1.0 / 5.0) / 8.0 / squares};
  }

  static constexpr std::int64_t flat = 256;

 private:
  std::mt19937 random_{7};
  std::unique_ptr<Ops> ops_;
  DeviceMemory memory_;
  OptimizedBuffers buffers_;
  Vector gradients_;
  TensorView half_;

 public:
  std::optional<BatchHalves> halves;
  Optimizer optimizer;
  Diagnostics diagnostics;
  NoiseAverages averages;
};

// The device sums squares of f32 numbers in double; what differs is that the update itself was rounded to f32, 6e-8 of weights that
// are a hundred times larger than it.
constexpr double rounding = 1e-5;

}  // namespace temper
