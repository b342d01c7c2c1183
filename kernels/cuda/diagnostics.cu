#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/families.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/segments.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/host_device.h"

namespace temper::TEMPER_BACKEND {

namespace {

constexpr int threads = 256;

// ---- update_statistics

// A warp sums a slice of rows at a time, 64 bytes per lane in flight; with more, registers would spill. Slices follow from a segment's
// number of rows alone: at most `most_slices`, so that the partial sums of any model have a place, and at least four rows each, whose
// angles are computed side by side.
constexpr int blocks_per_multiprocessor = 2;
constexpr int width = vector_width<float>;
constexpr int vectors_per_lane = 2;
constexpr std::int64_t least_rows = 4;

struct Slices {
  std::int64_t rows, count;  // rows of each but the last, which has what is left
};

__device__ __forceinline__ Slices slices_of(std::int64_t rows) {
  const std::int64_t each = max(ceil_div(rows, most_slices), least_rows);
  return {each, ceil_div(rows, each)};
}

// Of one row.
struct RowProducts {
  double weight_squares = 0.0, product = 0.0, update_squares = 0.0, step_product = 0.0, step_squares = 0.0;
};

// Of one lane: what needs no row, and angles of the rows that the lane took.
struct Collected {
  RowProducts rows;
  double row_angles = 0.0, step_row_angles = 0.0, fourth_powers = 0.0;
  float largest = 0.0f;

