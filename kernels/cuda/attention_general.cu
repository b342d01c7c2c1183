// Tiles of 64 x 64 in shared memory, 256 threads with 4 x 4 results each. Rows longer than 64 are taken in slices: scores are
// summed over all slices, and every block writes one slice of its rows' results, so that any head size fits.
#include "kernels/cuda/attention_layout.cuh"
#include "kernels/cuda/families.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/host_device.h"

namespace temper::TEMPER_BACKEND {

namespace {

constexpr int tile_rows = 64;
constexpr int side = 16;  // threads along each axis of a tile
constexpr int threads = side * side;
constexpr int blocks = 2;             // on a multiprocessor, for registers and shared memory
constexpr int pitch = tile_rows + 4;  // threads that read neighbouring rows meet different banks

using Tile = float[tile_rows][pitch];
using Patch = float[4][4];

__device__ __forceinline__ int thread_x() { return static_cast<int>(threadIdx.x) % side; }
__device__ __forceinline__ int thread_y() { return static_cast<int>(threadIdx.x) / side; }

// One slice of the rows first .. of a pair's matrix; zeros behind `end` and behind the row's width.
template <typename T>
struct Rows {
  const T* from;
  std::int64_t stride;
  int end;
  int width;
  bool vectors;  // whole and aligned

  __device__ __forceinline__ void load(Tile& tile, int first, int slice) const {
    const int first_column = slice * tile_rows;
    if (vectors) {
      constexpr int step = vector_width<T>, per_row = tile_rows / step;
      for (int i = static_cast<int>(threadIdx.x); i < tile_rows * per_row; i += threads) {
        const int row = i / per_row, column = i % per_row * step;
        VectorFloats<T> values = {};
        if (first + row < end && first_column + column < width)
          load_vector(from + (first + row) * stride + first_column + column, values);
#pragma unroll
        for (int j = 0; j < step; j += 4)
          store_elements<4>(&tile[row][column + j], {values[j], values[j + 1], values[j + 2], values[j + 3]});
      }
    } else {
#pragma unroll 1
      for (int i = static_cast<int>(threadIdx.x); i < tile_rows * tile_rows; i += threads) {
        const int row = i / tile_rows, column = i % tile_rows;
        const bool inside = first + row < end && first_column + column < width;
        tile[row][column] = inside ? to_float(from[(first + row) * stride + first_column + column]) : 0.0f;
      }
    }
  }
};

// Threads hold rows 4y .. 4y+3 of every result; of scores the columns x, x+16, x+32, x+48, of everything else 4x .. 4x+3.

// c[i][j] += <row 4y+i of a, row x+16j of b>, over the first `depth` columns.
__device__ __forceinline__ void multiply_rows(Patch& c, const Tile& a, const Tile& b, int depth) {
  const int x = thread_x(), y = thread_y();
#pragma unroll 1
  for (int k = 0; k < depth; k += 4) {
    float left[4][4], right[4][4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      load_vector(&a[4 * y + i][k], left[i]);
      load_vector(&b[x + side * i][k], right[i]);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int l = 0; l < 4; ++l) c[i][j] += left[i][l] * right[j][l];
      }
    }
  }
}

// c[i][j] += sum over k of a[4y+i][k] b[k][4x+j]
__device__ __forceinline__ void multiply_columns(Patch& c, const Tile& a, const Tile& b) {
  const int x = thread_x(), y = thread_y();
#pragma unroll 1
  for (int k = 0; k < tile_rows; k += 4) {
    float left[4][4], right[4][4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      load_vector(&a[4 * y + i][k], left[i]);
      load_vector(&b[k + i][4 * x], right[i]);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int l = 0; l < 4; ++l) c[i][j] += left[i][l] * right[l][j];
      }
    }
  }
}

// c[i][j] += sum over k of a[k][4y+i] b[k][4x+j]
__device__ __forceinline__ void multiply_transposed(Patch& c, const Tile& a, const Tile& b) {
  const int x = thread_x(), y = thread_y();
#pragma unroll 4
  for (int k = 0; k < tile_rows; ++k) {
    float left[4], right[4];
    load_vector(&a[k][4 * y], left);
    load_vector(&b[k][4 * x], right);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) c[i][j] += left[i] * right[j];
    }
  }
}

// Columns of a slice, rounded up to what multiply_rows takes at once; the ones behind the width are zeros.
__device__ __forceinline__ int depth_of(int width, int slice) {
  const int columns = width - slice * tile_rows;
  return columns >= tile_rows ? tile_rows : (columns + 3) / 4 * 4;
}

