// Backward attention in one pass, five products where two passes take seven. A block goes over all tiles of keys of a pair and for each
// over the queries behind it, so that the parts of dQ come to its threads in order and are added in order, without atomics: dS goes
// through shared memory, each warp multiplies a quarter of the tile's dQ with it, and the sums so far lie in f32 where dK and dV will
// be. For the parts of a row's dQ are all there when its own tile of keys is done, which is when that tile's dK and dV are written.
//
// It wants twice as many pairs as the GPU has multiprocessors; which way is faster is chosen by time (attention_backward.cu).
#include "kernels/cuda/attention_tiles.cuh"
#include "kernels/cuda/families.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/host_device.h"

namespace temper::TEMPER_BACKEND {

namespace {

template <int D>
struct OnePass {
  static constexpr AttentionTuning tuning = key_gradient_tuning<D>;
  static constexpr int rows = tuning.rows(), threads = tuning.threads(), M = tuning.row_tiles, N = tuning.columns / 8;
  static_assert(tuning.warps == 4 && M == 2 && rows % streamed_rows == 0);

  // Bytes of shared memory: tiles of keys and values; two stages of queries, then dO; dS; the stages' statistics.
  static constexpr int key_tile = 0, value_tile = bytes_of<D>(rows), stages = 2 * value_tile;
  static constexpr int streamed = bytes_of<D>(streamed_rows), ds_tile = stages + 4 * streamed;
  static constexpr int statistics = ds_tile + bytes_of<streamed_rows>(rows);
  static constexpr int statistics_bytes = statistics_per_tile * static_cast<int>(sizeof(float));
  static constexpr std::size_t shared_bytes = statistics + 2 * statistics_bytes;

  // What a warp has of a tile's dQ: 32 queries, half of the columns.
  static constexpr int own_rows = 32, own_columns = D / 2;
  using OwnSums = Sums<2, own_columns / 8>;
};

// lse * log2(e) and delta of every query, by tiles; behind T infinity and 0.
template <int D>
__global__ void __launch_bounds__(256)
    statistics_kernel(const bfloat16* dout, const bfloat16* out, const float* lse, AttentionExtents extents, float* statistics) {
  constexpr int lanes = D / 8, rows = 256 / lanes;
  const int tiles = ceil_div(extents.positions, streamed_rows);
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * rows + threadIdx.x / lanes;
  const int pair = static_cast<int>(index / (tiles * streamed_rows)), row = static_cast<int>(index % (tiles * streamed_rows));
  const bool inside = pair < extents.pairs && row < extents.positions;
  float sum = 0.0f;
  if (inside) {
    const std::int64_t at = extents.plain(pair) + row * extents.channels() + static_cast<int>(threadIdx.x) % lanes * 8;
    float a[8], b[8];
    load_elements<8>(dout + at, a);
    load_elements<8>(out + at, b);
#pragma unroll
    for (int i = 0; i < 8; ++i) sum += a[i] * b[i];
  }
  sum = warp_reduce<lanes>(sum, Add{});
  if (pair < extents.pairs && threadIdx.x % lanes == 0) {
    float* const to = statistics + (static_cast<std::int64_t>(pair) * tiles + row / streamed_rows) * statistics_per_tile;
    to[row % streamed_rows] =
        inside ? lse[static_cast<std::int64_t>(pair) * extents.positions + row] * log2_e : std::numeric_limits<float>::infinity();
    to[streamed_rows + row % streamed_rows] = sum;
  }
}

// A block of dS, the warp's keys in rows, goes to the tile [keys][queries].
template <int D>
__device__ __forceinline__ void store_ds(const Operand<OnePass<D>::M, OnePass<D>::N / 2>& ds, int tile_row, int column) {
  const int lane = lane_id();
  const int to = OnePass<D>::ds_tile + tile_offset<streamed_rows>(tile_row + lane / 4, 0) + lane % 4 * 4;
#pragma unroll
  for (int m = 0; m < OnePass<D>::M; ++m) {
#pragma unroll
    for (int k = 0; k < OnePass<D>::N / 2; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i)  // as as_operand() has them: 8 rows on, then 8 columns on
        *reinterpret_cast<std::uint32_t*>(
            shared_at((to ^ (2 * (column + k * 16 + i / 2 * 8))) + bytes_of<streamed_rows>(m * 16 + i % 2 * 8))) = ds[m][k][i];
    }
  }
}

// c += dS^T K over the first `steps` * 16 keys of the tile, for the warp's queries and columns.
template <int D>
__device__ __forceinline__ void multiply_own(typename OnePass<D>::OwnSums& c, int query, int column, int steps) {
  using Shape = OnePass<D>;
  const int lane = lane_id();
  const int left = Shape::ds_tile + tile_offset<streamed_rows>(lane / 16 * 8 + lane % 8, lane / 8 % 2);
  const int right = Shape::key_tile + tile_offset<D>(lane % 16, lane / 16);
#pragma unroll 1
  for (int k = 0; k < steps; ++k) {
    std::uint32_t a[2][4];
#pragma unroll
    for (int m = 0; m < 2; ++m)
      load_matrix_x4_transposed(a[m], shared_at((left ^ (2 * (query + m * 16))) + bytes_of<streamed_rows>(k * 16)));
#pragma unroll
    for (int n = 0; n < Shape::own_columns / 8; n += 2) {
      std::uint32_t b[4];
      load_matrix_x4_transposed(b, shared_at((right ^ (2 * column + 16 * n)) + bytes_of<D>(k * 16)));
      const std::uint32_t first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        mma_16x8x16(c[m][n], a[m], first);
        mma_16x8x16(c[m][n + 1], a[m], second);
      }
    }
  }
}

