#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/families.h"
#include "kernels/cuda/layernorm_arguments.cuh"
#include "kernels/cuda/layernorm_rows.cuh"
#include "kernels/host_device.h"

namespace temper::TEMPER_BACKEND {

namespace {

// A warp holds its row in registers, eight elements per lane and chunk: each tensor is read once, and all of a row is under way
// before the first use. Forward, wide rows just take more registers. Backward, where the sums for dgamma and dbeta stay in
// registers too, two warps share a row that is wider than most_backward_chunks.
constexpr int chunk_columns = 256;
constexpr int forward_warps = 8;  // of a block, each with one row
constexpr int most_forward_chunks = 8;
constexpr int backward_warps = layernorm_backward_warps;  // of a block, which goes through many rows
constexpr int most_backward_chunks = 4;
constexpr int widest_row = most_forward_chunks * chunk_columns;

// Of the blocks of layernorm_backward_parts.
template <typename T>
constexpr int backward_blocks_per_multiprocessor(int chunks, int warps_per_row) {
  return sizeof(T) == 2 && chunks * warps_per_row <= 3 ? 4 : 2;
}
static_assert(layernorm_narrow_columns == 3 * chunk_columns);

template <typename T, int chunks>
__global__ void __launch_bounds__(forward_warps * 32) layernorm_kernel(LayernormForward<T> a) {
  constexpr int width = vector_width<T>, vectors = chunks * 8 / width;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * forward_warps + threadIdx.x / 32;
  if (row >= a.rows) return;
  const std::int64_t start = row * a.columns;
  const auto column = [&](int v) { return (v * 32 + lane) * width; };

  RawVector<T> raw[vectors];
#pragma unroll
  for (int v = 0; v < vectors; ++v) raw[v] = raw_vector_streaming(a.x, start + column(v), column(v) < a.columns);

  float values[vectors][width], total = 0.0f;
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    unpack(raw[v], values[v]);
#pragma unroll
    for (float value : values[v]) total += value;
  }
  const float mean = warp_reduce(total, Add{}) / static_cast<float>(a.columns);

  float squares = 0.0f;
#pragma unroll
  for (int v = 0; v < vectors; ++v)
#pragma unroll
    for (float value : values[v]) squares += column(v) < a.columns ? (value - mean) * (value - mean) : 0.0f;
  const float rstd = layernorm_rstd(warp_reduce(squares, Add{}), a.columns);
  if (lane == 0) a.mean[row] = mean, a.rstd[row] = rstd;

#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    float gamma[width], beta[width];
    unpack(raw_vector_constant(a.gamma, column(v), column(v) < a.columns), gamma);
    unpack(raw_vector_constant(a.beta, column(v), a.beta != nullptr && column(v) < a.columns), beta);
#pragma unroll
    for (int i = 0; i < width; ++i) values[v][i] = (values[v][i] - mean) * rstd * gamma[i] + beta[i];
    if (column(v) < a.columns) store_vector(a.out + start + column(v), values[v]);
  }
}

// Sums two numbers over the `warps_per_row` neighbouring warps that share a row. `exchange` is the shared memory of this round; the
// block alternates between two, so that one barrier per round is enough.
template <int warps_per_row>
__device__ __forceinline__ float2 row_reduce(float first, float second, float2 (&exchange)[backward_warps]) {
  float2 sums = {warp_reduce(first, Add{}), warp_reduce(second, Add{})};
  if constexpr (warps_per_row > 1) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    if (threadIdx.x % 32 == 0) exchange[warp] = sums;
    __syncthreads();
    const float2* row = &exchange[warp / warps_per_row * warps_per_row];
    sums = row[0];
#pragma unroll
    for (int i = 1; i < warps_per_row; ++i) sums = {sums.x + row[i].x, sums.y + row[i].y};
  }
  return sums;
}

