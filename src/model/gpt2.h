// GPT-2 (Radford et al. 2019): token and position embeddings, n_layer pre-norm blocks of causal attention and a GELU MLP, a
// final layer norm, and a head tied to the token embedding. Forward and backward pass of one micro-batch.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/device_memory.h"
#include "kernels/ops.h"
#include "model/weights.h"

namespace temper {

/// One layer norm's parameters; `bias` is null without biases.
struct NormParameters {
  const Parameter* weight = nullptr;
  const Parameter* bias = nullptr;
};

/// One linear layer's parameters; `bias` is null without biases.
struct LinearParameters {
  const Parameter* weight = nullptr;
  const Parameter* bias = nullptr;

  /// Epilogue::bias wants a bias; without one there is nothing to add.
  Epilogue epilogue() const { return bias == nullptr ? Epilogue::none : Epilogue::bias; }
};

struct BlockParameters {
  NormParameters ln_1;
  LinearParameters c_attn;
  LinearParameters attn_proj;
  NormParameters ln_2;
  LinearParameters c_fc;
  LinearParameters mlp_proj;
};

/// All parameters by their place in the model instead of by name.
struct Gpt2Parameters {
  explicit Gpt2Parameters(const ParameterLayout& layout);
  const Parameter* wte;
  const Parameter* wpe;
  std::vector<BlockParameters> blocks;
  NormParameters ln_f;
};

/// Called in a forward pass before each linear layer of the blocks, with its weight and its input act [R,K].
using LinearObserver = std::function<void(const Parameter& weight, ConstTensorView input)>;

/// Called in a backward pass each time more gradients are final: those from this place of the flat buffer on. The last call is with
/// 0.
using GradientsFinal = std::function<void(std::int64_t from)>;

class Gpt2 {
 public:
  /// Takes memory for micro-batches of up to `sequences` x `positions` tokens. With `use` inference there is room for the
  /// forward pass only. With `ops` null only the plan is counted.
  Gpt2(Weights& weights, Weights::Use use, Recompute recompute, std::int64_t sequences, std::int64_t positions, Ops* ops,
       DeviceMemory& memory);

  /// Forward and backward pass of tokens, targets (i32 [B,T] on the device; target -1: ignored).
  /// loss[0] (f32) = or += loss_scale * sum of token losses; gradients, likewise written or accumulated, are those of that sum.
  void forward_backward(ConstTensorView tokens, ConstTensorView targets, float loss_scale, Write write, TensorView loss,
                        const GradientsFinal& final = {});

  /// Forward pass alone. Each token's loss is in token_losses() afterwards.
  void forward_loss(ConstTensorView tokens, ConstTensorView targets, float loss_scale, Write write, TensorView loss);
  /// f32 [B*T]
  ConstTensorView token_losses() const { return losses_; }

  /// Forward pass alone; `logits` act [B*T, Vp] on the device. For tests and for looking at a model.
  void forward_logits(ConstTensorView tokens, TensorView logits);

  /// Forward pass alone that shows what goes into the linear layers; what `observer` queues runs in between.
  void forward_observed(ConstTensorView tokens, const LinearObserver& observer);

 private:
  /// What a block needs in its backward pass; it may share some of it with other blocks (Recompute). Act types [R,...] but for the
  /// f32 statistics.
  struct BlockActivations {
    TensorView ln_1, ln_1_mean, ln_1_rstd;  // [R,C], [R], [R]
    TensorView qkv;                         // [R,3C]
    TensorView attention, lse;              // [R,C], [B,H,T]
    TensorView residual_middle;             // [R,C] after attention
    TensorView ln_2, ln_2_mean, ln_2_rstd;
    TensorView fc_pre, fc;    // [R,4C] before and after GELU
    TensorView residual_out;  // [R,C] after the MLP
  };

  void forward(ConstTensorView tokens);
  /// y = epilogue(x W^T + bias), seen by the observer if there is one.
  void linear(const LinearParameters& parameters, Epilogue epilogue, ConstTensorView x, TensorView y, TensorView pre = {});
  /// A block from its first norm's output to GELU's.
  void forward_inside(std::size_t layer);
  void norm_of_input(std::size_t layer);
  /// Brings back what block `layer` did not keep for its backward pass.
  void recompute_block(std::size_t layer);
  TensorView residual_in(std::size_t layer) const;
  void head_loss(ConstTensorView targets, float loss_scale, bool with_gradient, Write write, TensorView loss);
  void backward(ConstTensorView tokens, Write write, const GradientsFinal& final);
  void backward_block(std::size_t layer, Write write);

  TensorView rows(TensorView full, Shape shape) const { return {full.data, full.dtype, shape}; }
  void set_batch(ConstTensorView tokens);

  ConstTensorView value(const Parameter* parameter) const;
  TensorView gradient(const Parameter* parameter) const;

  Weights& weights_;
  Gpt2Parameters parameters_;
  Recompute recompute_;
  Ops* ops_;
  std::int64_t max_sequences_, max_positions_;
  std::int64_t B_ = 0, T_ = 0;  // of the micro-batch at hand
  const LinearObserver* observer_ = nullptr;

  std::vector<BlockActivations> blocks_;
  TensorView embedded_;  // [R,C], the residual stream's beginning
  TensorView branch_;    // [R,C], a block's output before it joins the residual stream
  TensorView ln_f_, ln_f_mean_, ln_f_rstd_;
  TensorView logits_;  // [chunk,Vp], reused for every chunk of rows
  TensorView losses_;  // f32 [R]

  TensorView dresidual_;  // [R,C], gradient of the residual stream
  TensorView dnorm_;      // [R,C], gradient at a norm's output or a branch's input
  TensorView dwide_;      // [R,4C], gradient of the MLP's hidden layer or of qkv
};

/// Rows of logits the head works on at a time, so that the largest activation stays bounded whatever the micro-batch.
std::int64_t head_chunk_rows(const ModelConfig& config, DType activation_type, std::int64_t rows);

}  // namespace temper
