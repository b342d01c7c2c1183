#include "kernels/cpu/isa_kernels.h"

#include <algorithm>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/host_device.h"

namespace temper::cpu {

namespace {

// Enough parts for any processor's cores, few enough that adding them up costs little beside the rows themselves.
constexpr std::int64_t most_parts = 128;
constexpr std::int64_t fewest_rows_per_part = 16;

}  // namespace

void CpuOps::run(const op::LayernormForward& args) {
  const LayernormKernels& kernels = layernorm_kernels();
  parallel_blocks(args.x.shape.rows(), rows_per_block(args.x.shape.back()),
                  [&](std::int64_t first, std::int64_t last) { kernels.forward(args, first, last); });
}

void CpuOps::run(const op::LayernormBackward& args) {
  const std::int64_t rows = args.x.shape.rows();
  const std::int64_t columns = args.x.shape.back();
  const LayernormKernels& kernels = layernorm_kernels();

  const std::int64_t rows_per_part = std::max(fewest_rows_per_part, ceil_div(rows, most_parts));
  const std::int64_t part_count = ceil_div(rows, rows_per_part);
  float* parts = workspace_.floats(part_count * 2 * columns);
  parallel_blocks(rows, rows_per_part, [&](std::int64_t first, std::int64_t last) {
    float* part = parts + first / rows_per_part * 2 * columns;
    kernels.backward(args, first, last, part, part + columns);
  });

  const bool accumulate = args.write == Write::accumulate;
  parallel_ranges(columns, 64, part_count * columns, [&](std::int64_t first, std::int64_t last) {
    kernels.add_parts(parts + first, part_count, 2 * columns, accumulate, args.dgamma.as<float>() + first, last - first);
    if (args.dbeta.present())
      kernels.add_parts(parts + columns + first, part_count, 2 * columns, accumulate, args.dbeta.as<float>() + first, last - first);
  });
}

}  // namespace temper::cpu
