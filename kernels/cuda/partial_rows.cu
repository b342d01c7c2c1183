#include "kernels/cuda/partial_rows.h"

#include <device/primitives.cuh>

namespace temper::TEMPER_BACKEND {

namespace {

constexpr int warps = 16;  // each sums its share of the rows for 32 columns

// Block (x, y): columns 32 x and the next 31 of sum y.
__global__ void __launch_bounds__(warps * 32)
    sum_partial_rows_kernel(const float* partials, std::int64_t count, std::int64_t columns, float* out, float* second_out,
                            bool accumulate) {
  TEMPER_SHARED(float, shares, [warps][32]);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * 32 + lane;
  const std::int64_t share = (count + warps - 1) / warps;
  const std::int64_t first = warp * share, last = min(first + share, count);

  float sum = 0.0f;
  if (column < columns) {
    const float* from = partials + blockIdx.y * count * columns + column;
#pragma unroll 8
    for (std::int64_t row = first; row < last; ++row) sum += from[row * columns];
  }
  shares[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || column >= columns) return;

  float total = 0.0f;
#pragma unroll
  for (int i = 0; i < warps; ++i) total += shares[i][lane];
  float* to = (blockIdx.y == 0 ? out : second_out) + column;
  *to = accumulate ? *to + total : total;
}

}  // namespace

void sum_partial_rows(const float* partials, std::int64_t count, std::int64_t columns, float* out, float* second_out, Write write,
                      Stream& stream) {
  const LaunchShape shape = {dim3(static_cast<unsigned>((columns + 31) / 32), second_out != nullptr ? 2 : 1), dim3(warps * 32)};
  launch("sum_partial_rows", sum_partial_rows_kernel, shape, stream, partials, count, columns, out, second_out,
         write == Write::accumulate);
}

}  // namespace temper::TEMPER_BACKEND
