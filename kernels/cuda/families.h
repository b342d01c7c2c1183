// What the families of operations offer one another: parts that two of them use. Arguments are checked already; sums are in a fixed
// order. What each takes of the workspace stands in kernels/gpu_scratch.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include <device/runtime.h>
#include "kernels/cuda/workspace.h"
#include "kernels/gpu_scratch.h"
#include "kernels/operations.h"

namespace temper::TEMPER_BACKEND {

// ---- GELU and its slope where a matmul cannot carry them in its epilogue; act, equal shapes, on 16-byte boundaries
// (elementwise.cu)

/// y = gelu(pre); not in place.
void gelu_forward(ConstTensorView pre, TensorView y, Stream& stream);
/// dx = dx * gelu'(pre) in place.
void gelu_backward(ConstTensorView pre, TensorView dx, Stream& stream);

// ---- attention: the ways that attention_forward.cu and attention_backward.cu choose from beside their own

struct AttentionExtents;

/// In plain f32 arithmetic (no TF32), for f32 tensors and for head sizes and alignments that tensor-core tiles do not take
/// (attention_general.cu).
void attention_forward_general(ConstTensorView qkv, const AttentionExtents& extents, TensorView out, TensorView lse,
                               Stream& stream);
/// `deltas` is scratch of pairs * positions floats.
void attention_backward_general(ConstTensorView dout, ConstTensorView qkv, ConstTensorView out, ConstTensorView lse,
                                const AttentionExtents& extents, TensorView dqkv, float* deltas, Stream& stream);

/// In one pass over tensor-core tiles, for heads of 32 and 64 (attention_one_pass.cu). Of a call that fits_tiles(); `statistics` is
/// scratch of attention_statistics() floats.
void attention_backward_in_one_pass(ConstTensorView dout, ConstTensorView qkv, ConstTensorView out, ConstTensorView lse,
                                    const AttentionExtents& extents, TensorView dqkv, float* statistics, Stream& stream);

// ---- sums over rows in two stages: the first leaves partial rows, a number of them that depends on shapes alone (row_sums.cu)

/// Where a matmul cannot carry it in its epilogue: dbias[N] (f32) = or += sum over rows of dy act [R,N].
void bias_gradient(ConstTensorView dy, TensorView dbias, Write write, Workspace& workspace, Stream& stream);

/// out[columns] = or += sum over `count` partial rows; `partials` is [count,columns]. With `second_out` the `count` rows that
/// follow are summed into it in the same way.
void sum_partial_rows(const float* partials, std::int64_t count, std::int64_t columns, float* out, float* second_out, Write write,
                      Stream& stream);

// ---- which positions hold which token: a gradient of the token embedding sums without atomics (token_sort.cu)

/// Pairs in order of token, those of one token in order of position. In device memory.
struct SortedTokens {
  const std::int32_t* tokens;
  const std::int32_t* positions;
};

/// Sorts tokens[0 .. count), all of them in [0, vocab_size); `scratch` holds the result and must be
/// token_sort_scratch_bytes(count).
SortedTokens sort_tokens(const std::int32_t* tokens, std::int64_t count, std::int64_t vocab_size, void* scratch, Stream& stream);

// ---- control of norms, the second part of an optimizer update (norm_control.cu)

/// From the directions and sums that the first part left in buffers.gradient and buffers.row_work to the new weights of controlled
/// segments.
void make_controlled_steps(const op::OptimizerUpdate& update, Stream& stream);

}  // namespace temper::TEMPER_BACKEND
