// Sums in two stages over a grid that depends on the size alone, so that the order of additions does too.
#pragma once

#include <device/runtime.h>
#include "kernels/cuda/workspace.h"
#include "kernels/ops.h"

namespace temper::TEMPER_BACKEND {

/// See Ops.
void sum(ConstTensorView x, float scale, Write write, TensorView out, Workspace& workspace, Stream& stream);
void global_norm(ConstTensorView gradients, float max_norm, StepScalars* scalars, Workspace& workspace, Stream& stream);
void normalize(ConstTensorView x, TensorView out, Workspace& workspace, Stream& stream);

/// What each takes of the workspace.
std::size_t reduction_scratch_bytes();

}  // namespace temper::TEMPER_BACKEND
