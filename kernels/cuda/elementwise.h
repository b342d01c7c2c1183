// Operations whose elements have nothing to do with each other. Arguments as in Ops, checked already; gelu as in kernels/ops.h.
#pragma once

#include <device/runtime.h>
#include "kernels/ops.h"

namespace temper::TEMPER_BACKEND {

/// Between f32 and bf16.
void cast(ConstTensorView from, TensorView to, Stream& stream);
void linear_combination(float a, ConstTensorView x, float b, ConstTensorView y, TensorView out, Stream& stream);
void precondition(const PriorScale& scale, ConstTensorView x, ConstTensorView second_moment, TensorView out, Stream& stream);

// GELU and its slope where a matmul cannot carry them in its epilogue; act, equal shapes, on 16-byte boundaries.
/// y = gelu(pre); not in place.
void gelu_forward(ConstTensorView pre, TensorView y, Stream& stream);
/// dx = dx * gelu'(pre) in place.
void gelu_backward(ConstTensorView pre, TensorView dx, Stream& stream);

}  // namespace temper::TEMPER_BACKEND
