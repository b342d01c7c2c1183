// GELU by itself, for activations that are computed again instead of kept. Arguments are checked by the caller.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa_table.h"
#include "kernels/tensor.h"

namespace temper::cpu {

/// As Ops::gelu.
void gelu(ConstTensorView pre, TensorView y);

// ---- what is compiled per instruction set --------------------------------------------------------------------------

struct GeluKernels {
  void (*f32)(const float* pre, float* y, std::int64_t count);
  void (*bf16)(const bfloat16* pre, bfloat16* y, std::int64_t count);
};

TEMPER_ISA_TABLE(GeluKernels, gelu_kernels)

}  // namespace temper::cpu
