// Causal attention on packed qkv. Arguments as the methods of Ops with these names, checked already.
#pragma once

#include <device/runtime.h>
#include "kernels/cuda/workspace.h"
#include "kernels/ops.h"

namespace temper::TEMPER_BACKEND {

void attention_forward(ConstTensorView qkv, std::int64_t n_head, TensorView out, TensorView lse, Stream& stream);
void attention_backward(ConstTensorView dout, ConstTensorView qkv, ConstTensorView out, ConstTensorView lse, std::int64_t n_head,
                        TensorView dqkv, Workspace& workspace, Stream& stream);
void attention_cached(ConstTensorView qkv, std::int64_t n_head, std::int64_t start, TensorView key_cache, TensorView value_cache,
                      TensorView out, Workspace& workspace, Stream& stream);

/// What attention_backward takes of the workspace.
std::size_t attention_backward_scratch_bytes(std::int64_t sequences, std::int64_t positions, std::int64_t n_embd,
                                             std::int64_t n_head);

}  // namespace temper::TEMPER_BACKEND
