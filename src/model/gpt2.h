// GPT-2 (Radford et al. 2019): token and position embeddings, n_layer pre-norm blocks of causal attention and a GELU MLP, a
// final layer norm, and a head tied to the token embedding. Forward and backward pass of one micro-batch.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/device_memory.h"
#include "kernels/ops.h"
#include "model/layers.h"
#include "model/weights.h"

namespace temper {

/// Called in a forward pass before each linear layer of the blocks, with its weight and its input act [R,K].
using LinearObserver = std::function<void(const Parameter& weight, ConstTensorView input)>;

/// Called in a backward pass each time more gradients are final: those from this place of the flat buffer on. The last call is with
/// 0.
using GradientsFinal = std::function<void(std::int64_t from)>;

/// The head works on rows of logits that take so many bytes at a time, or more where there is memory for them.
inline constexpr std::int64_t least_logits_bytes = std::int64_t{256} << 20;

class Gpt2 {
 public:
  /// Takes memory for micro-batches of up to `sequences` x `positions` tokens. With `use` inference there is room for the
  /// forward pass only. With `ops` null only the plan is counted.
  Gpt2(Weights& weights, Weights::Use use, Recompute recompute, std::int64_t sequences, std::int64_t positions, Ops* ops,
       DeviceMemory& memory, std::int64_t most_logits_bytes = least_logits_bytes);

  /// Forward and backward pass of tokens, targets (i32 [B,T] on the device; target -1: ignored).
  /// loss[0] (f32) = or += loss_scale * sum of token losses; gradients, likewise written or accumulated, are those of that sum.
  void forward_backward(ConstTensorView tokens, ConstTensorView targets, float loss_scale, Write write, TensorView loss,
                        const GradientsFinal& final = {});

  /// Forward pass alone. Each token's loss is in token_losses() afterwards.
  void forward_loss(ConstTensorView tokens, ConstTensorView targets, float loss_scale, Write write, TensorView loss);
  /// Rows of logits that the head works on at a time.
  std::int64_t head_rows() const { return logits_.shape[0]; }
  /// f32 [B*T] of the last micro-batch
  ConstTensorView token_losses() const { return now_.losses; }

  /// Forward pass alone; `logits` act [B*T, Vp] on the device. For tests and for looking at a model.
  void forward_logits(ConstTensorView tokens, TensorView logits);

  /// Forward pass alone that shows what goes into the linear layers; what `observer` queues runs in between.
  void forward_observed(ConstTensorView tokens, const LinearObserver& observer);

 private:
  /// What a block needs in its backward pass; it may share some of it with other blocks (Recompute). Act types [R,...] but for the
  /// f32 statistics.
  struct BlockActivations {
    NormOutput ln_1;
    TensorView qkv;              // [R,3C]
    TensorView attention, lse;   // [R,C], [B,H,T]
    TensorView residual_middle;  // [R,C] after attention
    NormOutput ln_2;
    TensorView fc_pre, fc;    // [R,4C] before and after GELU
    TensorView residual_out;  // [R,C] after the MLP
  };

  struct Activations {
    std::vector<BlockActivations> blocks;
    TensorView embedded;  // [R,C], the residual stream's beginning
    NormOutput ln_f;
    TensorView losses;     // f32 [R]
    TensorView dresidual;  // [R,C], gradient of the residual stream
    TensorView dnorm;      // [R,C], gradient at a norm's output or a branch's input
    TensorView dfc, dqkv;  // [R,4C], [R,3C] in the same memory: gradient of the MLP's hidden layer, of qkv
  };

  /// The same memory in the shapes of B sequences of T positions.
  static Activations shaped(Activations activations, std::int64_t B, std::int64_t T);
  void set_batch(ConstTensorView tokens);
  /// [R,W] as attention and embeddings take it, [B,T,W]
  TensorView by_sequence(TensorView rows) const { return rows.reshaped({B_, T_, rows.shape[1]}); }

  void forward(ConstTensorView tokens);
  void observe(const LinearLayer& layer, ConstTensorView x) const;
  /// A block from its first norm's output to GELU's.
  void forward_inside(std::size_t layer);
  /// Brings back what block `layer` did not keep for its backward pass.
  void recompute_block(std::size_t layer);
  TensorView residual_in(std::size_t layer) const { return layer == 0 ? now_.embedded : now_.blocks[layer - 1].residual_out; }
  void head_loss(ConstTensorView targets, float loss_scale, bool with_gradient, Write write, TensorView loss);
  void backward(ConstTensorView tokens, Write write, const GradientsFinal& final);
  void backward_block(std::size_t layer, Write write);

  const Weights& weights_;
  Gpt2Layers layers_;
  Recompute recompute_;
  Ops* ops_;
  std::int64_t max_sequences_, max_positions_;
  std::int64_t B_ = 0, T_ = 0;  // of the micro-batch at hand
  const LinearObserver* observer_ = nullptr;

  Activations taken_;  // for the largest micro-batch
  Activations now_;    // for the one at hand
  TensorView logits_;  // [chunk,Vp], reused for every chunk of rows

  // Of each block's ranges.
  std::vector<std::string> forward_names_, backward_names_;
};

/// How many of `rows` rows of logits the head works on at a time: as few chunks as `most_bytes` allow, alike in size, whole multiples
/// of 64 rows.
std::int64_t head_chunk_rows(const ModelConfig& config, DType activation_type, std::int64_t rows,
                             std::int64_t most_bytes = least_logits_bytes);

/// What training these weights on micro-batches of `sequences` x n_ctx tokens asks of a device.
Workload workload_of(const Weights& weights, std::int64_t sequences, std::int64_t head_rows, std::int64_t segments);

}  // namespace temper
