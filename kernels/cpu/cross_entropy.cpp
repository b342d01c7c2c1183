#include "kernels/cpu/isa_kernels.h"

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"

namespace temper::cpu {

void CpuOps::run(const op::CrossEntropy& args) {
  const CrossEntropyKernels& kernels = cross_entropy_kernels();
  const std::int64_t of_thread = kernels.scratch_floats(args.vocab_size);
  float* const scratch = workspace_.floats(of_thread * omp_get_max_threads());
  parallel_blocks(args.logits.shape.rows(), rows_per_block(args.logits.shape.back()), [&](std::int64_t first, std::int64_t last) {
    kernels.rows(args, first, last, scratch + of_thread * omp_get_thread_num());
  });
}

}  // namespace temper::cpu
