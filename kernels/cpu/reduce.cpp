#include "kernels/cpu/reduce.h"

#include "kernels/cpu/parallel.h"

namespace temper::cpu {

namespace {

double reduce(double (*block_sum)(const float*, std::int64_t), const float* values, std::int64_t count, Workspace& workspace) {
  const std::int64_t blocks = block_count(count, block_elements);
  double* partial = workspace.doubles(blocks);
  parallel_blocks(count, block_elements, [&](std::int64_t first, std::int64_t last) {
    partial[first / block_elements] = block_sum(values + first, last - first);
  });
  double total = 0.0;
  for (std::int64_t i = 0; i < blocks; ++i) total += partial[i];
  return total;
}

}  // namespace

double sum(const float* values, std::int64_t count, Workspace& workspace) {
  return reduce(reduce_kernels().sum, values, count, workspace);
}

double sum_of_squares(const float* values, std::int64_t count, Workspace& workspace) {
  return reduce(reduce_kernels().sum_of_squares, values, count, workspace);
}

}  // namespace temper::cpu
