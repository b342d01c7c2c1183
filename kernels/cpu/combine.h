// Scaled copies and sums of tensors in the CPU backend. Arguments are checked by the caller.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa_table.h"
#include "kernels/cpu/workspace.h"
#include "kernels/tensor.h"

namespace temper::cpu {

/// As Ops::normalize.
void normalize(ConstTensorView x, TensorView out, Workspace& workspace);
/// As Ops::linear_combination.
void linear_combination(float a, ConstTensorView x, float b, ConstTensorView y, TensorView out);

// ---- what is compiled per instruction set --------------------------------------------------------------------------

struct CombineKernels {
  /// out = x / divisor for elements [first, last); `out` has type `type`.
  void (*divide)(const float* x, float divisor, DType type, void* out, std::int64_t first, std::int64_t last);
  /// out = a x + b y for elements [first, last), all of type `type`.
  void (*combine)(DType type, float a, const void* x, float b, const void* y, void* out, std::int64_t first, std::int64_t last);
};

TEMPER_ISA_TABLE(CombineKernels, combine_kernels)

}  // namespace temper::cpu