// `sums` are the warp's in f32, of whole rows of D / 2; `add` and `keep`: whether there are earlier ones, and later ones to come.
template <int D>
__device__ __forceinline__ void add_own(typename OnePass<D>::OwnSums& c, float* sums, int stride, int first, int end, int lane,
                                        bool add, bool keep) {
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first + m * 16 + lane / 4 + half * 8;
      if (row >= end) continue;
      auto* const of_row = reinterpret_cast<float2*>(sums + row * stride) + lane % 4;
#pragma unroll
      for (int n = 0; n < OnePass<D>::own_columns / 8; ++n) {
        float2 value = {c[m][n][2 * half], c[m][n][2 * half + 1]};
        if (add) {
          const float2 before = of_row[n * 4];
          value = {before.x + value.x, before.y + value.y};
        }
        if (keep) of_row[n * 4] = value;
        c[m][n][2 * half] = value.x;
        c[m][n][2 * half + 1] = value.y;
      }
    }
  }
}

// Writes the warp's rows and columns of dQ in whole sectors, through the same place in a tile of queries that nobody reads any more.
template <int D>
__device__ __forceinline__ void store_own(const typename OnePass<D>::OwnSums& c, float scale, int tile, int query, int column,
                                          bfloat16* to, int stride, int first, int end, int lane) {
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int n = 0; n < OnePass<D>::own_columns / 8; ++n) {
#pragma unroll
      for (int half = 0; half < 2; ++half)
        *reinterpret_cast<std::uint32_t*>(
            shared_at(tile + tile_offset<D>(query + m * 16 + lane / 4 + half * 8, column / 8 + n) + lane % 4 * 4)) =
            pack_bf16(c[m][n][2 * half] * scale, c[m][n][2 * half + 1] * scale);
    }
  }
  __syncwarp();
  constexpr int chunks = OnePass<D>::own_columns / 8;
  // Rows in an order in which eight lanes that read together read from all groups of banks.
  const int part = lane / chunks, chunk = lane % chunks;
  const int first_row = D == 64 ? part % 2 * 4 + part / 2 : part % 2 + part / 2 % 2 * 4 + part / 4 % 2 * 2 + part / 8 * 8;
#pragma unroll
  for (int i = 0; i < chunks; ++i) {
    const int row = first_row + i * (32 / chunks);
    if (first + row < end)
      *reinterpret_cast<uint4*>(to + (first + row) * stride + column + chunk * 8) =
          *reinterpret_cast<const uint4*>(shared_at(tile + tile_offset<D>(query + row, column / 8 + chunk)));
  }
}

