// GELU and its slope where a matmul cannot carry them in its epilogue. gelu as in kernels/ops.h.
#pragma once

#include <device/runtime.h>
#include "kernels/cuda/workspace.h"
#include "kernels/ops.h"

namespace temper::TEMPER_BACKEND {

/// y = gelu(pre); act, equal shapes; not in place.
void gelu_forward(ConstTensorView pre, TensorView y, Stream& stream);
/// dx = dx * gelu'(pre) in place; act, equal shapes.
void gelu_backward(ConstTensorView pre, TensorView dx, Stream& stream);

}  // namespace temper::TEMPER_BACKEND
