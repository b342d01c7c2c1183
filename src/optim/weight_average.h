// Which weights the model reads under Schedule-Free (Defazio et al., arXiv 2405.15682): y, where gradients are taken, or x, the
// average that is evaluated and saved.
#pragma once

#include "kernels/ops.h"
#include "optim/shards.h"

namespace temper {

/// While x is shown, y lies in the gradients' memory. Without an average (all other rules) the weights are always the same ones,
/// and nothing here does anything.
class WeightAverage {
 public:
  WeightAverage() = default;
  /// z and x: the rule's states, f32, as large as the master weights.
  WeightAverage(const OptimizedBuffers& buffers, TensorView z, TensorView x, Ops* ops)
      : buffers_(buffers), z_(z), x_(x), ops_(ops) {}

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
  void put(TensorView weights) {
    copy(buffers_.master, weights);
    if (buffers_.low_precision.present()) ops_->cast({.from = buffers_.master, .to = buffers_.low_precision});
  }
  void copy(TensorView to, TensorView from) { ops_->copy(to.data, from.data, from.bytes()); }

  OptimizedBuffers buffers_;
  TensorView z_, x_;
  Ops* ops_ = nullptr;
  bool started_ = false, shown_ = false;
};

}  // namespace temper
