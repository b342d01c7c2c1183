// Attention on tensor cores: the tuning table, tiles of bf16 rows in shared memory, and the two products that all passes are made
// of. A warp owns 16 or 32 rows (queries, or keys in one pass of the backward pass) as operands in registers; the other side
// streams through shared memory in tiles of 64 rows. Scores stay in registers and become the next product's left operand there.
#pragma once

#include <device/async_copy.cuh>
#include <device/tensor_core.cuh>
#include "kernels/cuda/attention_layout.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/gpu_scratch.h"
#include "kernels/host_device.h"

namespace temper::TEMPER_BACKEND {

struct AttentionTuning {
  int warps;      ///< of a block
  int row_tiles;  ///< of 16 rows that a warp owns; two halve what it reads from shared memory per product
  int columns;    ///< of scores that a warp holds at once
  int blocks;     ///< on one multiprocessor at once, which bounds a thread's registers

  constexpr int rows() const { return warps * row_tiles * 16; }
  constexpr int threads() const { return warps * 32; }
};

inline constexpr int streamed_rows = attention_tile_rows;

// What the gradient of keys needs of the queries, by tiles of 64: lse * log2(e), then delta. Behind T lse is infinite, so that P is 0.
inline constexpr int statistics_per_tile = attention_statistics_per_tile;

// What a thread holds of its rows, row_tiles * D / 4 registers for an operand and twice that for a sum, beside blocks of scores of
// row_tiles * columns / 2: the forward pass Q, O and one block; the gradient of queries Q, dO, dQ and two; that of keys K, V, dK,
// dV and two. Chosen so that nothing spills on sm_80 and sm_90a; not yet timed.
template <int D>
inline constexpr AttentionTuning forward_tuning = D <= 64 ? AttentionTuning{4, 2, 64, 2} : AttentionTuning{4, 1, 64, 2};
template <int D>
inline constexpr AttentionTuning query_gradient_tuning = D <= 64 ? AttentionTuning{4, 2, 32, 2} : AttentionTuning{4, 1, 32, 2};
template <int D>
inline constexpr AttentionTuning key_gradient_tuning = D == 32   ? AttentionTuning{4, 2, 32, 2}
                                                       : D == 64 ? AttentionTuning{4, 2, 16, 2}
                                                                 : AttentionTuning{4, 1, 16, 2};
/// Of its values' D / 16 steps of 16 columns, those that it keeps in registers; the others are read again for each block of scores.
template <int D>
inline constexpr int kept_value_steps = D <= 64 ? 2 : 0;

/// Whether kernels of this kind take a call: for its head size, 16-byte accesses, and sequences within 32-bit offsets.
inline bool fits_tiles(DType dtype, const AttentionExtents& extents, std::initializer_list<const void*> tensors) {
  const bool width = extents.width == 32 || extents.width == 64 || extents.width == 128;
  return dtype == DType::bf16 && width && on_vector_boundaries(tensors) &&
         (extents.positions + 128) * extents.packed_stride() <= std::numeric_limits<std::int32_t>::max();
}

// ---- tiles of rows [.., D] in dynamic shared memory -------------------------------------------------------------------

/// A tile is named by the byte where it begins, a multiple of 1,024 from the first. Offsets stay 32-bit integers up to the access itself, and
/// column steps are exclusive ors on them, so that one register addresses a whole tile.
template <int D>
constexpr int bytes_of(int rows) {
  return rows * D * static_cast<int>(sizeof(bfloat16));
}

__device__ __forceinline__ unsigned char* shared_at(int offset) { return dynamic_shared<unsigned char>() + offset; }

/// Where 16-byte chunk `chunk` of row `row` begins. Chunks are exchanged within a row so that the same chunk of eight neighbouring
/// rows, which is what load_matrix reads at once, lies in eight different groups of banks.
template <int D>
__device__ __forceinline__ int tile_offset(int row, int chunk) {
  return bytes_of<D>(row) + 16 * (chunk ^ (D >= 64 ? row % 8 : row / 2 % 4));
}

/// Starts copying rows first .. first + rows of a matrix of less than 2^31 elements; rows from `end` on become zeros.
template <int D, int rows, int threads>
__device__ __forceinline__ void load_tile(int tile, const bfloat16* from, int stride, int first, int end) {
  constexpr int chunks = D / 8, rows_at_once = threads / chunks;
  static_assert(rows % rows_at_once == 0 && rows_at_once % 8 == 0);
  const int row = static_cast<int>(threadIdx.x) / chunks, chunk = static_cast<int>(threadIdx.x) % chunks;
  const int to = tile + tile_offset<D>(row, chunk);
  const int next = (first + row) * stride + chunk * 8;
#pragma unroll
  for (int i = 0; i < rows; i += rows_at_once)
    copy_async_16(shared_at(to + bytes_of<D>(i)), from + (next + i * stride), first + row + i < end);
}

// ---- operands and sums of a warp, laid out as device/tensor_core.cuh says ---------------------------------------------

/// M x N arrays of four. Not an alias of the array, which nvcc 12.4 cannot have as a parameter's type.
template <typename Element, int M, int N>
struct Tiles {
  Element of[M][N][4];
  __device__ __forceinline__ Element (&operator[](int m))[N][4] { return of[m]; }
  __device__ __forceinline__ const Element (&operator[](int m) const)[N][4] { return of[m]; }
};
/// Rows of M tiles of 16 rows, K steps of 16 columns.
template <int M, int K>
using Operand = Tiles<std::uint32_t, M, K>;
/// M tiles of 16 rows, N tiles of 8 columns. Thread: rows lane / 4 and + 8 (elements 0, 1 and 2, 3), columns 2 (lane % 4) and + 1.
template <int M, int N>
using Sums = Tiles<float, M, N>;

__device__ __forceinline__ int lane_id() { return static_cast<int>(threadIdx.x) % 32; }

/// Rows first .. first + 16 of a tile, columns 16 k .. 16 k + 16, as left operand.
template <int D>
__device__ __forceinline__ void load_operand(std::uint32_t (&a)[4], int tile, int first, int k) {
  const int lane = lane_id();
  load_matrix_x4(a, shared_at((tile + tile_offset<D>(first + lane % 16, lane / 16)) ^ (32 * k)));
}
template <int D, int M, int first_step = 0>
__device__ __forceinline__ void load_operands(Operand<M, D / 16>& a, int tile, int first) {
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int k = first_step; k < D / 16; ++k) load_operand<D>(a[m][k], tile, first + m * 16, k);
  }
}

