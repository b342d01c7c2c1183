#include "kernels/cuda/families.h"

#include <algorithm>

#include "kernels/cuda/vector.cuh"
#include "kernels/host_device.h"

namespace temper::TEMPER_BACKEND {

namespace {

// ---- a bias's gradient

constexpr int warps = 8;           // of a block; each takes every eighth row of the block's part
constexpr int rows_in_flight = 8;  // loads of a thread that are under way at once

// Block (x, y) sums part y of the rows over the columns that its warps' lanes cover side by side, into row y of `partials`.
template <typename T, int width>
__global__ void __launch_bounds__(warps * 32)
    bias_partials_kernel(const T* dy, std::int64_t rows, std::int64_t columns, std::int64_t rows_per_part, float* partials) {
  TEMPER_SHARED(float, shares, [warps][32 * width]);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const std::int64_t first_column = static_cast<std::int64_t>(blockIdx.x) * 32 * width;
  const std::int64_t column = first_column + lane * width;
  const std::int64_t last = min(blockIdx.y * rows_per_part + rows_per_part, rows);
  std::int64_t row = blockIdx.y * rows_per_part + warp;

  float sums[width] = {};
  if (column < columns) {
    for (; row + (rows_in_flight - 1) * warps < last; row += rows_in_flight * warps) {
      float values[rows_in_flight][width];
#pragma unroll
      for (int k = 0; k < rows_in_flight; ++k) load_elements<width>(dy + (row + k * warps) * columns + column, values[k]);
#pragma unroll
      for (int k = 0; k < rows_in_flight; ++k)
#pragma unroll
        for (int i = 0; i < width; ++i) sums[i] += values[k][i];
    }
    for (; row < last; row += warps) {
      float values[width];
      load_elements<width>(dy + row * columns + column, values);
#pragma unroll
      for (int i = 0; i < width; ++i) sums[i] += values[i];
    }
  }
  store_elements<width>(&shares[warp][lane * width], sums);
  __syncthreads();

  const int offset = static_cast<int>(threadIdx.x);
  if (offset >= 32 * width || first_column + offset >= columns) return;
  float total = 0.0f;
#pragma unroll
  for (int i = 0; i < warps; ++i) total += shares[i][offset];
  partials[blockIdx.y * columns + first_column + offset] = total;
}

template <typename T, int width>
void launch_partials(ConstTensorView dy, std::int64_t parts, float* partials, Stream& stream) {
  const std::int64_t rows = dy.shape.rows(), columns = dy.shape.back();
  const std::int64_t slices = (columns + 32 * width - 1) / (32 * width);
  launch("bias_partials", bias_partials_kernel<T, width>,
         {dim3(static_cast<unsigned>(slices), static_cast<unsigned>(parts)), dim3(warps * 32)}, stream, dy.as<T>(), rows, columns,
         ceil_div(rows, parts), partials);
}

template <typename T>
void gradient(ConstTensorView dy, TensorView dbias, Write write, Workspace& workspace, Stream& stream) {
  const std::int64_t rows = dy.shape.rows(), columns = dy.shape.back();
  const std::int64_t parts = bias_gradient_parts(rows, columns);
  auto* partials = static_cast<float*>(workspace.get(bias_gradient_scratch_bytes(rows, columns)));
  if (rows_of_vectors<T>(columns, {dy.data}))
    launch_partials<T, vector_width<T>>(dy, parts, partials, stream);
  else
    launch_partials<T, 1>(dy, parts, partials, stream);
  sum_partial_rows(partials, parts, columns, dbias.as<float>(), nullptr, write, stream);
}

// ---- partial rows

constexpr int share_warps = 16;  // each sums its share of the rows for 32 columns

// Block (x, y): columns 32 x and the next 31 of sum y.
__global__ void __launch_bounds__(share_warps * 32)
    sum_partial_rows_kernel(const float* partials, std::int64_t count, std::int64_t columns, float* out, float* second_out,
                            bool accumulate) {
  TEMPER_SHARED(float, shares, [share_warps][32]);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * 32 + lane;
  const std::int64_t share = ceil_div(count, share_warps);
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
  for (int i = 0; i < share_warps; ++i) total += shares[i][lane];
  float* to = (blockIdx.y == 0 ? out : second_out) + column;
  *to = accumulate ? *to + total : total;
}

}  // namespace

void bias_gradient(ConstTensorView dy, TensorView dbias, Write write, Workspace& workspace, Stream& stream) {
  with_type(dy.dtype, [&]<typename T>(T) { gradient<T>(dy, dbias, write, workspace, stream); });
}

void sum_partial_rows(const float* partials, std::int64_t count, std::int64_t columns, float* out, float* second_out, Write write,
                      Stream& stream) {
  const LaunchShape shape = {dim3(static_cast<unsigned>((columns + 31) / 32), second_out != nullptr ? 2 : 1),
                             dim3(share_warps * 32)};
  launch("sum_partial_rows", sum_partial_rows_kernel, shape, stream, partials, count, columns, out, second_out,
         write == Write::accumulate);
}

}  // namespace temper::TEMPER_BACKEND
