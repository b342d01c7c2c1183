// Conversion between f32 and bf16, and plain copies between equal types.
#pragma once

#include <device/runtime.h>
#include "kernels/cuda/workspace.h"
#include "kernels/ops.h"

namespace temper::TEMPER_BACKEND {

/// See Ops.
void cast(ConstTensorView from, TensorView to, Stream& stream);

}  // namespace temper::TEMPER_BACKEND
