// cp.async: copies from global to shared memory that run while the thread computes (sm_80 and later). Each thread waits for its own
// copies; others see them after a __syncthreads() behind that wait.
#pragma once

#include <device/primitives.cuh>

namespace temper::cuda {

/// 16 bytes, both addresses multiples of 16, past L1. With `valid` false nothing is read and zeros are written.
__device__ __forceinline__ void copy_async_16(void* shared_to, const void* global_from, bool valid = true) {
  const auto to = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared_to));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global_from), "r"(bytes) : "memory");
}

/// Makes one group of all copies issued since the last commit.
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until at most `pending` of this thread's groups, the newest, are under way.
template <int pending>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

}  // namespace temper::cuda
