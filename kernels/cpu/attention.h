// Causal attention of the CPU backend, in cache blocks: never a T x T matrix in memory. Arguments are checked by the caller.
#pragma once

#include "kernels/tensor.h"

namespace temper::cpu {

/// As the methods of Ops with these names.
void attention_forward(ConstTensorView qkv, std::int64_t n_head, TensorView out, TensorView lse);
void attention_backward(ConstTensorView dout, ConstTensorView qkv, ConstTensorView out, ConstTensorView lse, std::int64_t n_head,
                        TensorView dqkv);
void attention_cached(ConstTensorView qkv, std::int64_t n_head, std::int64_t start, TensorView key_cache, TensorView value_cache,
                      TensorView out);

}  // namespace temper::cpu
