// Barriers between some of a block's warps: those that wait and those that merely arrive. Identifiers 1 to 15; 0 is __syncthreads'.
// `threads` counts both kinds, a multiple of 32; whole warps take part.
#pragma once

#include <device/primitives.cuh>

namespace temper::cuda {

__device__ __forceinline__ void named_barrier_wait(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

__device__ __forceinline__ void named_barrier_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

}  // namespace temper::cuda