// Block b takes rows b, b + gridDim.x, ... in groups of as many as it works on at once.
template <typename T, int chunks, int warps_per_row>
__global__ void __launch_bounds__(backward_warps * 32, backward_blocks_per_multiprocessor<T>(chunks, warps_per_row))
    backward_kernel(LayernormBackward<T> a) {
  constexpr int width = vector_width<T>, vectors = chunks * 8 / width, rows_at_once = backward_warps / warps_per_row;
  const int slot = static_cast<int>(threadIdx.x) / (32 * warps_per_row);  // of the rows that the block works on
  const int lane = static_cast<int>(threadIdx.x) % (32 * warps_per_row);  // among the threads that share a row
  const auto column = [&](int v) { return (v * 32 * warps_per_row + lane) * width; };
  TEMPER_SHARED(float2, exchange, [2][backward_warps]);

  RawVector<T> raw_gamma[vectors];
  float dgamma[vectors][width] = {}, dbeta[vectors][width] = {};
#pragma unroll
  for (int v = 0; v < vectors; ++v) raw_gamma[v] = raw_vector_constant(a.gamma, column(v), column(v) < a.columns);

  int round = 0;
  for (std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * rows_at_once; first < a.rows;
       first += static_cast<std::int64_t>(gridDim.x) * rows_at_once, round ^= 1) {
    const std::int64_t row = first + slot, start = row * a.columns;
    const bool row_there = row < a.rows;  // where it is not, zeros are computed with
    RawVector<T> raw_x[vectors], raw_dout[vectors], raw_residual[vectors];
#pragma unroll
    for (int v = 0; v < vectors; ++v) {
      const bool there = row_there && column(v) < a.columns;
      raw_x[v] = raw_vector_streaming(a.x, start + column(v), there);
      raw_dout[v] = raw_vector_streaming(a.dout, start + column(v), there);
      raw_residual[v] = raw_vector_streaming(a.dresidual, start + column(v), there && a.dresidual != nullptr);
    }
    const float mean = row_there ? a.mean[row] : 0.0f, rstd = row_there ? a.rstd[row] : 0.0f;

    float sum_g = 0.0f, sum_gn = 0.0f;
#pragma unroll
    for (int v = 0; v < vectors; ++v) {
      float x[width], dout[width], gamma[width];
      unpack(raw_x[v], x);
      unpack(raw_dout[v], dout);
      unpack(raw_gamma[v], gamma);
#pragma unroll
      for (int i = 0; i < width; ++i) {
        const float normalized = (x[i] - mean) * rstd, g = dout[i] * gamma[i];
        sum_g += g;
        sum_gn += g * normalized;
        dgamma[v][i] += dout[i] * normalized;
        dbeta[v][i] += dout[i];
      }
    }
    const float2 sums = row_reduce<warps_per_row>(sum_g, sum_gn, exchange[round]);
    const float mean_g = sums.x / static_cast<float>(a.columns), mean_gn = sums.y / static_cast<float>(a.columns);

#pragma unroll
    for (int v = 0; v < vectors; ++v) {
      keep_packed(raw_x[v]);
      keep_packed(raw_dout[v]);
      keep_packed(raw_gamma[v]);
      float x[width], dout[width], gamma[width], dx[width];
      unpack(raw_x[v], x);
      unpack(raw_dout[v], dout);
      unpack(raw_gamma[v], gamma);
      unpack(raw_residual[v], dx);
#pragma unroll
      for (int i = 0; i < width; ++i) dx[i] += (dout[i] * gamma[i] - mean_g - (x[i] - mean) * rstd * mean_gn) * rstd;
      if (row_there && column(v) < a.columns) store_vector(a.dx + start + column(v), dx);
    }
  }

  // The block's partial rows: its slots added in order, first for dgamma, then for dbeta.
  auto* slots = dynamic_shared<float>();  // [rows_at_once, columns]
  const auto write_partial_row = [&](const float(&sums)[vectors][width], std::int64_t part) {
#pragma unroll
    for (int v = 0; v < vectors; ++v)
      if (column(v) < a.columns) store_elements<width>(slots + slot * a.columns + column(v), sums[v]);
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < a.columns; i += backward_warps * 32) {
      float total = 0.0f;
#pragma unroll
      for (int k = 0; k < rows_at_once; ++k) total += slots[k * a.columns + i];
      a.partials[part * a.columns + i] = total;
    }
  };
  write_partial_row(dgamma, blockIdx.x);
  __syncthreads();
  write_partial_row(dbeta, a.parts + blockIdx.x);
}

