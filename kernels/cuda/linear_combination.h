// Sums of two tensors. Arguments as in Ops, checked already.
#pragma once

#include <device/runtime.h>
#include "kernels/ops.h"

namespace temper::TEMPER_BACKEND {

void linear_combination(float a, ConstTensorView x, float b, ConstTensorView y, TensorView out, Stream& stream);

}  // namespace temper::TEMPER_BACKEND
