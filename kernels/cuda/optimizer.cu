#include <cstdint>
#include <variant>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/families.h"
#include "kernels/cuda/norm_control.cuh"
#include "kernels/cuda/segments.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/host_device.h"

namespace temper::TEMPER_BACKEND {

namespace {

// A block updates `chunk` consecutive elements at a time, a warp a row: per thread two 16-byte loads of each f32 buffer. With Adam
// these are 128 bytes in flight, which eight blocks per multiprocessor multiply to 128 KiB. A third state and sums over rows take
// registers, which leave room for fewer blocks, and 60 to 100 KiB.
constexpr int threads = 128;
constexpr int width = vector_width<float>;
constexpr int vectors_per_thread = 2;
constexpr int chunk = threads * vectors_per_thread * width;
constexpr int blocks_per_multiprocessor(int states, bool with_rows) {
  if (with_rows) return states < 2 ? 5 : 4;
  return states < 3 ? 8 : 5;
}

enum class Target { weight, direction };  // what an element's update writes: weight and its bf16 copy, or the gradient's place

// `groups` times `group` neighbouring elements, `step` from one group to the next, the first at `first`; groups that do not end
// within `left` elements are left out. Groups of more than one element begin on 16-byte boundaries. `sums` may be null.
template <Target target, int group, int groups, int step, typename Rule>
__device__ __forceinline__ void update_elements(const ElementUpdate<Rule>& update, const UpdateBuffers& buffers, std::int64_t first,
                                                int left, RowSums* sums) {
  constexpr int states = state_count<Rule>, kept = states > 0 ? states : 1;
  float weight[groups][group], gradient[groups][group], state[kept][groups][group];
#pragma unroll
  for (int i = 0; i < groups; ++i) {
    if (i * step + group > left) continue;
    load_elements_streaming(buffers.gradient + first + i * step, gradient[i]);
    load_elements_streaming(buffers.master + first + i * step, weight[i]);
#pragma unroll
    for (int s = 0; s < states; ++s) load_elements_streaming(buffers.state[s] + first + i * step, state[s][i]);
  }
#pragma unroll
  for (int i = 0; i < groups; ++i) {
    if (i * step + group > left) continue;
#pragma unroll
    for (int element = 0; element < group; ++element) {
      float& w = weight[i][element];
      float& g = gradient[i][element];
      float own[kept];
#pragma unroll
      for (int s = 0; s < states; ++s) own[s] = state[s][i][element];
      if constexpr (target == Target::weight) {
        w = update(w, g, own);
      } else {
        if (sums != nullptr && update.settings.gains.trained)
          sums->gradient_product += static_cast<double>(w) * static_cast<double>(update.clipped(g));
        g = update.direction(w, g, own);
        if (sums != nullptr) sums->add(static_cast<double>(w), static_cast<double>(g));
      }
#pragma unroll
      for (int s = 0; s < states; ++s) state[s][i][element] = own[s];
    }
    if constexpr (target == Target::weight) {
      store_elements_streaming(buffers.master + first + i * step, weight[i]);
      if (buffers.low_precision != nullptr) store_low_precision(buffers.low_precision + first + i * step, weight[i]);
    } else {
      store_elements_streaming(buffers.gradient + first + i * step, gradient[i]);
    }
#pragma unroll
    for (int s = 0; s < states; ++s) store_elements_streaming(buffers.state[s] + first + i * step, state[s][i]);
  }
}

// By a block: `left` elements from `first`, a multiple of `width`, but at most a chunk.
template <Target target, typename Rule>
__device__ __forceinline__ void update_chunk(const ElementUpdate<Rule>& update, const UpdateBuffers& buffers, std::int64_t first,
                                             int left) {
  const int thread = static_cast<int>(threadIdx.x), whole = left - left % width;
  update_elements<target, width, vectors_per_thread, threads * width>(update, buffers, first + thread * width,
                                                                      whole - thread * width, nullptr);
  // Up to three elements behind the segment's last whole vector.
  if (thread < left - whole) update_elements<target, 1, 1, 1>(update, buffers, first + whole + thread, 1, nullptr);
}

// By a warp: moments and direction of a row, and its sums, which every lane gets.
template <int group, typename Rule>
__device__ __forceinline__ RowSums direct_row(const ElementUpdate<Rule>& update, const UpdateBuffers& buffers, std::int64_t first,
                                              int columns) {
  RowSums sums;
  constexpr int step = 32 * group;
#pragma unroll 1
  for (int column = lane_of_warp() * group; column < columns; column += step * vectors_per_thread)
    update_elements<Target::direction, group, vectors_per_thread, step>(update, buffers, first + column, columns - column, &sums);
  return warp_sum(sums);
}

// Calls work(first, left) for this block's chunks of a segment, with the elements from the chunk's first to its last.
template <typename Work>
__device__ __forceinline__ void for_chunks(UnitWalk& walk, const ParameterSegment& segment, const Work& work) {
  const std::int64_t elements = elements_of(segment);
  walk.segment(ceil_div(elements, chunk), [&](std::int64_t number) {
    work(segment.offset + number * chunk, static_cast<int>(min(elements - number * chunk, std::int64_t{chunk})));
  });
}

template <typename Rule, bool with_rows>
__global__ void __launch_bounds__(threads, blocks_per_multiprocessor(state_count<Rule>, with_rows))
    optimizer_update_kernel(Rule rule, UpdateSettings settings, UpdateBuffers buffers, const ParameterSegment* segments,
                            std::int64_t segment_count, const StepScalars* scalars) {
  if (scalars->finite == 0) return;
  ElementUpdate<Rule> update(rule, settings, *scalars);
  UnitWalk chunks = walk_by_blocks(), rows = walk_by_warps();
  for (std::int64_t s = 0; s < segment_count; ++s) {
    const ParameterSegment segment = segments[s];
    update.select(segment, buffers.scales != nullptr ? buffers.scales[s] : TensorScale{});
    if (with_rows && steps_by_rows(segment)) {
      rows.segment(segment.rows, [&](std::int64_t row) {
        const std::int64_t first = segment.offset + row * segment.columns;
        const int columns = static_cast<int>(segment.columns);
        const RowSums sums = columns % width == 0 ? direct_row<width>(update, buffers, first, columns)
                                                  : direct_row<1>(update, buffers, first, columns);
        if (lane_of_warp() == 0) buffers.row_work[segment.first_row + row].sums = sums;
      });
    } else if (segment.control == NormControl::direction) {
      for_chunks(chunks, segment,
                 [&](std::int64_t first, int left) { update_chunk<Target::direction>(update, buffers, first, left); });
    } else {
      for_chunks(chunks, segment,
                 [&](std::int64_t first, int left) { update_chunk<Target::weight>(update, buffers, first, left); });
    }
  }
}

// `groups` as in update_elements.
template <int group, int groups, int step>
__device__ __forceinline__ void add_decay(float decay, const UpdateBuffers& buffers, std::int64_t first, int left) {
  float weight[groups][group], gradient[groups][group];
#pragma unroll
  for (int i = 0; i < groups; ++i) {
    if (i * step + group > left) continue;
    load_elements_streaming(buffers.gradient + first + i * step, gradient[i]);
    load_elements_streaming(buffers.master + first + i * step, weight[i]);
  }
#pragma unroll
  for (int i = 0; i < groups; ++i) {
    if (i * step + group > left) continue;
#pragma unroll
    for (int element = 0; element < group; ++element) gradient[i][element] += decay * weight[i][element];
    store_elements_streaming(buffers.gradient + first + i * step, gradient[i]);
  }
}

__global__ void __launch_bounds__(threads) add_decay_gradient_kernel(UpdateBuffers buffers, const ParameterSegment* segments,
                                                                     std::int64_t segment_count, const StepScalars* scalars) {
  const int thread = static_cast<int>(threadIdx.x);
  UnitWalk chunks = walk_by_blocks();
  for (std::int64_t s = 0; s < segment_count; ++s) {
    const ParameterSegment segment = segments[s];
    const float decay = scalars->decay * segment.weight_decay;
    if (decay == 0.0f) continue;
    for_chunks(chunks, segment, [&](std::int64_t first, int left) {
      const int whole = left - left % width;
      add_decay<width, vectors_per_thread, threads * width>(decay, buffers, first + thread * width, whole - thread * width);
      if (thread < left - whole) add_decay<1, 1, 1>(decay, buffers, first + whole + thread, 1);
    });
  }
}

// Every element, or row, is on its own, so the grid may follow the machine.
LaunchShape resident_blocks(int per_multiprocessor, const Stream& stream) {
  return {dim3(static_cast<unsigned>(stream.device().multiprocessors() * per_multiprocessor)), dim3(threads)};
}

}  // namespace

void CudaOps::queue(const op::AddDecayGradient& args) {
  constexpr int blocks = 12;  // of 64 bytes per thread in flight
  launch("add_decay_gradient", add_decay_gradient_kernel, resident_blocks(blocks, stream_), stream_, args.buffers,
         args.segments.first, args.segments.count, args.scalars);
}

void CudaOps::queue(const op::OptimizerUpdate& args) {
  const bool with_rows = args.buffers.row_work != nullptr;
  std::visit(
      [&]<typename Rule>(const Rule& named) {
        launch("optimizer_update", with_rows ? optimizer_update_kernel<Rule, true> : optimizer_update_kernel<Rule, false>,
               resident_blocks(blocks_per_multiprocessor(state_count<Rule>, with_rows), stream_), stream_, named, args.settings,
               args.buffers, args.segments.first, args.segments.count, args.scalars);
      },
      args.rule);
  if (with_rows) make_controlled_steps(args, stream_);
}

}  // namespace temper::TEMPER_BACKEND
