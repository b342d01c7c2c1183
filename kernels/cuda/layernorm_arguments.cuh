// What the two ways to compute layer norms share: rows held in registers (layernorm.cu) and rows of any width (layernorm_rows.cuh).
#pragma once

#include <algorithm>

#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vector.cuh"

namespace temper::TEMPER_BACKEND {

inline constexpr float layernorm_epsilon = 1e-5f;

/// `beta` may be null.
template <typename T>
struct LayernormForward {
  const T *x, *gamma, *beta;
  T* out;
  float *mean, *rstd;
  std::int64_t rows;
  int columns;
};

/// `dresidual` may be null, or the same memory as `dx`.
template <typename T>
struct LayernormBackward {
  const T *dout, *x, *gamma;
  const float *mean, *rstd;
  const T* dresidual;
  T* dx;
  float* partials;  ///< [2, parts, columns]: partial rows of dgamma, then of dbeta
  std::int64_t rows;
  int columns;
  int parts;
};

/// 1 / standard deviation, from the sum of squared differences from the mean.
__device__ __forceinline__ float layernorm_rstd(float squares, int columns) {
  return rsqrtf(squares / static_cast<float>(columns) + layernorm_epsilon);
}

}  // namespace temper::TEMPER_BACKEND