template <int D>
__global__ void __launch_bounds__(OnePass<D>::threads, 2)
    one_pass_kernel(const bfloat16* dout, const bfloat16* qkv, const float* statistics, AttentionExtents extents, float scale,
                    bfloat16* dqkv) {
  using Shape = OnePass<D>;
  constexpr int rows = Shape::rows, threads = Shape::threads, M = Shape::M, N = Shape::N, columns = Shape::tuning.columns;

  const int pair = static_cast<int>(blockIdx.x);
  const int end = extents.positions, query_tiles = ceil_div(end, streamed_rows);
  const int stride = static_cast<int>(extents.packed_stride());
  const bfloat16* const queries = qkv + extents.packed(pair, 0);
  const bfloat16* const upstream = dout + extents.plain(pair);
  const auto load_stage = [&](int query_tile) {
    const int stage = Shape::stages + query_tile % 2 * 2 * Shape::streamed;
    load_tile<D, streamed_rows, threads>(stage, queries, stride, query_tile * streamed_rows, end);
    load_tile<D, streamed_rows, threads>(stage + Shape::streamed, upstream, static_cast<int>(extents.channels()),
                                         query_tile * streamed_rows, end);
    if (threadIdx.x < 32)
      copy_async_16(
          shared_at(Shape::statistics + query_tile % 2 * Shape::statistics_bytes + static_cast<int>(threadIdx.x) * 16),
          statistics + (static_cast<std::int64_t>(pair) * query_tiles + query_tile) * statistics_per_tile + threadIdx.x * 4);
    copy_async_commit();
  };

  const int lane = lane_id(), warp = static_cast<int>(threadIdx.x) / 32;
  const int tile_row = warp * M * 16;
  const int own_query = warp % 2 * Shape::own_rows, own_column = warp / 2 * Shape::own_columns;
  // D / 2 floats are as long as D of dK, or of dV.
  auto* const sums = reinterpret_cast<float*>(dqkv + extents.packed(pair, 1 + warp / 2));
  const float scale_log2 = scale * log2_e;

  for (int first_key = 0; first_key < end; first_key += rows) {
    __syncthreads();  // nobody reads the tiles before any more
    load_tile<D, rows, threads>(Shape::key_tile, qkv + extents.packed(pair, 1), stride, first_key, end);
    load_tile<D, rows, threads>(Shape::value_tile, qkv + extents.packed(pair, 2), stride, first_key, end);
    load_stage(first_key / streamed_rows);

    const int warp_row = first_key + tile_row;  // the warp's first key
    Sums<M, D / 8> dk = {}, dv = {};
    for (int query_tile = first_key / streamed_rows; query_tile < query_tiles; ++query_tile) {
      copy_async_wait<0>();
      __syncthreads();  // this stage has arrived, and nobody reads the other one or dS any more
      if (query_tile + 1 < query_tiles) load_stage(query_tile + 1);
      const int stage = Shape::stages + query_tile % 2 * 2 * Shape::streamed;
      const int first_query = query_tile * streamed_rows;
      Operand<M, D / 16> keys, values;  // read again for each tile, since dQ needs their registers in between
      load_operands<D, M>(keys, Shape::key_tile, tile_row);
      load_operands<D, M>(values, Shape::value_tile, tile_row);
#pragma unroll 1
      for (int column = 0; column < streamed_rows; column += columns) {
        if (first_query + column + columns <= warp_row) continue;
        Operand<M, N / 2> ds;
        add_key_gradients<D, M, N>(dk, dv, ds, keys, values, Shape::value_tile, tile_row, stage, stage + Shape::streamed,
                                   Shape::statistics + query_tile % 2 * Shape::statistics_bytes, column, warp_row,
                                   first_query + column, scale_log2);
        store_ds<D>(ds, tile_row, column);
      }
      __syncthreads();  // dS is there, but for keys that its queries do not see
      const int own_first = first_query + own_query;
      const int seen = (own_first + Shape::own_rows - first_key) / 16;
      typename Shape::OwnSums dq = {};
      multiply_own<D>(dq, own_query, own_column, seen < rows / 16 ? seen : rows / 16);
      const bool last = first_query < first_key + rows;
      const int own_stride = opaque(stride), own_lane = opaque(lane);
      add_own<D>(dq, sums, own_stride / 2, own_first, end, own_lane, first_key > 0, !last);
      if (last)
        store_own<D>(dq, scale, stage, own_query, own_column, dqkv + extents.packed(pair, 0), own_stride, own_first, end, own_lane);
    }
    scale_sums<M, D / 8>(dk, scale);
    __syncthreads();  // nobody reads the keys any more, nor sums where dK and dV go
    const int row = opaque(tile_row);
    store_rows<D, M>(dk, Shape::key_tile, row, dqkv + extents.packed(pair, 1), stride, warp_row, end);
    store_rows<D, M>(dv, Shape::value_tile, row, dqkv + extents.packed(pair, 2), stride, warp_row, end);
  }
}

template <int D>
void one_pass(ConstTensorView dout, ConstTensorView qkv, ConstTensorView out, ConstTensorView lse, const AttentionExtents& extents,
              TensorView dqkv, float* statistics, Stream& stream) {
  constexpr int rows_of_block = 256 / (D / 8);
  const std::int64_t rows = static_cast<std::int64_t>(extents.pairs) * ceil_div(extents.positions, streamed_rows) * streamed_rows;
  launch("attention_backward delta in one pass", statistics_kernel<D>,
         {dim3(static_cast<unsigned>(ceil_div(rows, rows_of_block))), dim3(256)}, stream, dout.as<bfloat16>(), out.as<bfloat16>(),
         lse.as<float>(), extents, statistics);
  launch("attention_backward in one pass", one_pass_kernel<D>,
         {dim3(static_cast<unsigned>(extents.pairs)), dim3(OnePass<D>::threads), OnePass<D>::shared_bytes}, stream,
         dout.as<bfloat16>(), qkv.as<bfloat16>(), statistics, extents, extents.scale(), dqkv.as<bfloat16>());
}

}  // namespace

void attention_backward_in_one_pass(ConstTensorView dout, ConstTensorView qkv, ConstTensorView out, ConstTensorView lse,
                                    const AttentionExtents& extents, TensorView dqkv, float* statistics, Stream& stream) {
  if (extents.width == 32)
    one_pass<32>(dout, qkv, out, lse, extents, dqkv, statistics, stream);
  else
    one_pass<64>(dout, qkv, out, lse, extents, dqkv, statistics, stream);
}

}  // namespace temper::TEMPER_BACKEND
