// Token and position embeddings of the CPU backend. Arguments are checked by the caller, token ids included.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa_table.h"
#include "kernels/ops.h"

namespace temper::cpu {

/// As Ops::embedding_forward.
void embedding_forward(ConstTensorView tokens, ConstTensorView wte, ConstTensorView wpe, std::int64_t first_position,
                       TensorView out);

/// As Ops::embedding_backward. Each thread takes a range of columns and walks all positions in order: nothing to sort, no
/// two threads on one number, and the order of the sums is that of the positions.
void embedding_backward(ConstTensorView dout, ConstTensorView tokens, TensorView dwte, TensorView dwpe, Write write_wpe);

// ---- what is compiled per instruction set --------------------------------------------------------------------------

struct EmbeddingForward {
  DType type;
  std::int64_t sequence_length;
  std::int64_t columns;
  std::int64_t first_position;
  const std::int32_t* tokens;
  const void* wte;
  const void* wpe;
  void* out;
};

struct EmbeddingBackward {
  DType type;
  std::int64_t batch;
  std::int64_t sequence_length;
  std::int64_t context_length;  ///< rows of dwpe
  std::int64_t columns;
  const void* dout;
  const std::int32_t* tokens;
  float* dwte;
  float* dwpe;
  bool overwrite_wpe;
};

struct EmbeddingKernels {
  void (*forward)(const EmbeddingForward& arguments, std::int64_t first_row, std::int64_t last_row);
  void (*backward)(const EmbeddingBackward& arguments, std::int64_t first_column, std::int64_t last_column);
};

TEMPER_ISA_TABLE(EmbeddingKernels, embedding_kernels)

}  // namespace temper::cpu
