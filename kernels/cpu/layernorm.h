// Layer normalisation of the CPU backend, with and without the residual sum before it. Arguments are checked by the caller.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa_table.h"
#include "kernels/cpu/workspace.h"
#include "kernels/ops.h"

namespace temper::cpu {

/// As Ops::residual_layernorm_forward; without `residual`, as Ops::layernorm_forward, and `sum` is not written.
void layernorm_forward(ConstTensorView x, ConstTensorView residual, ConstTensorView gamma, ConstTensorView beta, TensorView sum,
                       TensorView out, TensorView mean, TensorView rstd);

/// As Ops::layernorm_backward. The rows are cut into a number of parts that the shape alone decides; each part sums its share
/// of dgamma and dbeta in `workspace`, and the shares are added in order.
void layernorm_backward(ConstTensorView dout, ConstTensorView x, ConstTensorView gamma, ConstTensorView mean, ConstTensorView rstd,
                        ConstTensorView dresidual, TensorView dx, TensorView dgamma, TensorView dbeta, Write write,
                        Workspace& workspace);

// ---- what is compiled per instruction set --------------------------------------------------------------------------

struct LayernormForward {
  DType type;
  std::int64_t columns;
  const void* x;
  const void* residual;  ///< may be null
  const void* gamma;
  const void* beta;  ///< may be null
  void* sum;
  void* out;
  float* mean;
  float* rstd;
};

struct LayernormBackward {
  DType type;
  std::int64_t columns;
  const void* dout;
  const void* x;
  const void* gamma;
  const float* mean;
  const float* rstd;
  const void* dresidual;  ///< may be null
  void* dx;
};

struct LayernormKernels {
  void (*forward)(const LayernormForward& arguments, std::int64_t first_row, std::int64_t last_row);
  /// Also sets dgamma[columns] and dbeta[columns] to the sums over these rows.
  void (*backward)(const LayernormBackward& arguments, std::int64_t first_row, std::int64_t last_row, float* dgamma, float* dbeta);
  /// to[i] = (accumulate ? to[i] : 0) + parts[0][i] + parts[1][i] + ..., part p starting at parts + p * stride.
  void (*add_parts)(const float* parts, std::int64_t part_count, std::int64_t stride, bool accumulate, float* to,
                    std::int64_t count);
};

TEMPER_ISA_TABLE(LayernormKernels, layernorm_kernels)

}  // namespace temper::cpu
