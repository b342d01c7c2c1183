// What the host compiler and nvcc both use. TEMPER_HOST_DEVICE marks a function with one text for CPU and CUDA.
#pragma once

#if defined(__CUDACC__)
#define TEMPER_HOST_DEVICE __host__ __device__
#else
#define TEMPER_HOST_DEVICE
#endif

namespace temper {

/// a / b rounded up: how many parts of `b` cover `a`. Whole numbers, a >= 0, b > 0.
template <typename A, typename B>
TEMPER_HOST_DEVICE constexpr auto ceil_div(A a, B b) {
  return (a + b - 1) / b;
}

}  // namespace temper
