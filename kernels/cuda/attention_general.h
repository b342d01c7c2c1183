// Attention in plain f32 arithmetic (no TF32), for f32 tensors and for head sizes and alignments that tensor-core tiles do not
// take.
#pragma once

#include "kernels/cuda/attention_layout.cuh"

namespace temper::TEMPER_BACKEND {

void attention_forward_general(ConstTensorView qkv, const AttentionExtents& extents, TensorView out, TensorView lse,
                               Stream& stream);

/// `deltas` is scratch of pairs * positions floats.
void attention_backward_general(ConstTensorView dout, ConstTensorView qkv, ConstTensorView out, ConstTensorView lse,
                                const AttentionExtents& extents, TensorView dqkv, float* deltas, Stream& stream);

}  // namespace temper::TEMPER_BACKEND
