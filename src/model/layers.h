// GPT-2's layers by their place in the model instead of by name: each knows its parameters on the device, and calls the operation
// of kernels/operations.h that it is made of.
#pragma once

#include <vector>

#include "kernels/ops.h"
#include "model/weights.h"

namespace temper {

/// A layer norm's output act [R,C], and f32 [R] that its backward pass reads.
struct NormOutput {
  TensorView out, mean, rstd;
};

struct NormLayer {
  const Parameter* parameter = nullptr;  ///< the gain
  ConstTensorView weight, bias;          ///< bias absent without biases
  TensorView dweight, dbias;             ///< absent in inference

  void forward(Ops& ops, ConstTensorView x, const NormOutput& to) const;
  /// dx = dresidual + the gradient at x, of what forward() left in `from`; dx may be the memory of dresidual.
  void backward(Ops& ops, ConstTensorView dout, ConstTensorView x, const NormOutput& from, ConstTensorView dresidual, TensorView dx,
                Write write) const;
};

struct LinearLayer {
  const Parameter* parameter = nullptr;  ///< the matrix
  ConstTensorView weight, bias;
  TensorView dweight, dbias;

  /// y = the layer's output (+ residual)
  void forward(Ops& ops, ConstTensorView x, TensorView y, ConstTensorView residual = {}) const;
  /// y = gelu(pre), pre = the layer's output; `again`: y is computed once more, by Ops::gelu.
  void forward_gelu(Ops& ops, ConstTensorView x, TensorView pre, TensorView y, bool again) const;
  void backward_weight(Ops& ops, ConstTensorView dy, ConstTensorView x, Write write) const;
  /// With `pre`, x was gelu(pre), and dx is the gradient at `pre`.
  void backward_input(Ops& ops, ConstTensorView dy, TensorView dx, ConstTensorView pre = {}) const;
};

struct BlockLayers {
  NormLayer ln_1;
  LinearLayer c_attn;
  LinearLayer attn_proj;
  NormLayer ln_2;
  LinearLayer c_fc;
  LinearLayer mlp_proj;
};

struct Gpt2Layers {
  explicit Gpt2Layers(const Weights& weights);
  ConstTensorView wpe;
  TensorView dwpe;
  std::vector<BlockLayers> blocks;
  NormLayer ln_f;
  LinearLayer head;  ///< the token embedding, which the head multiplies with
};

}  // namespace temper