/// Sums, rounded, as left operand of a product over their columns.
template <int M, int N>
__device__ __forceinline__ void as_operand(Operand<M, N / 2>& a, const Sums<M, N>& c) {
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int k = 0; k < N / 2; ++k) {
      a[m][k][0] = pack_bf16(c[m][2 * k][0], c[m][2 * k][1]);
      a[m][k][1] = pack_bf16(c[m][2 * k][2], c[m][2 * k][3]);
      a[m][k][2] = pack_bf16(c[m][2 * k + 1][0], c[m][2 * k + 1][1]);
      a[m][k][3] = pack_bf16(c[m][2 * k + 1][2], c[m][2 * k + 1][3]);
    }
  }
}

/// c[.., n] += <row of a, row first + n of the tile>, both of length D.
template <int D, int M, int N>
__device__ __forceinline__ void multiply_rows(Sums<M, N>& c, const Operand<M, D / 16>& a, int tile, int first) {
  const int lane = lane_id();
  const int from = tile + tile_offset<D>(lane / 16 * 8 + lane % 8, lane / 8 % 2);
#pragma unroll
  for (int k = 0; k < D / 16; ++k) {
#pragma unroll
    for (int n = 0; n < N; n += 2) {
      std::uint32_t b[4];
      load_matrix_x4(b, shared_at((from ^ (32 * k)) + bytes_of<D>(first + n * 8)));
      const std::uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
#pragma unroll
      for (int m = 0; m < M; ++m) {
        mma_16x8x16(c[m][n], a[m][k], left);
        mma_16x8x16(c[m][n + 1], a[m][k], right);
      }
    }
  }
}

/// c += a times rows first .. first + 16 K of the tile.
template <int D, int M, int K>
__device__ __forceinline__ void multiply_columns(Sums<M, D / 8>& c, const Operand<M, K>& a, int tile, int first) {
  const int lane = lane_id();
  const int from = tile + tile_offset<D>(lane % 16, lane / 16);
#pragma unroll
  for (int k = 0; k < K; ++k) {
#pragma unroll
    for (int n = 0; n < D / 8; n += 2) {
      std::uint32_t b[4];
      load_matrix_x4_transposed(b, shared_at((from ^ (16 * n)) + bytes_of<D>(first + k * 16)));
      const std::uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
#pragma unroll
      for (int m = 0; m < M; ++m) {
        mma_16x8x16(c[m][n], a[m][k], left);
        mma_16x8x16(c[m][n + 1], a[m][k], right);
      }
    }
  }
}