__device__ __forceinline__ void store_scores(Tile& tile, const Patch& scores) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) tile[4 * thread_y() + i][thread_x() + side * j] = scores[i][j];
  }
}

// Writes the thread's part of a slice of rows first .. of a matrix.
template <typename T>
__device__ __forceinline__ void store_patch(const Patch& c, T* to, std::int64_t stride, int first, int end, int slice, int width) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int row = first + 4 * thread_y() + i;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int column = slice * tile_rows + 4 * thread_x() + j;
      if (row < end && column < width) store_element(to + row * stride + column, c[i][j]);
    }
  }
}

// ---- forward ---------------------------------------------------------------------------------------------------------

template <typename T>
__global__ void __launch_bounds__(threads, blocks)
    forward_kernel(const T* qkv, AttentionExtents extents, float scale, bool vectors, T* out, float* lse) {
  Tile* const tiles = dynamic_shared<Tile>();
  Tile &queries = tiles[0], &keys = tiles[1], &values = tiles[2], &probabilities = tiles[3];

  const int end = extents.positions, slices = ceil_div(extents.width, tile_rows), query_tiles = ceil_div(end, tile_rows);
  const BlockWork work = block_work(extents.pairs, query_tiles);
  const int query_tile = query_tiles - 1 - work.rank, first_query = query_tile * tile_rows;
  const int own_slice = static_cast<int>(blockIdx.y);
  const auto rows_of = [&](int which) {
    return Rows<T>{qkv + extents.packed(work.pair, which), extents.packed_stride(), end, extents.width, vectors};
  };

  float largest[4], sum[4] = {};
  for (float& value : largest) value = Maximum::identity;
  Patch result = {};
  for (int key_tile = 0; key_tile <= query_tile; ++key_tile) {
    const int first_key = key_tile * tile_rows;
    Patch scores = {};
    for (int slice = 0; slice < slices; ++slice) {
      __syncthreads();  // nobody reads the tiles any more
      if (slices > 1 || key_tile == 0) rows_of(0).load(queries, first_query, slice);
      rows_of(1).load(keys, first_key, slice);
      if (slice == 0) rows_of(2).load(values, first_key, own_slice);
      __syncthreads();
      multiply_rows(scores, queries, keys, depth_of(extents.width, slice));
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int query = first_query + 4 * thread_y() + i;
      float next = largest[i];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int key = first_key + thread_x() + side * j;
        scores[i][j] = key > query ? Maximum::identity : scores[i][j] * scale;
        next = Maximum{}(next, scores[i][j]);
      }
      next = warp_reduce<side>(next, Maximum{});
      const float correction = exp2_approx((largest[i] - next) * log2_e);
      largest[i] = next;
      sum[i] *= correction;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        scores[i][j] = exp2_approx((scores[i][j] - next) * log2_e);
        sum[i] += scores[i][j];
        result[i][j] *= correction;
      }
    }
    store_scores(probabilities, scores);
    __syncthreads();
    multiply_columns(result, probabilities, values);
  }

#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float total = warp_reduce<side>(sum[i], Add{});
    const int query = first_query + 4 * thread_y() + i;
#pragma unroll
    for (int j = 0; j < 4; ++j) result[i][j] /= total;
    if (own_slice == 0 && thread_x() == 0 && query < end)
      lse[static_cast<std::int64_t>(work.pair) * end + query] = largest[i] + logf(total);
  }
  store_patch(result, out + extents.plain(work.pair), extents.channels(), first_query, end, own_slice, extents.width);
}

// ---- backward; the names are those of attention_backward.cu -----------------------------------------------------------

// deltas[pair, t] = <dout, out> over the head's columns. One warp per row.
template <typename T>
__global__ void __launch_bounds__(threads) delta_kernel(const T* dout, const T* out, AttentionExtents extents, float* deltas) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t index = (static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x) / 32;  // pair * T + t
  const bool inside = index < static_cast<std::int64_t>(extents.pairs) * extents.positions;
  const int pair = inside ? static_cast<int>(index / extents.positions) : 0;
  const std::int64_t row = extents.plain(pair) + (inside ? index % extents.positions : 0) * extents.channels();
  float sum = 0.0f;
  for (int i = lane; i < extents.width; i += 32) sum += to_float(dout[row + i]) * to_float(out[row + i]);
  sum = warp_reduce(sum, Add{});
  if (inside && lane == 0) deltas[index] = sum;
}

