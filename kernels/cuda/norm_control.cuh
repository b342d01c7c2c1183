// What the kernels of norm control share (kernels/norm_control.h has the maths).
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/reduce.cuh"
#include "kernels/norm_control.h"

namespace temper::TEMPER_BACKEND {

/// Whether a segment's step needs sums over its rows first.
__device__ __forceinline__ bool steps_by_rows(const ParameterSegment& segment) {
  return segment.control == NormControl::rotational || segment.control == NormControl::relative;
}

/// `total` of each of the sums.
template <typename Total>
__device__ __forceinline__ RowSums each_sum(const RowSums& sums, const Total& total) {
  return {total(sums.weight),  total(sums.weight_squares),  total(sums.direction), total(sums.direction_squares),
          total(sums.product), total(sums.gradient_product)};
}

/// Over the lanes of a warp; every lane gets them.
__device__ __forceinline__ RowSums warp_sum(const RowSums& sums) {
  return each_sum(sums, [](double value) { return warp_reduce(value, Add{}); });
}

}  // namespace temper::TEMPER_BACKEND