template <int M, int N>
__device__ __forceinline__ void scale_sums(Sums<M, N>& c, float factor) {
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
#pragma unroll
      for (float& value : c[m][n]) value *= factor;
    }
  }
}

/// Takes away the scores of keys behind their query, where row 0 and column 0 are the positions given. keys_in_rows: queries are
/// in the columns.
template <bool keys_in_rows, int M, int N>
__device__ __forceinline__ void mask_future(Sums<M, N>& scores, int first_row, int first_column) {
  const int lane = lane_id();
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int row = first_row + m * 16 + lane / 4 + e / 2 * 8;
        const int column = first_column + n * 8 + lane % 4 * 2 + e % 2;
        if (keys_in_rows ? row > column : column > row) scores[m][n][e] = -std::numeric_limits<float>::infinity();
      }
    }
  }
}

/// Of a block of the warp's keys and N * 8 queries, those from `first_query` on, which are rows `column` .. of a tile of queries and of one
/// of dO: adds to dk (but for the scale) and dv, and leaves dS. Of the values' steps some are kept; `value_tile` and `tile_row` are
/// where the others are. `statistics`: of the tile.
template <int D, int M, int N>
__device__ __forceinline__ void add_key_gradients(Sums<M, D / 8>& dk, Sums<M, D / 8>& dv, Operand<M, N / 2>& ds,
                                                  const Operand<M, D / 16>& keys, Operand<M, D / 16>& values, int value_tile,
                                                  int tile_row, int query_tile, int upstream_tile, int statistics, int column,
                                                  int warp_row, int first_query, float scale_log2) {
  const auto* const of_queries = reinterpret_cast<const float2*>(shared_at(statistics + 4 * column + lane_id() % 4 * 8));
  Sums<M, N> scores = {}, dp;  // dp - delta, by where it starts
#pragma unroll
  for (int n = 0; n < N; ++n) {
    const float2 delta = of_queries[streamed_rows / 2 + n * 4];
#pragma unroll
    for (int m = 0; m < M; ++m) {
      dp[m][n][0] = dp[m][n][2] = -delta.x;
      dp[m][n][1] = dp[m][n][3] = -delta.y;
    }
  }
  multiply_rows<D, M, N>(scores, keys, query_tile, column);
  load_operands<D, M, kept_value_steps<D>>(values, value_tile, tile_row);  // not enough registers to keep them
  multiply_rows<D, M, N>(dp, values, upstream_tile, column);
  if (first_query < warp_row + M * 16 - 1) mask_future<true, M, N>(scores, warp_row, first_query);
#pragma unroll
  for (int n = 0; n < N; ++n) {
    const float2 lse_log2 = of_queries[n * 4];
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        scores[m][n][e] = exp2_approx(scores[m][n][e] * scale_log2 - (e % 2 == 0 ? lse_log2.x : lse_log2.y));
        dp[m][n][e] *= scores[m][n][e];
      }
    }
  }
  Operand<M, N / 2> probabilities;
  as_operand<M, N>(probabilities, scores);
  multiply_columns<D, M, N / 2>(dv, probabilities, upstream_tile, column);
  as_operand<M, N>(ds, dp);
  multiply_columns<D, M, N / 2>(dk, ds, query_tile, column);
}

/// Writes the warp's rows of c, which are rows first .. of a matrix that ends at `end`, in whole lines: through rows tile_row .. of
/// a tile, which only this warp uses by now.
template <int D, int M>
__device__ __forceinline__ void store_rows(const Sums<M, D / 8>& c, int tile, int tile_row, bfloat16* to, int stride, int first,
                                           int end) {
  const int lane = lane_id();
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int n = 0; n < D / 8; ++n) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = tile_row + m * 16 + lane / 4 + half * 8;
        *reinterpret_cast<std::uint32_t*>(shared_at(tile + tile_offset<D>(row, n) + lane % 4 * 4)) =
            pack_bf16(c[m][n][2 * half], c[m][n][2 * half + 1]);
      }
    }
  }
  __syncwarp();
  constexpr int chunks = D / 8;
#pragma unroll
  for (int i = 0; i < M * 16 * chunks / 32; ++i) {
    const int row = (i * 32 + lane) / chunks, chunk = (i * 32 + lane) % chunks;
    if (first + row < end)
      *reinterpret_cast<uint4*>(to + (first + row) * stride + chunk * 8) =
          *reinterpret_cast<const uint4*>(shared_at(tile + tile_offset<D>(tile_row + row, chunk)));
  }
}

}  // namespace temper::TEMPER_BACKEND
