// Softmax, cross-entropy and its gradient in one pass. Arguments as Ops::cross_entropy, checked already.
#pragma once

#include <device/runtime.h>
#include "kernels/cuda/workspace.h"
#include "kernels/ops.h"

namespace temper::TEMPER_BACKEND {

void cross_entropy(TensorView logits, ConstTensorView targets, std::int64_t vocab_size, float gradient_scale, TensorView losses,
                   Stream& stream);

}  // namespace temper::TEMPER_BACKEND
