#include "kernels/cuda/norm_control.cuh"

#include <cstdint>

#include "kernels/cuda/families.h"
#include "kernels/cuda/segments.cuh"
#include "kernels/cuda/vector.cuh"

namespace temper::TEMPER_BACKEND {

namespace {

// Steps are a few hundred operations in double per row, and a matrix' row sums are added by one block; 16 blocks share a segment's
// rows, so that an embedding's 50,000 are spread as well.
constexpr int step_threads = 512;
constexpr unsigned step_blocks_per_segment = 16;

// Applying a step reads and writes a row by one warp, four 16-byte loads of each of two buffers per lane in flight.
constexpr int apply_threads = 256;
constexpr int apply_blocks_per_multiprocessor = 3;
constexpr int width = vector_width<float>;
constexpr int vectors_per_lane = 4;

// Block (s, y): the steps of segment s, of whose rows the blocks of all y take turns, or by the first of them of its matrix.
__global__ void __launch_bounds__(step_threads)
    controlled_step_kernel(UpdateSettings settings, UpdateBuffers buffers, const ParameterSegment* segments,
                           const StepScalars* scalars) {
  const ParameterSegment segment = segments[blockIdx.x];
  if (scalars->finite == 0 || !steps_by_rows(segment)) return;
  const float rate_scale = buffers.scales != nullptr ? buffers.scales[blockIdx.x].rate : 1.0f;
  RowWork* work = buffers.row_work + segment.first_row;
  const bool by_rows = segment.per_row != 0;

  TEMPER_SHARED(double, scratch, [6 * 32]);
  const std::int64_t thread = threadIdx.x;
  RowSums of_matrix;
  if (!by_rows) {
    if (blockIdx.y != 0) return;
#pragma unroll 4
    for (std::int64_t row = thread; row < segment.rows; row += step_threads) of_matrix.add(work[row].sums);
    double* free_scratch = scratch;
    of_matrix = each_sum(of_matrix, [&](double value) {
      double* own = free_scratch;
      free_scratch += 32;
      return block_reduce(value, own, Add{});
    });
  }
  // One call for rows and matrices, whose step takes all of a thread's registers.
  const std::int64_t count = by_rows ? segment.rows : 1, stride = static_cast<std::int64_t>(gridDim.y) * step_threads;
  for (std::int64_t row = blockIdx.y * std::int64_t{step_threads} + thread; row < count; row += stride) {
    RowSums sums = of_matrix;
    if (by_rows) sums = work[row].sums;
    work[row].step = controlled_step(segment, sums, rate_scale, settings, *scalars, buffers.row_state(segment.first_row + row));
  }
}

// By a warp: master = keep w + add u + shift over a row.
template <int group>
__device__ __forceinline__ void apply_step(const LinearStep& step, const UpdateBuffers& buffers, std::int64_t first, int columns) {
  constexpr int stride = 32 * group;
#pragma unroll 1
  for (int column = lane_of_warp() * group; column < columns; column += stride * vectors_per_lane) {
    float weight[vectors_per_lane][group], direction[vectors_per_lane][group];
    const std::int64_t base = first + column;
#pragma unroll
    for (int i = 0; i < vectors_per_lane; ++i) {
      if (column + i * stride >= columns) continue;
      load_elements_streaming(buffers.master + base + i * stride, weight[i]);
      load_elements_streaming(buffers.gradient + base + i * stride, direction[i]);
    }
#pragma unroll
    for (int i = 0; i < vectors_per_lane; ++i) {
      if (column + i * stride >= columns) continue;
#pragma unroll
      for (int element = 0; element < group; ++element) {
        float& w = weight[i][element];
        w = step.keep * w + step.add * direction[i][element] + step.shift;
      }
      store_elements_streaming(buffers.master + base + i * stride, weight[i]);
      if (buffers.low_precision != nullptr) store_low_precision(buffers.low_precision + base + i * stride, weight[i]);
    }
  }
}

__global__ void __launch_bounds__(apply_threads, apply_blocks_per_multiprocessor)
    apply_steps_kernel(UpdateBuffers buffers, const ParameterSegment* segments, std::int64_t segment_count,
                       const StepScalars* scalars) {
  if (scalars->finite == 0) return;
  UnitWalk rows = walk_by_warps();
  for (std::int64_t s = 0; s < segment_count; ++s) {
    const ParameterSegment segment = segments[s];
    if (!steps_by_rows(segment)) continue;
    rows.segment(segment.rows, [&](std::int64_t row) {
      const LinearStep step = buffers.row_work[segment.first_row + (segment.per_row != 0 ? row : 0)].step;
      const std::int64_t first = segment.offset + row * segment.columns;
      const int columns = static_cast<int>(segment.columns);
      if (columns % width == 0)
        apply_step<width>(step, buffers, first, columns);
      else
        apply_step<1>(step, buffers, first, columns);
    });
  }
}

}  // namespace

void make_controlled_steps(const op::OptimizerUpdate& update, Stream& stream) {
  if (update.segments.count == 0) return;
  launch("controlled_step", controlled_step_kernel,
         {dim3(static_cast<unsigned>(update.segments.count), step_blocks_per_segment), dim3(step_threads)}, stream, update.settings,
         update.buffers, update.segments.first, update.scalars);
  const auto blocks = static_cast<unsigned>(stream.device().multiprocessors() * apply_blocks_per_multiprocessor);
  launch("apply_steps", apply_steps_kernel, {dim3(blocks), dim3(apply_threads)}, stream, update.buffers, update.segments.first,
         update.segments.count, update.scalars);
}

}  // namespace temper::TEMPER_BACKEND
