// Sums over long f32 tensors, in double: fixed blocks, each summed by one thread, then added in order.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa_table.h"
#include "kernels/cpu/workspace.h"

namespace temper::cpu {

double sum(const float* values, std::int64_t count, Workspace& workspace);
double sum_of_squares(const float* values, std::int64_t count, Workspace& workspace);

// ---- what is compiled per instruction set --------------------------------------------------------------------------

struct ReduceKernels {
  double (*sum)(const float* values, std::int64_t count);
  double (*sum_of_squares)(const float* values, std::int64_t count);
};

TEMPER_ISA_TABLE(ReduceKernels, reduce_kernels)

}  // namespace temper::cpu
