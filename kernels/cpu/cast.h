// Copies, zeros and conversions between f32 and bf16, at memory speed. Arguments are checked by the caller.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/isa_table.h"
#include "kernels/tensor.h"

namespace temper::cpu {

void copy_bytes(void* to, const void* from, std::size_t bytes);
void zero_bytes(void* to, std::size_t bytes);
/// As Ops::cast.
void cast(ConstTensorView from, TensorView to);

// ---- what is compiled per instruction set --------------------------------------------------------------------------

struct CastKernels {
  void (*to_bf16)(const float* from, bfloat16* to, std::int64_t count);
  void (*to_f32)(const bfloat16* from, float* to, std::int64_t count);
};

TEMPER_ISA_TABLE(CastKernels, cast_kernels)

}  // namespace temper::cpu
