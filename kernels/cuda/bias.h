// The gradient of a bias where a matmul cannot carry it in its epilogue.
#pragma once

#include <device/runtime.h>
#include "kernels/cuda/workspace.h"
#include "kernels/ops.h"

namespace temper::TEMPER_BACKEND {

/// dbias[N] (f32) = or += sum over rows of dy act [R,N], in a fixed order.
void bias_gradient(ConstTensorView dy, TensorView dbias, Write write, Workspace& workspace, Stream& stream);

/// What bias_gradient takes of the workspace.
std::size_t bias_gradient_scratch_bytes(std::int64_t rows, std::int64_t columns);

}  // namespace temper::TEMPER_BACKEND
