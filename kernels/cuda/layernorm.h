// Layer norms, with and without the residual sum before them. Arguments as the methods of Ops, checked already.
#pragma once

#include <device/runtime.h>
#include "kernels/cuda/workspace.h"
#include "kernels/ops.h"

namespace temper::TEMPER_BACKEND {

/// Without `residual` (then `sum` is absent too): Ops::layernorm_forward; with it: Ops::residual_layernorm_forward.
void layernorm_forward(ConstTensorView x, ConstTensorView residual, ConstTensorView gamma, ConstTensorView beta, TensorView sum,
                       TensorView out, TensorView mean, TensorView rstd, Stream& stream);
void layernorm_backward(ConstTensorView dout, ConstTensorView x, ConstTensorView gamma, ConstTensorView mean, ConstTensorView rstd,
                        ConstTensorView dresidual, TensorView dx, TensorView dgamma, TensorView dbeta, Write write,
                        Workspace& workspace, Stream& stream);

/// What layernorm_backward takes of the workspace.
std::size_t layernorm_backward_scratch_bytes(std::int64_t rows, std::int64_t n_embd);

}  // namespace temper::TEMPER_BACKEND
