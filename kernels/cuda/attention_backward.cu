// Backward attention: scores are computed again from queries, keys and lse. With P = exp(S - lse), dP = dO V^T and
// delta = rowsum(dO * O): dS = P (dP - delta), dQ = dS K, dK = dS^T Q, dV = P^T dO (FlashAttention-2, Dao, arXiv 2307.08691).
//
// Two passes: one block per tile of queries sums dQ over keys, then one per tile of keys sums dK and dV over queries. That is seven
// products, of which every left operand stays in registers, the warps of a block exchange nothing, and few pairs make many blocks.
// attention_one_pass.cu takes five.
#include "kernels/cuda/attention_tiles.cuh"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/families.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/host_device.h"

namespace temper::TEMPER_BACKEND {

namespace {

template <int D>
constexpr std::size_t query_gradient_shared_bytes = static_cast<std::size_t>(bytes_of<D>(2 * query_gradient_tuning<D>.rows() +
                                                                                         4 * streamed_rows));
template <int D>
constexpr std::size_t key_gradient_shared_bytes = static_cast<std::size_t>(bytes_of<D>(2 * key_gradient_tuning<D>.rows() +
                                                                                       4 * streamed_rows)) +
                                                  2 * statistics_per_tile * sizeof(float);

__device__ __forceinline__ float low_half(std::uint32_t pair) { return to_float(bfloat16{static_cast<std::uint16_t>(pair)}); }
__device__ __forceinline__ float high_half(std::uint32_t pair) {
  return to_float(bfloat16{static_cast<std::uint16_t>(pair >> 16)});
}

// One block: dQ of a tile of queries of one pair, over all keys up to its last query; lse and delta for the second pass.
template <int D>
__global__ void __launch_bounds__(query_gradient_tuning<D>.threads(), query_gradient_tuning<D>.blocks)
    query_gradient_kernel(const bfloat16* dout, const bfloat16* qkv, const bfloat16* out, const float* lse,
                          AttentionExtents extents, float scale, bfloat16* dqkv, float* statistics) {
  constexpr AttentionTuning tuning = query_gradient_tuning<D>;
  constexpr int rows = tuning.rows(), threads = tuning.threads(), M = tuning.row_tiles, N = tuning.columns / 8;
  constexpr int tile_size = bytes_of<D>(streamed_rows);
  static_assert(streamed_rows % tuning.columns == 0 && rows <= 2 * streamed_rows);

  constexpr int query_tile = 0, upstream_tile = bytes_of<D>(rows);
  constexpr int stages = 2 * upstream_tile,
                out_tile = stages + 2 * tile_size;  // a stage: keys, then values; `out` is the second at first

  const int end = extents.positions, tiles = ceil_div(end, rows);
  const BlockWork work = block_work(extents.pairs, tiles);
  const int first_row = (tiles - 1 - work.rank) * rows;
  const int last_row = first_row + rows < end ? first_row + rows : end;
  const int key_tiles = ceil_div(last_row, streamed_rows);
  const int stride = static_cast<int>(extents.packed_stride());
  const std::int64_t plain = extents.plain(work.pair);
  const bfloat16* const keys = qkv + extents.packed(work.pair, 1);
  const bfloat16* const values = qkv + extents.packed(work.pair, 2);
  const auto load_stage = [&](int key_tile) {
    const int stage = stages + key_tile % 2 * 2 * tile_size;
    load_tile<D, streamed_rows, threads>(stage, keys, stride, key_tile * streamed_rows, end);
    load_tile<D, streamed_rows, threads>(stage + tile_size, values, stride, key_tile * streamed_rows, end);
    copy_async_commit();
  };

  load_tile<D, rows, threads>(query_tile, qkv + extents.packed(work.pair, 0), stride, first_row, end);
  load_tile<D, rows, threads>(upstream_tile, dout + plain, static_cast<int>(extents.channels()), first_row, end);
  load_tile<D, rows, threads>(out_tile, out + plain, static_cast<int>(extents.channels()), first_row, end);
  load_stage(0);
  copy_async_wait<0>();
  __syncthreads();

  const int lane = lane_id();
  const int tile_row = static_cast<int>(threadIdx.x) / 32 * M * 16;
  const int warp_row = first_row + tile_row;  // the warp's first query
  Operand<M, D / 16> queries, upstream;
  load_operands<D, M>(queries, query_tile, tile_row);
  load_operands<D, M>(upstream, upstream_tile, tile_row);

  float lse_log2[M][2], delta[M][2] = {};
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int k = 0; k < D / 16; ++k) {
      std::uint32_t o[4];
      load_operand<D>(o, out_tile, tile_row + m * 16, k);
#pragma unroll
      for (int i = 0; i < 4; ++i)  // elements 0 and 2 belong to row lane / 4, 1 and 3 to the one 8 below
        delta[m][i % 2] += low_half(o[i]) * low_half(upstream[m][k][i]) + high_half(o[i]) * high_half(upstream[m][k][i]);
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      delta[m][half] = warp_reduce<4>(delta[m][half], Add{});
      const int row = warp_row + m * 16 + lane / 4 + half * 8;
      lse_log2[m][half] =
          row < end ? lse[static_cast<std::int64_t>(work.pair) * end + row] * log2_e : std::numeric_limits<float>::infinity();
      const int statistics_tiles = ceil_div(end, streamed_rows), tile = row / streamed_rows;
      if (lane % 4 == 0 && tile < statistics_tiles) {
        float* const to = statistics + (static_cast<std::int64_t>(work.pair) * statistics_tiles + tile) * statistics_per_tile;
        to[row % streamed_rows] = lse_log2[m][half];
        to[streamed_rows + row % streamed_rows] = delta[m][half];
      }
    }
  }

