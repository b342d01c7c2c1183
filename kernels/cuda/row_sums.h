// Sums over rows, in two stages: the first leaves partial rows, a number of them that depends on shapes alone.
#pragma once

#include <device/runtime.h>
#include "kernels/cuda/workspace.h"
#include "kernels/ops.h"

namespace temper::TEMPER_BACKEND {

/// Where a matmul cannot carry it in its epilogue: dbias[N] (f32) = or += sum over rows of dy act [R,N], in a fixed order.
void bias_gradient(ConstTensorView dy, TensorView dbias, Write write, Workspace& workspace, Stream& stream);

/// What bias_gradient takes of the workspace.
std::size_t bias_gradient_scratch_bytes(std::int64_t rows, std::int64_t columns);

/// out[columns] = or += sum over `count` partial rows, in a fixed order; `partials` is [count,columns]. With `second_out` the
/// `count` rows that follow are summed into it in the same way.
void sum_partial_rows(const float* partials, std::int64_t count, std::int64_t columns, float* out, float* second_out, Write write,
                      Stream& stream);

}  // namespace temper::TEMPER_BACKEND
