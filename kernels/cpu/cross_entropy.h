// Softmax, cross-entropy and their gradient in place, one row at a time in the second-level cache. Arguments are checked by
// the caller, targets included.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa_table.h"
#include "kernels/ops.h"

namespace temper::cpu {

/// As Ops::cross_entropy.
void cross_entropy(TensorView logits, ConstTensorView targets, std::int64_t vocab_size, float gradient_scale, TensorView losses);

// ---- what is compiled per instruction set --------------------------------------------------------------------------

struct CrossEntropy {
  DType type;
  std::int64_t vocab_size;
  std::int64_t padded_vocab_size;
  float gradient_scale;
  void* logits;
  const std::int32_t* targets;
  float* losses;
};

struct CrossEntropyKernels {
  void (*rows)(const CrossEntropy& arguments, std::int64_t first_row, std::int64_t last_row);
};

TEMPER_ISA_TABLE(CrossEntropyKernels, cross_entropy_kernels)

}  // namespace temper::cpu