template <typename T, int chunks = 1>
void forward_in_registers(const LayernormForward<T>& a, Stream& stream) {
  if constexpr (chunks < most_forward_chunks)
    if (a.columns > chunks * chunk_columns) return forward_in_registers<T, chunks + 1>(a, stream);
  launch("layernorm_forward", layernorm_kernel<T, chunks>,
         {dim3(static_cast<unsigned>(ceil_div(a.rows, forward_warps))), dim3(forward_warps * 32)}, stream, a);
}

template <typename T, int warps_per_row, int chunks>
void backward_in_registers(const LayernormBackward<T>& a, Stream& stream) {
  if constexpr (chunks < most_backward_chunks)
    if (a.columns > chunks * chunk_columns * warps_per_row) return backward_in_registers<T, warps_per_row, chunks + 1>(a, stream);
  const std::size_t shared_bytes = static_cast<std::size_t>(backward_warps / warps_per_row * a.columns) * sizeof(float);
  launch("layernorm_backward", backward_kernel<T, chunks, warps_per_row>,
         {dim3(static_cast<unsigned>(a.parts)), dim3(backward_warps * 32), shared_bytes}, stream, a);
}

template <typename T>
void forward(const LayernormForward<T>& a, Stream& stream) {
  const bool vectors = rows_of_vectors<T>(a.columns, {a.x, a.gamma, a.beta, a.out});
  if (!vectors) return layernorm_rows::forward<T, 1>(a, stream);
  if (a.columns > widest_row) return layernorm_rows::forward<T, vector_width<T>>(a, stream);
  forward_in_registers<T>(a, stream);
}

template <typename T>
void backward(const LayernormBackward<T>& a, Stream& stream) {
  const bool vectors = rows_of_vectors<T>(a.columns, {a.dout, a.x, a.gamma, a.dresidual, a.dx});
  if (!vectors) return layernorm_rows::backward<T, 1>(a, stream);
  if (a.columns > widest_row) return layernorm_rows::backward<T, vector_width<T>>(a, stream);
  if (a.columns > most_backward_chunks * chunk_columns) return backward_in_registers<T, 2, 3>(a, stream);
  backward_in_registers<T, 1, 1>(a, stream);
}

template <typename T>
void forward_of(const op::LayernormForward& args, Stream& stream) {
  forward<T>({args.x.as<T>(), args.gamma.as<T>(), args.beta.as<T>(), args.out.as<T>(), args.mean.as<float>(), args.rstd.as<float>(),
              args.x.shape[0], static_cast<int>(args.x.shape[1])},
             stream);
}

template <typename T>
void backward_of(const op::LayernormBackward& args, float* partials, Stream& stream) {
  const std::int64_t rows = args.x.shape[0], columns = args.x.shape[1];
  backward<T>(
      {args.dout.as<T>(), args.x.as<T>(), args.gamma.as<T>(), args.mean.as<float>(), args.rstd.as<float>(), args.dresidual.as<T>(),
       args.dx.as<T>(), partials, rows, static_cast<int>(columns), static_cast<int>(layernorm_backward_parts(rows, columns))},
      stream);
}

}  // namespace

void CudaOps::queue(const op::LayernormForward& args) {
  with_type(args.x.dtype, [&]<typename T>(T) { forward_of<T>(args, stream_); });
}

void CudaOps::queue(const op::LayernormBackward& args) {
  const std::int64_t rows = args.x.shape[0], columns = args.x.shape[1];
  auto* partials = static_cast<float*>(workspace_.get(layernorm_backward_scratch_bytes(rows, columns)));
  with_type(args.x.dtype, [&]<typename T>(T) { backward_of<T>(args, partials, stream_); });
  sum_partial_rows(partials, layernorm_backward_parts(rows, columns), columns, args.dgamma.as<float>(), args.dbeta.as<float>(),
                   args.write, stream_);
}

}  // namespace temper::TEMPER_BACKEND
