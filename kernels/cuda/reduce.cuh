// Sums and maxima over a warp and over a block. The order depends on the number of threads alone, so the same inputs give the same
// bits; every thread gets the result.
#pragma once

#include <device/primitives.cuh>

namespace temper::TEMPER_BACKEND {

struct Add {
  static constexpr float identity = 0.0f;
  template <typename Value>
  __device__ __forceinline__ Value operator()(Value a, Value b) const {
    return a + b;
  }
};
/// One instruction; of a NaN and a number the number.
struct Maximum {
  static constexpr float identity = -3.402823466e38f;
  __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

/// Over `width` neighbouring lanes (a power of two); all 32 lanes take part.
template <int width = 32, typename Value, typename Operation>
__device__ __forceinline__ Value warp_reduce(Value value, Operation operation) {
#pragma unroll
  for (int distance = width / 2; distance > 0; distance /= 2) value = operation(value, __shfl_xor_sync(~0u, value, distance));
  return value;
}

/// Over all threads of a one-dimensional block of whole warps, at most 1,024. `scratch` is 32 values in shared memory, free again
/// when the next __syncthreads() has passed.
template <typename Value, typename Operation>
__device__ __forceinline__ Value block_reduce(Value value, Value* scratch, Operation operation) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warps = static_cast<int>(blockDim.x) / 32;
  value = warp_reduce(value, operation);
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  return warp_reduce(lane < warps ? scratch[lane] : Value{Operation::identity}, operation);
}

}  // namespace temper::TEMPER_BACKEND
