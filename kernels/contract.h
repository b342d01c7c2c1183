// What kernels/ops.h demands of arguments, checked in one place for every backend. Each function takes the arguments of the
// Ops method of the same name that can be wrong, and throws ContractViolation naming the operation, the tensor, what it is
// and what it should be. Values in device memory (token ids, targets) are not looked at.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/ops.h"

namespace temper::contract {

void cast(ConstTensorView from, ConstTensorView to);
/// A read of `bytes`; finish_read: number `read` when `started` reads were started.
void start_read(std::size_t bytes);
void finish_read(std::uint64_t read, std::uint64_t started, std::size_t bytes);
void register_weight(ConstTensorView weight);
void embedding_forward(ConstTensorView tokens, ConstTensorView wte, ConstTensorView wpe, std::int64_t first_position,
                       ConstTensorView out);
void embedding_backward(ConstTensorView dout, ConstTensorView tokens, ConstTensorView dwte, ConstTensorView dwpe);
void layernorm_forward(ConstTensorView x, ConstTensorView gamma, ConstTensorView beta, ConstTensorView out, ConstTensorView mean,
                       ConstTensorView rstd);
void residual_layernorm_forward(ConstTensorView x, ConstTensorView residual, ConstTensorView gamma, ConstTensorView beta,
                                ConstTensorView sum, ConstTensorView out, ConstTensorView mean, ConstTensorView rstd);
void layernorm_backward(ConstTensorView dout, ConstTensorView x, ConstTensorView gamma, ConstTensorView mean, ConstTensorView rstd,
                        ConstTensorView dresidual, ConstTensorView dx, ConstTensorView dgamma, ConstTensorView dbeta);
void linear_forward(ConstTensorView x, ConstTensorView weight, ConstTensorView bias, Epilogue epilogue, ConstTensorView y,
                    ConstTensorView pre);
void gelu(ConstTensorView pre, ConstTensorView y);
void linear_backward_input(ConstTensorView dy, ConstTensorView weight, ConstTensorView pre, ConstTensorView dx);
void linear_backward_weight(ConstTensorView dy, ConstTensorView x, ConstTensorView dw, ConstTensorView dbias);
void attention_forward(ConstTensorView qkv, std::int64_t n_head, ConstTensorView out, ConstTensorView lse);
void attention_backward(ConstTensorView dout, ConstTensorView qkv, ConstTensorView out, ConstTensorView lse, std::int64_t n_head,
                        ConstTensorView dqkv);
void attention_cached(ConstTensorView qkv, std::int64_t n_head, std::int64_t start, ConstTensorView key_cache,
                      ConstTensorView value_cache, ConstTensorView out);
void cross_entropy(ConstTensorView logits, ConstTensorView targets, std::int64_t vocab_size, ConstTensorView losses);
void sum(ConstTensorView x, ConstTensorView out);
void global_norm(ConstTensorView gradients, float max_norm, const StepScalars* scalars);
// Segments lie in device memory: what is in them is the caller's to get right (the CPU backend looks all the same).
void tensor_moments(const float* gradient, const ParameterSegment* segments, std::int64_t segment_count, const TensorMoments* out);
/// `smoothed` may be null when no rate is corrected.
void tensor_scales(const ScaleSettings& settings, const TensorMoments* moments, const ParameterSegment* segments,
                   std::int64_t segment_count, const StepScalars* scalars, const float* smoothed, const TensorScale* scales);
void add_decay_gradient(const UpdateBuffers& buffers, const ParameterSegment* segments, std::int64_t segment_count,
                        const StepScalars* scalars);
void optimizer_update(const UpdateRule& rule, const UpdateSettings& settings, const UpdateBuffers& buffers,
                      const ParameterSegment* segments, std::int64_t segment_count, const StepScalars* scalars);
void normalize(ConstTensorView x, ConstTensorView out);
void linear_combination(ConstTensorView x, ConstTensorView y, ConstTensorView out);
void update_statistics(const float* before, const float* after, const ParameterSegment* segments, std::int64_t segment_count,
                       const StepScalars* scalars, const UpdateStatistics* out);
void precondition(ConstTensorView x, ConstTensorView second_moment, ConstTensorView out);
void histogram(ConstTensorView x, ConstTensorView counts);

}  // namespace temper::contract
