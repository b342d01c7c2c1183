// Forward attention without ever storing a score (FlashAttention-2, Dao, arXiv 2307.08691).
#include "kernels/cuda/attention_tiles.cuh"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/families.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/host_device.h"

namespace temper::TEMPER_BACKEND {

namespace {

template <int D>
constexpr std::size_t forward_shared_bytes = static_cast<std::size_t>(bytes_of<D>(forward_tuning<D>.rows() + 4 * streamed_rows));

// The softmax of a warp's rows over the keys seen so far; sums are each thread's own columns until the end.
template <int M>
struct OnlineSoftmax {
  float largest[M][2];
  float sum[M][2];
};

// Scores become exp2(scale_log2 * (score - largest)); `out` and the sums follow a larger maximum.
template <int D, int M, int N>
__device__ __forceinline__ void softmax_step(OnlineSoftmax<M>& softmax, Sums<M, N>& scores, Sums<M, D / 8>& out, float scale_log2) {
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = softmax.largest[m][half];
#pragma unroll
      for (int n = 0; n < N; ++n) largest = Maximum{}(largest, Maximum{}(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
      largest = warp_reduce<4>(largest, Maximum{});
      const float correction = exp2_approx((softmax.largest[m][half] - largest) * scale_log2);
      const float offset = largest * scale_log2;
      float sum = softmax.sum[m][half] * correction;
#pragma unroll
      for (int n = 0; n < N; ++n) {
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; ++e) {
          scores[m][n][e] = exp2_approx(scores[m][n][e] * scale_log2 - offset);
          sum += scores[m][n][e];
        }
      }
#pragma unroll
      for (int n = 0; n < D / 8; ++n) {
        out[m][n][2 * half] *= correction;
        out[m][n][2 * half + 1] *= correction;
      }
      softmax.largest[m][half] = largest;
      softmax.sum[m][half] = sum;
    }
  }
}

// One block: a tile of queries of one pair against all keys up to its last query, 64 at a time. Tiles that end behind T go on with
// zeros, whose results are not written; no key behind T is ever seen by a query before T.
template <int D>
__global__ void __launch_bounds__(forward_tuning<D>.threads(), forward_tuning<D>.blocks)
    forward_tiles_kernel(const bfloat16* qkv, AttentionExtents extents, float scale, bfloat16* out, float* lse) {
  constexpr AttentionTuning tuning = forward_tuning<D>;
  constexpr int rows = tuning.rows(), threads = tuning.threads(), M = tuning.row_tiles, N = tuning.columns / 8;
  constexpr int tile_size = bytes_of<D>(streamed_rows);
  static_assert(streamed_rows % tuning.columns == 0);

  constexpr int query_tile = 0, stages = bytes_of<D>(rows);  // a stage: keys, then values; two of them

  const int end = extents.positions, tiles = ceil_div(end, rows);
  const BlockWork work = block_work(extents.pairs, tiles);
  const int first_row = (tiles - 1 - work.rank) * rows;
  const int last_row = first_row + rows < end ? first_row + rows : end;
  const int key_tiles = ceil_div(last_row, streamed_rows);
  const int stride = static_cast<int>(extents.packed_stride());
  const bfloat16* const keys = qkv + extents.packed(work.pair, 1);
  const bfloat16* const values = qkv + extents.packed(work.pair, 2);
  const auto load_stage = [&](int key_tile) {
    const int stage = stages + key_tile % 2 * 2 * tile_size;
    load_tile<D, streamed_rows, threads>(stage, keys, stride, key_tile * streamed_rows, end);
    load_tile<D, streamed_rows, threads>(stage + tile_size, values, stride, key_tile * streamed_rows, end);
    copy_async_commit();
  };

  load_tile<D, rows, threads>(query_tile, qkv + extents.packed(work.pair, 0), stride, first_row, end);
  load_stage(0);
  copy_async_wait<0>();
  __syncthreads();

  const int lane = lane_id();
  const int tile_row = static_cast<int>(threadIdx.x) / 32 * M * 16;
  const int warp_row = first_row + tile_row;  // the warp's first query
  Operand<M, D / 16> queries;
  load_operands<D, M>(queries, query_tile, tile_row);

  const float scale_log2 = scale * log2_e;
  OnlineSoftmax<M> softmax;
#pragma unroll
  for (int m = 0; m < M; ++m) {
    softmax.largest[m][0] = softmax.largest[m][1] = Maximum::identity;
    softmax.sum[m][0] = softmax.sum[m][1] = 0.0f;
  }
  Sums<M, D / 8> result = {};

  for (int key_tile = 0; key_tile < key_tiles; ++key_tile) {
    copy_async_wait<0>();
    __syncthreads();  // this stage has arrived, and nobody reads the other one any more
    if (key_tile + 1 < key_tiles) load_stage(key_tile + 1);
    const int stage = stages + key_tile % 2 * 2 * tile_size;
#pragma unroll
    for (int column = 0; column < streamed_rows; column += tuning.columns) {
      const int first_key = key_tile * streamed_rows + column;
      if (first_key >= warp_row + M * 16) continue;
      Sums<M, N> scores = {};
      multiply_rows<D, M, N>(scores, queries, stage, column);
      if (first_key + tuning.columns - 1 > warp_row) mask_future<false, M, N>(scores, warp_row, first_key);
      softmax_step<D, M, N>(softmax, scores, result, scale_log2);
      Operand<M, N / 2> probabilities;
      as_operand<M, N>(probabilities, scores);
      multiply_columns<D, M, N / 2>(result, probabilities, stage + tile_size, column);
    }
  }

  float* const row_lse = lse + static_cast<std::int64_t>(work.pair) * end;
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float sum = warp_reduce<4>(softmax.sum[m][half], Add{});
      const float factor = 1.0f / sum;
#pragma unroll
      for (int n = 0; n < D / 8; ++n) {
        result[m][n][2 * half] *= factor;
        result[m][n][2 * half + 1] *= factor;
      }
      const int row = warp_row + m * 16 + lane / 4 + half * 8;
      if (lane % 4 == 0 && row < end) row_lse[row] = softmax.largest[m][half] * scale + logf(sum);
    }
  }
  store_rows<D, M>(result, query_tile, tile_row, out + extents.plain(work.pair), static_cast<int>(extents.channels()), warp_row,
                   end);
}

template <int D>
void forward_tiles(ConstTensorView qkv, const AttentionExtents& extents, TensorView out, TensorView lse, Stream& stream) {
  const int blocks = extents.pairs * ceil_div(extents.positions, forward_tuning<D>.rows());
  launch("attention_forward in tiles", forward_tiles_kernel<D>,
         {dim3(static_cast<unsigned>(blocks)), dim3(forward_tuning<D>.threads()), forward_shared_bytes<D>}, stream,
         qkv.as<bfloat16>(), extents, extents.scale(), out.as<bfloat16>(), lse.as<float>());
}

}  // namespace

void CudaOps::queue(const op::AttentionForward& args) {
  const AttentionExtents extents(args.qkv, args.n_head);
  if (!allowed(Fast::attention) || !fits_tiles(args.qkv.dtype, extents, {args.qkv.data, args.out.data}))
    attention_forward_general(args.qkv, extents, args.out, args.lse, stream_);
  else if (extents.width == 32)
    forward_tiles<32>(args.qkv, extents, args.out, args.lse, stream_);
  else if (extents.width == 64)
    forward_tiles<64>(args.qkv, extents, args.out, args.lse, stream_);
  else
    forward_tiles<128>(args.qkv, extents, args.out, args.lse, stream_);
}

}  // namespace temper::TEMPER_BACKEND