  __device__ __forceinline__ void add_row(const RowProducts& row) {
    rows.weight_squares += row.weight_squares;
    rows.product += row.product;
    rows.update_squares += row.update_squares;
    rows.step_product += row.step_product;
    rows.step_squares += row.step_squares;
    const double angle = angle_turned(row.weight_squares, row.product, row.update_squares);
    const double step_angle = angle_turned(row.weight_squares, row.step_product, row.step_squares);
    row_angles += angle * angle;
    step_row_angles += step_angle * step_angle;
  }
};

// The flat buffers of an update, and how its decay is taken out.
struct Change {
  const float *before, *after, *gradient;
  float* step;
  DecayInChange decay;
};

// By a warp: the row at `first`; every lane gets its products. Powers and the largest stay with the lanes.
template <int group>
__device__ __forceinline__ RowProducts sum_row(const Change& change, std::int64_t first, int columns, double share,
                                               Collected& collected) {
  const bool by_gradient = change.decay.cautious && change.decay.averaged;
  RowProducts sums;
  constexpr int step = 32 * group;
#pragma unroll 1
  for (int column = lane_of_warp() * group; column < columns; column += vectors_per_lane * step) {
    float old_weights[vectors_per_lane][group], new_weights[vectors_per_lane][group];
    float steps[vectors_per_lane][group];  // gradients, as far as they are looked at, until then
#pragma unroll
    for (int i = 0; i < vectors_per_lane; ++i) {
      if (column + i * step >= columns) continue;
      load_elements_streaming(change.before + first + column + i * step, old_weights[i]);
      load_elements_streaming(change.after + first + column + i * step, new_weights[i]);
      if (by_gradient) load_elements_streaming(change.gradient + first + column + i * step, steps[i]);
    }
#pragma unroll
    for (int i = 0; i < vectors_per_lane; ++i) {
      if (column + i * step >= columns) continue;
#pragma unroll
      for (int element = 0; element < group; ++element) {
        const double w = static_cast<double>(old_weights[i][element]);
        const double dw = static_cast<double>(new_weights[i][element]) - w;
        const double squared = w * w;
        bool decayed = true;
        if (change.decay.cautious) decayed = by_gradient ? static_cast<double>(steps[i][element]) * w >= 0.0 : dw * w < 0.0;
        const double stepped = decayed ? dw + share * w : dw;
        steps[i][element] = static_cast<float>(stepped);
        sums.weight_squares += squared;
        sums.product += w * dw;
        sums.update_squares += dw * dw;
        sums.step_product += w * stepped;
        sums.step_squares += stepped * stepped;
        collected.fourth_powers += squared * squared;
        collected.largest = max(collected.largest, std::abs(old_weights[i][element]));
      }
      if (change.step != nullptr) store_elements_streaming(change.step + first + column + i * step, steps[i]);
    }
  }
  return {warp_reduce(sums.weight_squares, Add{}), warp_reduce(sums.product, Add{}), warp_reduce(sums.update_squares, Add{}),
          warp_reduce(sums.step_product, Add{}), warp_reduce(sums.step_squares, Add{})};
}

// By a warp: rows [first, end) of a segment. Every lane gets the totals.
__device__ __forceinline__ UpdateStatistics sum_slice(const Change& change, const ParameterSegment& segment, std::int64_t first,
                                                      std::int64_t end, double share) {
  Collected collected;
  RowProducts mine;  // of the row whose angle this lane computes
  int rows_held = 0;
  const int columns = static_cast<int>(segment.columns);
  for (std::int64_t row = first; row < end; ++row) {
    const std::int64_t begin = segment.offset + row * segment.columns;
    const RowProducts sums = columns % width == 0 ? sum_row<width>(change, begin, columns, share, collected)
                                                  : sum_row<1>(change, begin, columns, share, collected);
    if (lane_of_warp() == rows_held) mine = sums;
    if (++rows_held < 32 && row + 1 < end) continue;
    if (lane_of_warp() < rows_held) collected.add_row(mine);
    rows_held = 0;
  }
  const auto total = [](double value) { return warp_reduce(value, Add{}); };
  return {total(collected.rows.weight_squares),
          total(collected.rows.product),
          total(collected.rows.update_squares),
          total(collected.rows.step_product),
          total(collected.rows.step_squares),
          total(collected.row_angles),
          total(collected.step_row_angles),
          total(collected.fourth_powers),
          static_cast<double>(warp_reduce(collected.largest, Maximum{}))};
}

__global__ void __launch_bounds__(threads, blocks_per_multiprocessor)
    update_statistics_partials(Change change, const ParameterSegment* segments, std::int64_t segment_count,
                               const StepScalars* scalars, UpdateStatistics* partials) {
  UnitWalk walk = walk_by_warps();
  for (std::int64_t s = 0; s < segment_count; ++s) {
    const ParameterSegment segment = segments[s];
    const double share = change.decay.share(segment, *scalars);
    const Slices slices = slices_of(segment.rows);
    walk.segment(slices.count, [&](std::int64_t slice) {
      const std::int64_t first = slice * slices.rows, end = min(first + slices.rows, segment.rows);
      const UpdateStatistics sums = sum_slice(change, segment, first, end, share);
      if (lane_of_warp() == 0) partials[s * most_slices + slice] = sums;
    });
  }
}

// Block s adds up segment s.
__global__ void __launch_bounds__(threads)
    finish_update_statistics(const UpdateStatistics* partials, const ParameterSegment* segments, UpdateStatistics* out) {
  TEMPER_SHARED(double, scratch, [8 * 32]);
  TEMPER_SHARED(float, largest_scratch, [32]);
  const std::int64_t count = slices_of(segments[blockIdx.x].rows).count;
  partials += blockIdx.x * most_slices;
  UpdateStatistics sums = {};
  for (std::int64_t slice = threadIdx.x; slice < count; slice += threads) sums.add(partials[slice]);
  const auto total = [&](double value, int number) { return block_reduce(value, scratch + 32 * number, Add{}); };
  sums = {total(sums.weight_squares, 0),
          total(sums.product, 1),
          total(sums.update_squares, 2),
          total(sums.step_product, 3),
          total(sums.step_squares, 4),
          total(sums.row_angles, 5),
          total(sums.step_row_angles, 6),
          total(sums.fourth_powers, 7),
          static_cast<double>(block_reduce(static_cast<float>(sums.largest), largest_scratch, Maximum{}))};
  if (threadIdx.x == 0) out[blockIdx.x] = sums;
}

// ---- histogram

// Blocks count in shared memory, for `window` bins at a time: more bins are more rows of blocks, each of which reads everything.
// Weights crowd into few bins; with four counters for each, by lane, an addition of a warp seldom meets itself.
constexpr int histogram_blocks = 8;  // per multiprocessor
constexpr int unroll = 8;            // 4-byte loads in flight per thread
constexpr int window = 1024;
constexpr int copies = 4;

__global__ void __launch_bounds__(threads, histogram_blocks)
    histogram_kernel(const float* x, std::int64_t count, double scale, int bins, int* counts) {
  TEMPER_SHARED(int, own, [window * copies]);
  const int thread = static_cast<int>(threadIdx.x);
  const int first_bin = static_cast<int>(blockIdx.y) * window;
  const int bins_here = min(bins - first_bin, window);
  for (int i = thread; i < bins_here * copies; i += threads) own[i] = 0;
  __syncthreads();

  const double bins_per_unit = bins / 12.0;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * threads;
  for (std::int64_t base = static_cast<std::int64_t>(blockIdx.x) * threads + thread; base < count; base += unroll * stride) {
    float values[unroll];
#pragma unroll
    for (int i = 0; i < unroll; ++i) values[i] = base + i * stride < count ? __ldcs(x + base + i * stride) : 0.0f;
#pragma unroll
    for (int i = 0; i < unroll; ++i) {
      if (base + i * stride >= count) continue;
      const double place = (scale * static_cast<double>(values[i]) + 6.0) * bins_per_unit;
      const int bin = place >= bins ? bins - 1 : (place > 0.0 ? static_cast<int>(place) : 0);  // NaN: the first
      if (bin >= first_bin && bin < first_bin + bins_here) atomicAdd(&own[(bin - first_bin) * copies + thread % copies], 1);
    }
  }
  __syncthreads();

  for (int bin = thread; bin < bins_here; bin += threads) {
    int sum = 0;
#pragma unroll
    for (int copy = 0; copy < copies; ++copy) sum += own[bin * copies + copy];
    if (sum != 0) atomicAdd(&counts[first_bin + bin], sum);
  }
}

}  // namespace

void CudaOps::queue(const op::UpdateStatistics& args) {
  if (args.segments.count == 0) return;
  auto* partials = static_cast<UpdateStatistics*>(workspace_.get(update_statistics_scratch_bytes(args.segments.count)));
  const auto blocks = static_cast<unsigned>(stream_.device().multiprocessors() * blocks_per_multiprocessor);
  const Change change{args.before, args.after, args.gradient, args.step, args.decay};
  launch("update_statistics", update_statistics_partials, {dim3(blocks), dim3(threads)}, stream_, change, args.segments.first,
         args.segments.count, args.scalars, partials);
  launch("update_statistics", finish_update_statistics, {dim3(static_cast<unsigned>(args.segments.count)), dim3(threads)}, stream_,
         partials, args.segments.first, args.out);
}

void CudaOps::queue(const op::Histogram& args) {
  stream_.zero(args.counts.data, args.counts.bytes());
  const std::int64_t count = args.x.numel(), bins = args.counts.numel();
  constexpr std::int64_t per_block = std::int64_t{threads} * unroll;
  const std::int64_t resident = std::int64_t{stream_.device().multiprocessors()} * histogram_blocks;
  // Counts are exact in any order, so the grid may follow the machine.
  const dim3 grid(static_cast<unsigned>(std::clamp<std::int64_t>(ceil_div(count, per_block), 1, resident)),
                  static_cast<unsigned>(ceil_div(bins, window)));
  launch("histogram", histogram_kernel, {grid, dim3(threads)}, stream_, args.x.as<float>(), count, static_cast<double>(args.scale),
         static_cast<int>(bins), args.counts.as<int>());
}

}  // namespace temper::TEMPER_BACKEND
