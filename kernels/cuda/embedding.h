// Token and position embeddings. Arguments as the methods of Ops with these names, checked already.
#pragma once

#include <device/runtime.h>
#include "kernels/cuda/workspace.h"
#include "kernels/ops.h"

namespace temper::TEMPER_BACKEND {

void embedding_forward(ConstTensorView tokens, ConstTensorView wte, ConstTensorView wpe, std::int64_t first_position,
                       TensorView out, Stream& stream);
void embedding_backward(ConstTensorView dout, ConstTensorView tokens, TensorView dwte, TensorView dwpe, Write write_wpe,
                        Workspace& workspace, Stream& stream);

/// What embedding_backward takes of the workspace.
std::size_t embedding_backward_scratch_bytes(std::int64_t tokens, std::int64_t n_embd);

}  // namespace temper::TEMPER_BACKEND
