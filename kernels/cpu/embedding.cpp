#include "kernels/cpu/isa_kernels.h"

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"

namespace temper::cpu {

void CpuOps::run(const op::EmbeddingForward& args) {
  const EmbeddingKernels& kernels = embedding_kernels();
  parallel_blocks(args.out.shape.rows(), rows_per_block(args.out.shape.back()),
                  [&](std::int64_t first, std::int64_t last) { kernels.forward(args, first, last); });
}

void CpuOps::run(const op::EmbeddingBackward& args) {
  const EmbeddingKernels& kernels = embedding_kernels();
  constexpr std::int64_t cache_line = 16;  // floats: threads share none
  parallel_ranges(args.dout.shape.back(), cache_line, args.dout.numel(),
                  [&](std::int64_t first, std::int64_t last) { kernels.backward(args, first, last); });
}

}  // namespace temper::cpu
