// Averages of weights that are evaluated and saved: Schedule-Free's, and an exponential one beside any other rule.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/device_memory.h"
#include "kernels/ops.h"
#include "optim/shards.h"

namespace temper {

/// What lets the model read other weights than those that are trained.
class ShownWeights {
 protected:
  ShownWeights() = default;
  ShownWeights(const OptimizedBuffers& buffers, Ops* ops) : buffers_(buffers), ops_(ops) {}

  void put(TensorView weights) {
    copy(buffers_.master, weights);
    if (buffers_.low_precision.present()) ops_->cast({.from = buffers_.master, .to = buffers_.low_precision});
  }
  void copy(TensorView to, TensorView from) { ops_->copy(to.data, from.data, from.bytes()); }

  OptimizedBuffers buffers_;
  Ops* ops_ = nullptr;
};

/// Which weights the model reads under Schedule-Free (Defazio et al., arXiv 2405.15682): y, where gradients are taken, or x, the
/// average that is evaluated and saved. While x is shown, y lies in the gradients' memory. Without an average (all other rules) the
/// weights are always the same ones, and nothing here does anything.
class WeightAverage : ShownWeights {
 public:
  WeightAverage() = default;
  /// z and x: the rule's states, f32, as large as the master weights.
  WeightAverage(const OptimizedBuffers& buffers, TensorView z, TensorView x, Ops* ops) : ShownWeights(buffers, ops), z_(z), x_(x) {}

  bool exists() const { return ops_ != nullptr; }
  /// Puts what is to be evaluated and saved where the model reads it, until the next step begins.
  void show() {
    if (!exists() || shown_) return;
    start();
    copy(buffers_.gradients, buffers_.master);
    put(x_);
    shown_ = true;
  }
  /// Puts the weights back at which gradients are taken, bit for bit.
  void hide() {
    if (!exists()) return;
    if (shown_) put(buffers_.gradients);
    shown_ = false;
    start();
  }
  /// Call after weights and states, which hold y in place of x, were set from a checkpoint.
  void restored() {
    if (!exists()) return;
    copy(x_, buffers_.master);
    started_ = shown_ = true;
  }

 private:
  /// z and x begin where the weights are, which is known at the first step only.
  void start() {
    if (started_) return;
    copy(z_, buffers_.master);
    copy(x_, buffers_.master);
    started_ = true;
  }

  TensorView z_, x_;
  bool started_ = false, shown_ = false;
};

/// Exponential moving average of the weights w_1, w_2, ... after updates 1, 2, ...:
///   a_t = a_{t-1} + (1-b)/(1-b^t) (w_t - a_{t-1}),
/// their mean in which each counts b to the power of its age. Nothing of the initial weights is in it, so it needs no correction.
/// While it is shown, the weights lie in the gradients' memory: between steps alone. Every rank has all of it.
class MovingAverage : ShownWeights {
 public:
  /// Takes the memory; with `ops` null only the plan is counted. `decay` is b.
  MovingAverage(double decay, const OptimizedBuffers& buffers, Ops* ops, DeviceMemory& memory)
      : ShownWeights(buffers, ops), decay_(decay), values_(memory.add("average of weights", DType::f32, buffers.master.shape)) {}

  /// After update number `updates`, from 1.
  void follow(std::int64_t updates) {
    if (updates == 1) return take();
    const double share = (1.0 - decay_) / -std::expm1(static_cast<double>(updates) * std::log(decay_));
    const auto kept = static_cast<float>(1.0 - share);
    const auto taken = static_cast<float>(1.0 - static_cast<double>(kept));  // so that the two make 1
    ops_->linear_combination({.a = kept, .x = values_, .b = taken, .y = buffers_.master, .out = values_});
  }
  /// Begins with the weights as they are, or as they were loaded from its own file.
  void take() { copy(values_, buffers_.master); }
  void show() {
    copy(buffers_.gradients, buffers_.master);
    put(values_);
  }
  void hide() { put(buffers_.gradients); }
  ConstTensorView values() const { return values_; }

 private:
  double decay_;
  TensorView values_;
};

}  // namespace temper
