// What kernels use of the CUDA language beyond plain C++. kernels/emulated/device/primitives.cuh is the same list for the host
// compiler; a name that a kernel needs and that is missing there goes into both files. Rules for kernels, so that both compile:
// * launched through launch() of device/runtime.h, never with <<<>>>;
// * shared memory through TEMPER_SHARED and dynamic_shared(), never `extern __shared__`;
// * PTX only inside the wrappers of this folder;
// * atomics on integers only; a thread that returns early must not be awaited at a later barrier.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/bfloat16.h"

/// TEMPER_SHARED(float, partial, [32]); declares an array in shared memory, on a 16-byte boundary.
#define TEMPER_SHARED(type, name, extent) __shared__ __align__(16) type name extent

namespace temper::cuda {

/// All banks once. What a kernel declares is rounded up to it, so that more would cost memory.
constexpr int shared_boundary = 128;

/// The launch's dynamic shared memory, on that boundary.
template <typename T>
__device__ __forceinline__ T* dynamic_shared() {
  extern __shared__ __align__(shared_boundary) unsigned char dynamic_shared_memory[];
  return reinterpret_cast<T*>(dynamic_shared_memory);
}

/// 2^x with about 2 ulp of error; -inf gives 0.
__device__ __forceinline__ float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// tanh with a relative error of 2^-11: for results that are rounded to bf16.
__device__ __forceinline__ float tanh_approx(float x) {
  float y;
  asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Two floats rounded to nearest even as bf16, `low` in the lower half.
__device__ __forceinline__ std::uint32_t pack_bf16(float low, float high) {
  std::uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

/// Hides from the compiler where a 16-byte vector came from: what was unpacked from it before is unpacked once more afterwards
/// instead of staying in registers.
__device__ __forceinline__ void keep_packed(uint4& raw) { asm volatile("" : "+r"(raw.x), "+r"(raw.y), "+r"(raw.z), "+r"(raw.w)); }
__device__ __forceinline__ void keep_packed(float4& /*raw*/) {}

/// `value`, of which the compiler knows nothing: what follows from it is worked out anew in each round of a loop, where registers are
/// scarcer than instructions.
__device__ __forceinline__ int opaque(int value) {
  asm volatile("" : "+r"(value));
  return value;
}

}  // namespace temper::cuda
