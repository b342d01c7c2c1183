// Layer norms of rows that no warp can hold in registers as 16-byte vectors: of any width and on any boundary. A warp passes over
// its row several times, which the caches serve.
#pragma once

#include <device/runtime.h>
#include "kernels/cuda/layernorm_arguments.cuh"
#include "kernels/host_device.h"

namespace temper::TEMPER_BACKEND::layernorm_rows {

inline constexpr int warps = 8;             // of a block, each with a row
inline constexpr int column_threads = 128;  // of a block that sums over rows, each with a column

/// `width` elements of a lane are read at once: one vector, or one element.
template <typename T, int width>
__global__ void __launch_bounds__(warps * 32) layernorm_kernel(LayernormForward<T> a) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * warps + threadIdx.x / 32;
  if (row >= a.rows) return;
  const std::int64_t start = row * a.columns;

  float total = 0.0f;
  for (int column = lane * width; column < a.columns; column += 32 * width) {
    float values[width];
    load_elements<width>(a.x + start + column, values);
#pragma unroll
    for (float value : values) total += value;
  }
  const float mean = warp_reduce(total, Add{}) / static_cast<float>(a.columns);

  float squares = 0.0f;
  for (int column = lane * width; column < a.columns; column += 32 * width) {
    float values[width];
    load_elements<width>(a.x + start + column, values);
#pragma unroll
    for (float value : values) squares += (value - mean) * (value - mean);
  }
  const float rstd = layernorm_rstd(warp_reduce(squares, Add{}), a.columns);
  if (lane == 0) a.mean[row] = mean, a.rstd[row] = rstd;

  for (int column = lane * width; column < a.columns; column += 32 * width) {
    float values[width], gamma[width], beta[width] = {};
    load_elements<width>(a.x + start + column, values);
    load_elements<width>(a.gamma + column, gamma);
    if (a.beta != nullptr) load_elements<width>(a.beta + column, beta);
#pragma unroll
    for (int i = 0; i < width; ++i) values[i] = (values[i] - mean) * rstd * gamma[i] + beta[i];
    store_elements<width>(a.out + start + column, values);
  }
}

template <typename T, int width>
__global__ void __launch_bounds__(warps * 32) backward_input_kernel(LayernormBackward<T> a) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * warps + threadIdx.x / 32;
  if (row >= a.rows) return;
  const std::int64_t start = row * a.columns;
  const float mean = a.mean[row], rstd = a.rstd[row];

  float sum_g = 0.0f, sum_gn = 0.0f;
  for (int column = lane * width; column < a.columns; column += 32 * width) {
    float dout[width], x[width], gamma[width];
    load_elements<width>(a.dout + start + column, dout);
    load_elements<width>(a.x + start + column, x);
    load_elements<width>(a.gamma + column, gamma);
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const float g = dout[i] * gamma[i];
      sum_g += g;
      sum_gn += g * (x[i] - mean) * rstd;
    }
  }
  const float mean_g = warp_reduce(sum_g, Add{}) / static_cast<float>(a.columns);
  const float mean_gn = warp_reduce(sum_gn, Add{}) / static_cast<float>(a.columns);

  for (int column = lane * width; column < a.columns; column += 32 * width) {
    float dout[width], x[width], gamma[width], dx[width] = {};
    load_elements<width>(a.dout + start + column, dout);
    load_elements<width>(a.x + start + column, x);
    load_elements<width>(a.gamma + column, gamma);
    if (a.dresidual != nullptr) load_elements<width>(a.dresidual + start + column, dx);
#pragma unroll
    for (int i = 0; i < width; ++i) dx[i] += (dout[i] * gamma[i] - mean_g - (x[i] - mean) * rstd * mean_gn) * rstd;
    store_elements<width>(a.dx + start + column, dx);
  }
}

// Block (x, y): part y of the rows, summed for the columns that its threads have side by side.
template <typename T>
__global__ void __launch_bounds__(column_threads) backward_partials_kernel(LayernormBackward<T> a, std::int64_t rows_per_part) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * column_threads + threadIdx.x;
  if (column >= a.columns) return;
  const std::int64_t first = blockIdx.y * rows_per_part, last = min(first + rows_per_part, a.rows);
  float dgamma = 0.0f, dbeta = 0.0f;
#pragma unroll 4
  for (std::int64_t row = first; row < last; ++row) {
    const float dout = to_float(a.dout[row * a.columns + column]);
    dgamma += dout * (to_float(a.x[row * a.columns + column]) - a.mean[row]) * a.rstd[row];
    dbeta += dout;
  }
  a.partials[static_cast<std::int64_t>(blockIdx.y) * a.columns + column] = dgamma;
  a.partials[(static_cast<std::int64_t>(a.parts) + blockIdx.y) * a.columns + column] = dbeta;
}

inline LaunchShape row_grid(std::int64_t rows) { return {dim3(static_cast<unsigned>(ceil_div(rows, warps))), dim3(warps * 32)}; }

template <typename T, int width>
void forward(const LayernormForward<T>& a, Stream& stream) {
  launch("layernorm_forward_rows", layernorm_kernel<T, width>, row_grid(a.rows), stream, a);
}

template <typename T, int width>
void backward(const LayernormBackward<T>& a, Stream& stream) {
  const dim3 grid(static_cast<unsigned>(ceil_div(a.columns, column_threads)), static_cast<unsigned>(a.parts));
  launch("layernorm_backward_partials", backward_partials_kernel<T>, {grid, dim3(column_threads)}, stream, a,
         ceil_div(a.rows, a.parts));
  launch("layernorm_backward_rows", backward_input_kernel<T, width>, row_grid(a.rows), stream, a);
}

}  // namespace temper::TEMPER_BACKEND::layernorm_rows
