#include "kernels/cpu/isa_kernels.h"

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"

namespace temper::cpu {

void CpuOps::run(const op::EmbeddingForward& args) {
  const std::int64_t columns = args.out.shape.back();
  const EmbeddingRows arguments = {
      args.out.dtype, args.tokens.shape[1], columns,      args.first_position, args.tokens.as<std::int32_t>(),
      args.wte.data,  args.wpe.data,        args.out.data};
  const EmbeddingKernels& kernels = embedding_kernels();
  parallel_blocks(args.out.shape.rows(), rows_per_block(columns),
                  [&](std::int64_t first, std::int64_t last) { kernels.forward(arguments, first, last); });
}

void CpuOps::run(const op::EmbeddingBackward& args) {
  const std::int64_t columns = args.dout.shape.back();
  const EmbeddingColumns arguments = {args.dout.dtype,
                                      args.tokens.shape[0],
                                      args.tokens.shape[1],
                                      args.dwpe.shape[0],
                                      columns,
                                      args.dout.data,
                                      args.tokens.as<std::int32_t>(),
                                      args.dwte.as<float>(),
                                      args.dwpe.as<float>(),
                                      args.write_wpe == Write::overwrite};
  const EmbeddingKernels& kernels = embedding_kernels();
  constexpr std::int64_t cache_line = 16;  // floats: threads share none
  parallel_ranges(columns, cache_line, args.dout.numel(),
                  [&](std::int64_t first, std::int64_t last) { kernels.backward(arguments, first, last); });
}

}  // namespace temper::cpu
