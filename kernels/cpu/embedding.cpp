#include "kernels/cpu/embedding.h"

#include "kernels/cpu/parallel.h"

namespace temper::cpu {

void embedding_forward(ConstTensorView tokens, ConstTensorView wte, ConstTensorView wpe, std::int64_t first_position,
                       TensorView out) {
  const std::int64_t columns = out.shape.back();
  const EmbeddingForward arguments = {out.dtype, tokens.shape[1], columns, first_position, tokens.as<std::int32_t>(),
                                      wte.data,  wpe.data,        out.data};
  const EmbeddingKernels& kernels = embedding_kernels();
  parallel_blocks(out.shape.rows(), rows_per_block(columns),
                  [&](std::int64_t first, std::int64_t last) { kernels.forward(arguments, first, last); });
}

void embedding_backward(ConstTensorView dout, ConstTensorView tokens, TensorView dwte, TensorView dwpe, Write write_wpe) {
  const std::int64_t columns = dout.shape.back();
  const EmbeddingBackward arguments = {
      dout.dtype, tokens.shape[0],           tokens.shape[1],  dwpe.shape[0],    columns,
      dout.data,  tokens.as<std::int32_t>(), dwte.as<float>(), dwpe.as<float>(), write_wpe == Write::overwrite};
  const EmbeddingKernels& kernels = embedding_kernels();
  constexpr std::int64_t cache_line = 16;  // floats: threads share none
  parallel_ranges(columns, cache_line, dout.numel(),
                  [&](std::int64_t first, std::int64_t last) { kernels.backward(arguments, first, last); });
}

}  // namespace temper::cpu
