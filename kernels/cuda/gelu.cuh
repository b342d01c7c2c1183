// GPT-2's GELU (Hendrycks & Gimpel, arXiv 1606.08415, the tanh form) and its slope, for kernels whose tensors are of type T: with
// bf16 tensors the hardware's approximate tanh is exact enough, with f32 it is not.
#pragma once

#include <device/primitives.cuh>

namespace temper::TEMPER_BACKEND {

template <typename T>
__device__ __forceinline__ float gelu_tanh(float z) {
  constexpr float sqrt_2_over_pi = 0.7978845608028654f;
  const float u = sqrt_2_over_pi * (z + 0.044715f * z * z * z);
  if constexpr (sizeof(T) == 2)
    return tanh_approx(u);
  else
    return tanhf(u);
}

template <typename T>
__device__ __forceinline__ float gelu(float z) {
  return 0.5f * z * (1.0f + gelu_tanh<T>(z));
}

template <typename T>
__device__ __forceinline__ float gelu_slope(float z) {
  constexpr float sqrt_2_over_pi = 0.7978845608028654f;
  const float t = gelu_tanh<T>(z);
  return 0.5f * (1.0f + t) + 0.5f * z * (1.0f - t * t) * sqrt_2_over_pi * (1.0f + 3.0f * 0.044715f * z * z);
}

}  // namespace temper::TEMPER_BACKEND