  const float scale_log2 = scale * log2_e;
  Sums<M, D / 8> dq = {};
  for (int key_tile = 0; key_tile < key_tiles; ++key_tile) {
    copy_async_wait<0>();
    __syncthreads();  // this stage has arrived, and nobody reads the other one any more
    if (key_tile + 1 < key_tiles) load_stage(key_tile + 1);
    const int stage = stages + key_tile % 2 * 2 * tile_size;
#pragma unroll
    for (int column = 0; column < streamed_rows; column += tuning.columns) {
      const int first_key = key_tile * streamed_rows + column;
      if (first_key >= warp_row + M * 16) continue;
      Sums<M, N> scores = {}, dp;  // dp - delta, by where it starts
#pragma unroll
      for (int m = 0; m < M; ++m) {
#pragma unroll
        for (int n = 0; n < N; ++n) {
#pragma unroll
          for (int e = 0; e < 4; ++e) dp[m][n][e] = -delta[m][e / 2];
        }
      }
      multiply_rows<D, M, N>(scores, queries, stage, column);
      multiply_rows<D, M, N>(dp, upstream, stage + tile_size, column);
      if (first_key + tuning.columns - 1 > warp_row) mask_future<false, M, N>(scores, warp_row, first_key);
#pragma unroll
      for (int m = 0; m < M; ++m) {
#pragma unroll
        for (int n = 0; n < N; ++n) {
#pragma unroll
          for (int e = 0; e < 4; ++e)
            scores[m][n][e] = exp2_approx(scores[m][n][e] * scale_log2 - lse_log2[m][e / 2]) * dp[m][n][e];
        }
      }
      Operand<M, N / 2> ds;
      as_operand<M, N>(ds, scores);
      multiply_columns<D, M, N / 2>(dq, ds, stage, column);
    }
  }
  scale_sums<M, D / 8>(dq, scale);
  store_rows<D, M>(dq, query_tile, tile_row, dqkv + extents.packed(work.pair, 0), stride, warp_row, end);
}

// One block: dK and dV of a tile of keys of one pair, over all queries from its first key on. Scores are transposed: rows are keys.
template <int D>
__global__ void __launch_bounds__(key_gradient_tuning<D>.threads(), key_gradient_tuning<D>.blocks)
    key_gradient_kernel(const bfloat16* dout, const bfloat16* qkv, const float* statistics, AttentionExtents extents, float scale,
                        bfloat16* dqkv) {
  constexpr AttentionTuning tuning = key_gradient_tuning<D>;
  constexpr int rows = tuning.rows(), threads = tuning.threads(), M = tuning.row_tiles, N = tuning.columns / 8;
  constexpr int tile_size = bytes_of<D>(streamed_rows);
  static_assert(streamed_rows % tuning.columns == 0 && rows % streamed_rows == 0 && statistics_per_tile == 32 * 4);

  constexpr int key_tile = 0, value_tile = bytes_of<D>(rows);
  constexpr int stages = 2 * value_tile;  // a stage: queries, then dout; two of them, and their statistics
  constexpr int stage_statistics = stages + 4 * tile_size, statistics_bytes = statistics_per_tile * static_cast<int>(sizeof(float));

  const int end = extents.positions, tiles = ceil_div(end, rows), query_tiles = ceil_div(end, streamed_rows);
  const BlockWork work = block_work(extents.pairs, tiles);
  const int first_row = work.rank * rows;
  const int stride = static_cast<int>(extents.packed_stride());
  const bfloat16* const queries = qkv + extents.packed(work.pair, 0);
  const bfloat16* const upstream = dout + extents.plain(work.pair);
  const auto load_stage = [&](int query_tile) {
    const int stage = stages + query_tile % 2 * 2 * tile_size;
    load_tile<D, streamed_rows, threads>(stage, queries, stride, query_tile * streamed_rows, end);
    load_tile<D, streamed_rows, threads>(stage + tile_size, upstream, static_cast<int>(extents.channels()),
                                         query_tile * streamed_rows, end);
    if (threadIdx.x < 32)
      copy_async_16(
          shared_at(stage_statistics + query_tile % 2 * statistics_bytes + static_cast<int>(threadIdx.x) * 16),
          statistics + static_cast<std::int64_t>(work.pair * query_tiles + query_tile) * statistics_per_tile + threadIdx.x * 4);
    copy_async_commit();
  };

  load_tile<D, rows, threads>(key_tile, qkv + extents.packed(work.pair, 1), stride, first_row, end);
  load_tile<D, rows, threads>(value_tile, qkv + extents.packed(work.pair, 2), stride, first_row, end);
  const int first_tile = first_row / streamed_rows;
  load_stage(first_tile);
  copy_async_wait<0>();
  __syncthreads();

  const int tile_row = static_cast<int>(threadIdx.x) / 32 * M * 16;
  const int warp_row = first_row + tile_row;  // the warp's first key
  Operand<M, D / 16> keys, values;
  load_operands<D, M>(keys, key_tile, tile_row);
  load_operands<D, M>(values, value_tile, tile_row);

  const float scale_log2 = scale * log2_e;
  Sums<M, D / 8> dk = {}, dv = {};
  for (int query_tile = first_tile; query_tile < query_tiles; ++query_tile) {
    copy_async_wait<0>();
    __syncthreads();  // this stage has arrived, and nobody reads the other one any more
    if (query_tile + 1 < query_tiles) load_stage(query_tile + 1);
    const int stage = stages + query_tile % 2 * 2 * tile_size;
#pragma unroll
    for (int column = 0; column < streamed_rows; column += tuning.columns) {
      const int first_query = query_tile * streamed_rows + column;
      if (first_query + tuning.columns <= warp_row) continue;
      Operand<M, N / 2> ds;
      add_key_gradients<D, M, N>(dk, dv, ds, keys, values, value_tile, tile_row, stage, stage + tile_size,
                                 stage_statistics + query_tile % 2 * statistics_bytes, column, warp_row, first_query, scale_log2);
    }
  }
  scale_sums<M, D / 8>(dk, scale);
  store_rows<D, M>(dk, key_tile, tile_row, dqkv + extents.packed(work.pair, 1), stride, warp_row, end);
  store_rows<D, M>(dv, value_tile, tile_row, dqkv + extents.packed(work.pair, 2), stride, warp_row, end);
}