template <typename T>
struct BackwardInputs {
  const T* dout;
  const T* qkv;
  const float* lse;
  const float* deltas;
};

// Scores of a query tile and a key tile become P, `dp` becomes dS (without the scale).
__device__ __forceinline__ void score_gradients(Patch& scores, Patch& dp, const float* lse, const float* deltas, int first_query,
                                                int first_key, int end, float scale) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int query = first_query + 4 * thread_y() + i;
    const float row_lse = query < end ? lse[query] : 0.0f, delta = query < end ? deltas[query] : 0.0f;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int key = first_key + thread_x() + side * j;
      const bool seen = query < end && key <= query;
      scores[i][j] = seen ? exp2_approx((scores[i][j] * scale - row_lse) * log2_e) : 0.0f;
      dp[i][j] = scores[i][j] * (dp[i][j] - delta);
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(threads, blocks)
    query_gradient_kernel(BackwardInputs<T> in, AttentionExtents extents, float scale, bool vectors, T* dqkv) {
  Tile* const tiles = dynamic_shared<Tile>();
  Tile &queries = tiles[0], &upstream = tiles[1], &keys = tiles[2], &values = tiles[3], &ds = tiles[4];

  const int end = extents.positions, slices = ceil_div(extents.width, tile_rows), query_tiles = ceil_div(end, tile_rows);
  const BlockWork work = block_work(extents.pairs, query_tiles);
  const int query_tile = query_tiles - 1 - work.rank, first_query = query_tile * tile_rows;
  const int own_slice = static_cast<int>(blockIdx.y);
  const std::int64_t statistics = static_cast<std::int64_t>(work.pair) * end;
  const auto rows_of = [&](int which) {
    return Rows<T>{in.qkv + extents.packed(work.pair, which), extents.packed_stride(), end, extents.width, vectors};
  };
  const Rows<T> upstream_rows = {in.dout + extents.plain(work.pair), extents.channels(), end, extents.width, vectors};

  Patch dq = {};
  for (int key_tile = 0; key_tile <= query_tile; ++key_tile) {
    const int first_key = key_tile * tile_rows;
    Patch scores = {}, dp = {};
    for (int slice = 0; slice < slices; ++slice) {
      __syncthreads();  // nobody reads the tiles any more
      if (slices > 1 || key_tile == 0) {
        rows_of(0).load(queries, first_query, slice);
        upstream_rows.load(upstream, first_query, slice);
      }
      rows_of(1).load(keys, first_key, slice);
      rows_of(2).load(values, first_key, slice);
      __syncthreads();
      multiply_rows(scores, queries, keys, depth_of(extents.width, slice));
      multiply_rows(dp, upstream, values, depth_of(extents.width, slice));
    }
    score_gradients(scores, dp, in.lse + statistics, in.deltas + statistics, first_query, first_key, end, scale);
    store_scores(ds, dp);
    if (slices > 1) {
      __syncthreads();
      rows_of(1).load(keys, first_key, own_slice);
    }
    __syncthreads();
    multiply_columns(dq, ds, keys);
  }
  for (auto& row : dq)
    for (float& value : row) value *= scale;
  store_patch(dq, dqkv + extents.packed(work.pair, 0), extents.packed_stride(), first_query, end, own_slice, extents.width);
}

