// Backward attention in one pass over tensor-core tiles, for heads of 32 and 64.
#pragma once

#include "kernels/cuda/attention_layout.cuh"

namespace temper::TEMPER_BACKEND {

inline bool fits_one_pass(const AttentionExtents& extents) { return extents.width <= 64; }

/// Of a call that fits_tiles(); `statistics` is scratch of attention_statistics() floats.
void attention_backward_in_one_pass(ConstTensorView dout, ConstTensorView qkv, ConstTensorView out, ConstTensorView lse,
                                    const AttentionExtents& extents, TensorView dqkv, float* statistics, Stream& stream);

}  // namespace temper::TEMPER_BACKEND
