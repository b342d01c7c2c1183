#include "kernels/cpu/isa_kernels.h"

#include <cmath>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/host_device.h"

namespace temper::cpu {

namespace {

double reduce(double (*block_sum)(const float*, std::int64_t), const float* values, std::int64_t count, Workspace& workspace) {
  const std::int64_t blocks = ceil_div(count, block_elements);
  double* partial = workspace.doubles(blocks);
  parallel_blocks(count, block_elements, [&](std::int64_t first, std::int64_t last) {
    partial[first / block_elements] = block_sum(values + first, last - first);
  });
  double total = 0.0;
  for (std::int64_t i = 0; i < blocks; ++i) total += partial[i];
  return total;
}

}  // namespace

double CpuOps::sum_of_squares(ConstTensorView x) {
  return reduce(reduce_kernels().sum_of_squares, x.as<float>(), x.numel(), workspace_);
}

void CpuOps::run(const op::Sum& args) {
  const double total = reduce(reduce_kernels().sum, args.x.as<float>(), args.x.numel(), workspace_);
  float* const out = args.out.as<float>();
  const double before = args.write == Write::accumulate ? static_cast<double>(*out) : 0.0;
  *out = static_cast<float>(before + static_cast<double>(args.scale) * total);
}

void CpuOps::run(const op::GlobalNorm& args) {
  StepScalars& scalars = *args.scalars;
  const float norm = static_cast<float>(std::sqrt(sum_of_squares(args.gradients)));
  scalars.gradient_norm = norm;
  scalars.clip_factor = args.max_norm > 0.0f && norm > args.max_norm ? args.max_norm / norm : 1.0f;
  scalars.finite = std::isfinite(norm) && std::isfinite(scalars.loss) ? 1 : 0;
}

}  // namespace temper::cpu
