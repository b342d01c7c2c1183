#include "kernels/cpu/layernorm.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"

namespace temper::cpu {

namespace {

// Enough parts for any processor's cores, few enough that adding them up costs little beside the rows themselves.
constexpr std::int64_t most_parts = 128;
constexpr std::int64_t fewest_rows_per_part = 16;

}  // namespace

void layernorm_forward(ConstTensorView x, ConstTensorView residual, ConstTensorView gamma, ConstTensorView beta, TensorView sum,
                       TensorView out, TensorView mean, TensorView rstd) {
  const std::int64_t columns = x.shape.back();
  const LayernormForward arguments = {x.dtype,   columns,  x.data,   residual.data,    gamma.data,
                                      beta.data, sum.data, out.data, mean.as<float>(), rstd.as<float>()};
  const LayernormKernels& kernels = layernorm_kernels();
  parallel_blocks(x.shape.rows(), rows_per_block(columns),
                  [&](std::int64_t first, std::int64_t last) { kernels.forward(arguments, first, last); });
}

void layernorm_backward(ConstTensorView dout, ConstTensorView x, ConstTensorView gamma, ConstTensorView mean, ConstTensorView rstd,
                        ConstTensorView dresidual, TensorView dx, TensorView dgamma, TensorView dbeta, Write write,
                        Workspace& workspace) {
  const std::int64_t rows = x.shape.rows();
  const std::int64_t columns = x.shape.back();
  const LayernormBackward arguments = {x.dtype,          columns,          dout.data,      x.data, gamma.data,
                                       mean.as<float>(), rstd.as<float>(), dresidual.data, dx.data};
  const LayernormKernels& kernels = layernorm_kernels();

  const std::int64_t rows_per_part = std::max(fewest_rows_per_part, block_count(rows, most_parts));
  const std::int64_t part_count = block_count(rows, rows_per_part);
  float* parts = workspace.floats(part_count * 2 * columns);
  parallel_blocks(rows, rows_per_part, [&](std::int64_t first, std::int64_t last) {
    float* part = parts + first / rows_per_part * 2 * columns;
    kernels.backward(arguments, first, last, part, part + columns);
  });

  const bool accumulate = write == Write::accumulate;
  parallel_ranges(columns, 64, part_count * columns, [&](std::int64_t first, std::int64_t last) {
    kernels.add_parts(parts + first, part_count, 2 * columns, accumulate, dgamma.as<float>() + first, last - first);
    if (dbeta.present())
      kernels.add_parts(parts + columns + first, part_count, 2 * columns, accumulate, dbeta.as<float>() + first, last - first);
  });
}

}  // namespace temper::cpu
