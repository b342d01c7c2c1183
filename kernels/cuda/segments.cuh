// Walks over the parameter segments in device memory. The host does not know the table, so the units of work of all segments
// (chunks, rows, slices) are numbered through, and a worker takes the numbers first, first + stride, ...: every worker gets about
// equally many. The walk costs each some hundred cached loads.
#pragma once

#include <device/primitives.cuh>

#include <cstdint>

#include "kernels/update_rules.h"

namespace temper::TEMPER_BACKEND {

/// Where a worker is: `next` counts from the present segment's first unit.
struct UnitWalk {
  int next, stride;

  /// Calls work(unit) for this worker's units among the `units` of the next segment.
  template <typename Work>
  __device__ __forceinline__ void segment(std::int64_t units, const Work& work) {
    const int count = static_cast<int>(units);
#pragma unroll 1
    for (; next < count; next += stride) work(std::int64_t{next});
    next -= count;
  }
};

/// Blocks as workers.
__device__ __forceinline__ UnitWalk walk_by_blocks() { return {static_cast<int>(blockIdx.x), static_cast<int>(gridDim.x)}; }

/// Warps as workers. Neighbouring units go to different blocks, so that a segment of large units does not wait for a few of them.
__device__ __forceinline__ UnitWalk walk_by_warps() {
  return {static_cast<int>(threadIdx.x / 32 * gridDim.x + blockIdx.x), static_cast<int>(blockDim.x / 32 * gridDim.x)};
}

__device__ __forceinline__ int lane_of_warp() { return static_cast<int>(threadIdx.x) % 32; }

__device__ __forceinline__ std::int64_t elements_of(const ParameterSegment& segment) { return segment.rows * segment.columns; }

}  // namespace temper::TEMPER_BACKEND