template <typename T>
__global__ void __launch_bounds__(threads, blocks)
    key_gradient_kernel(BackwardInputs<T> in, AttentionExtents extents, float scale, bool vectors, T* dqkv) {
  Tile* const tiles = dynamic_shared<Tile>();
  Tile &queries = tiles[0], &upstream = tiles[1], &keys = tiles[2], &values = tiles[3];
  Tile& factors = tiles[4];  // P, then dS: a sixth tile would not fit where a block has 99 KiB

  const int end = extents.positions, slices = ceil_div(extents.width, tile_rows), query_tiles = ceil_div(end, tile_rows);
  const BlockWork work = block_work(extents.pairs, query_tiles);
  const int key_tile = work.rank, first_key = key_tile * tile_rows;
  const int own_slice = static_cast<int>(blockIdx.y);
  const std::int64_t statistics = static_cast<std::int64_t>(work.pair) * end;
  const auto rows_of = [&](int which) {
    return Rows<T>{in.qkv + extents.packed(work.pair, which), extents.packed_stride(), end, extents.width, vectors};
  };
  const Rows<T> upstream_rows = {in.dout + extents.plain(work.pair), extents.channels(), end, extents.width, vectors};

  Patch dk = {}, dv = {};
  for (int query_tile = key_tile; query_tile < query_tiles; ++query_tile) {
    const int first_query = query_tile * tile_rows;
    Patch scores = {}, dp = {};
    for (int slice = 0; slice < slices; ++slice) {
      __syncthreads();  // nobody reads the tiles any more
      if (slices > 1 || query_tile == key_tile) {
        rows_of(1).load(keys, first_key, slice);
        rows_of(2).load(values, first_key, slice);
      }
      rows_of(0).load(queries, first_query, slice);
      upstream_rows.load(upstream, first_query, slice);
      __syncthreads();
      multiply_rows(scores, queries, keys, depth_of(extents.width, slice));
      multiply_rows(dp, upstream, values, depth_of(extents.width, slice));
    }
    score_gradients(scores, dp, in.lse + statistics, in.deltas + statistics, first_query, first_key, end, scale);
    store_scores(factors, scores);
    if (slices > 1) {
      __syncthreads();
      rows_of(0).load(queries, first_query, own_slice);
      upstream_rows.load(upstream, first_query, own_slice);
    }
    __syncthreads();
    multiply_transposed(dv, factors, upstream);
    __syncthreads();
    store_scores(factors, dp);
    __syncthreads();
    multiply_transposed(dk, factors, queries);
  }
  for (auto& row : dk)
    for (float& value : row) value *= scale;
  store_patch(dk, dqkv + extents.packed(work.pair, 1), extents.packed_stride(), first_key, end, own_slice, extents.width);
  store_patch(dv, dqkv + extents.packed(work.pair, 2), extents.packed_stride(), first_key, end, own_slice, extents.width);
}

LaunchShape shape_for(const AttentionExtents& extents, int shared_tiles) {
  return {dim3(static_cast<unsigned>(extents.pairs * ceil_div(extents.positions, tile_rows)),
               static_cast<unsigned>(ceil_div(extents.width, tile_rows))),
          dim3(threads), static_cast<std::size_t>(shared_tiles) * sizeof(Tile)};
}

template <typename T>
void forward_of(ConstTensorView qkv, const AttentionExtents& extents, TensorView out, TensorView lse, Stream& stream) {
  launch("attention_forward", forward_kernel<T>, shape_for(extents, 4), stream, qkv.as<T>(), extents, extents.scale(),
         rows_of_vectors<T>(extents.width, {qkv.data}), out.as<T>(), lse.as<float>());
}

template <typename T>
void backward_of(ConstTensorView dout, ConstTensorView qkv, ConstTensorView out, ConstTensorView lse,
                 const AttentionExtents& extents, TensorView dqkv, float* deltas, Stream& stream) {
  const BackwardInputs<T> in = {dout.as<T>(), qkv.as<T>(), lse.as<float>(), deltas};
  const std::int64_t rows = static_cast<std::int64_t>(extents.pairs) * extents.positions;
  launch("attention_backward delta", delta_kernel<T>, {dim3(static_cast<unsigned>(ceil_div(rows * 32, threads))), dim3(threads)},
         stream, in.dout, out.as<T>(), extents, deltas);
  const bool vectors = rows_of_vectors<T>(extents.width, {qkv.data, dout.data});
  launch("attention_backward dQ", query_gradient_kernel<T>, shape_for(extents, 5), stream, in, extents, extents.scale(), vectors,
         dqkv.as<T>());
  launch("attention_backward dK dV", key_gradient_kernel<T>, shape_for(extents, 5), stream, in, extents, extents.scale(), vectors,
         dqkv.as<T>());
}

}  // namespace

void attention_forward_general(ConstTensorView qkv, const AttentionExtents& extents, TensorView out, TensorView lse,
                               Stream& stream) {
  with_type(qkv.dtype, [&]<typename T>(T) { forward_of<T>(qkv, extents, out, lse, stream); });
}

void attention_backward_general(ConstTensorView dout, ConstTensorView qkv, ConstTensorView out, ConstTensorView lse,
                                const AttentionExtents& extents, TensorView dqkv, float* deltas, Stream& stream) {
  with_type(qkv.dtype, [&]<typename T>(T) { backward_of<T>(dout, qkv, out, lse, extents, dqkv, deltas, stream); });
}

}  // namespace temper::TEMPER_BACKEND