template <int D>
void backward_tiles(ConstTensorView dout, ConstTensorView qkv, ConstTensorView out, ConstTensorView lse,
                    const AttentionExtents& extents, TensorView dqkv, float* statistics, Stream& stream) {
  const auto shape = [&](const AttentionTuning& tuning, std::size_t shared_bytes) {
    const int blocks = extents.pairs * ceil_div(extents.positions, tuning.rows());
    return LaunchShape{dim3(static_cast<unsigned>(blocks)), dim3(static_cast<unsigned>(tuning.threads())), shared_bytes};
  };
  launch("attention_backward dQ in tiles", query_gradient_kernel<D>,
         shape(query_gradient_tuning<D>, query_gradient_shared_bytes<D>), stream, dout.as<bfloat16>(), qkv.as<bfloat16>(),
         out.as<bfloat16>(), lse.as<float>(), extents, extents.scale(), dqkv.as<bfloat16>(), statistics);
  launch("attention_backward dK dV in tiles", key_gradient_kernel<D>, shape(key_gradient_tuning<D>, key_gradient_shared_bytes<D>),
         stream, dout.as<bfloat16>(), qkv.as<bfloat16>(), statistics, extents, extents.scale(), dqkv.as<bfloat16>());
}

}  // namespace

void CudaOps::queue(const op::AttentionBackward& args) {
  const AttentionExtents extents(args.qkv, args.n_head);
  auto* const scratch =
      static_cast<float*>(workspace_.get(attention_backward_scratch_bytes(args.qkv.shape[0], extents.positions, args.n_head)));
  if (!allowed(Fast::attention_gradient) ||
      !fits_tiles(args.qkv.dtype, extents, {args.dout.data, args.qkv.data, args.out.data, args.dqkv.data}))
    return attention_backward_general(args.dout, args.qkv, args.out, args.lse, extents, args.dqkv, scratch, stream_);

  const auto run = [&](auto* way) {
    return [&, way] {
      way(args.dout, args.qkv, args.out, args.lse, extents, args.dqkv, scratch, stream_);
      return true;
    };
  };
  const Way two_passes = run(extents.width == 32   ? backward_tiles<32>
                             : extents.width == 64 ? backward_tiles<64>
                                                   : backward_tiles<128>);
  const bool fits_one_pass = extents.width <= 64;
  if (!fits_one_pass || !allowed(Fast::attention_one_pass)) return void(two_passes());
  const Way one_pass = run(attention_backward_in_one_pass);
  const std::string name = "attention_backward of " + std::to_string(extents.pairs) + " heads of " + std::to_string(extents.width) +
                           " at " + std::to_string(extents.positions) + " positions";
  // Two blocks of one pass are at work on a multiprocessor, one for each pair; two passes have many blocks for one.
  const std::size_t untimed = extents.pairs >= 2 * device_->multiprocessors() ? 0 : 1;
  const std::vector<Way> ways = {one_pass, two_passes};
  ways[choices_.of(name, {"one pass", "two passes"}, ways, untimed)]();
}

}  // namespace temper::TEMPER_BACKEND
