#include <cstdint>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/families.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/segments.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/host_device.h"

namespace temper::TEMPER_BACKEND {

namespace {

// A warp sums a slice at a time, 128 bytes per lane in flight. Slices follow from a segment's size alone: at most `most_slices`, so
// that the partial sums of any model have a place, and not less than 4,096 elements each.
constexpr int threads = 256;
constexpr int blocks_per_multiprocessor = 4;
constexpr int width = vector_width<float>;
constexpr int vectors_per_lane = 4;
constexpr std::int64_t warp_step = std::int64_t{32} * width;
constexpr std::int64_t slice_unit = 8 * vectors_per_lane * warp_step;

struct Slices {
  std::int64_t size, count;  // elements of each but the last, which has what is left
};

__device__ __forceinline__ Slices slices_of(std::int64_t elements) {
  const std::int64_t units = ceil_div(elements, slice_unit);
  const std::int64_t size = ceil_div(units, most_slices) * slice_unit;
  return {size, size > 0 ? ceil_div(elements, size) : 0};
}

__device__ __forceinline__ void add(TensorMoments& sums, float gradient, float moment) {
  const double g = static_cast<double>(gradient), m = static_cast<double>(moment);
  sums.gradient_squares += g * g;
  sums.product += g * m;
  sums.moment_squares += m * m;
}

template <typename Total>
__device__ __forceinline__ TensorMoments each_sum(const TensorMoments& sums, const Total& total) {
  return {total(sums.gradient_squares), total(sums.product), total(sums.moment_squares)};
}

// By a warp: elements [first, end), where `first` is a multiple of `width`. Every lane gets the sums.
template <bool with_moment>
__device__ __forceinline__ TensorMoments sum_slice(const float* gradient, const float* moment, std::int64_t first,
                                                   std::int64_t end) {
  TensorMoments sums;
  const std::int64_t whole = end - end % width;
  for (std::int64_t base = first + lane_of_warp() * width; base < whole; base += vectors_per_lane * warp_step) {
    float4 gradients[vectors_per_lane], moments[vectors_per_lane];
#pragma unroll
    for (int i = 0; i < vectors_per_lane; ++i) {
      const std::int64_t place = base + i * warp_step;
      gradients[i] = raw_vector_streaming(gradient, place, place < whole);
      moments[i] = raw_vector_streaming(moment, place, with_moment && place < whole);
    }
#pragma unroll
    for (int i = 0; i < vectors_per_lane; ++i) {
      float g[width], m[width];
      unpack(gradients[i], g);
      unpack(moments[i], m);
#pragma unroll
      for (int element = 0; element < width; ++element) add(sums, g[element], m[element]);
    }
  }
  const std::int64_t last = whole + lane_of_warp();
  if (last < end) add(sums, gradient[last], with_moment ? moment[last] : 0.0f);
  return each_sum(sums, [](double value) { return warp_reduce(value, Add{}); });
}

template <bool with_moment>
__global__ void __launch_bounds__(threads, blocks_per_multiprocessor)
    tensor_moments_partials(const float* gradient, const float* moment, const ParameterSegment* segments,
                            std::int64_t segment_count, TensorMoments* partials) {
  UnitWalk walk = walk_by_warps();
  for (std::int64_t s = 0; s < segment_count; ++s) {
    const std::int64_t offset = segments[s].offset, elements = elements_of(segments[s]);
    const Slices slices = slices_of(elements);
    walk.segment(slices.count, [&](std::int64_t slice) {
      const std::int64_t first = slice * slices.size, end = min(first + slices.size, elements);
      const TensorMoments sums = sum_slice<with_moment>(gradient, moment, offset + first, offset + end);
      if (lane_of_warp() == 0) partials[s * most_slices + slice] = sums;
    });
  }
}

// Block s adds up segment s.
__global__ void __launch_bounds__(threads)
    finish_tensor_moments(const TensorMoments* partials, const ParameterSegment* segments, TensorMoments* out) {
  TEMPER_SHARED(double, scratch, [3 * 32]);
  const std::int64_t count = slices_of(elements_of(segments[blockIdx.x])).count;
  partials += blockIdx.x * most_slices;
  TensorMoments sums;
  for (std::int64_t slice = threadIdx.x; slice < count; slice += threads) sums.add(partials[slice]);
  double* free_scratch = scratch;
  sums = each_sum(sums, [&](double value) {
    double* own = free_scratch;
    free_scratch += 32;
    return block_reduce(value, own, Add{});
  });
  if (threadIdx.x == 0) out[blockIdx.x] = sums;
}

__global__ void __launch_bounds__(threads)
    tensor_scales_kernel(ScaleSettings settings, const TensorMoments* moments, const TensorMoments* halves,
                         const ParameterSegment* segments, std::int64_t segment_count, const StepScalars* scalars, float* smoothed,
                         TensorScale* scales) {
  const std::int64_t s = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (s >= segment_count || scalars->finite == 0) return;
  const double squares = moments != nullptr ? moments[s].gradient_squares : 0.0;
  const TensorMoments both = halves != nullptr ? halves[s] : TensorMoments{};
  float* means = smoothed != nullptr ? smoothed + 2 * s : nullptr;  // null when no rate is corrected
  scales[s] = tensor_scale(settings, squares, both, segments[s].rows > 1, *scalars, means);
}

}  // namespace

void CudaOps::queue(const op::TensorMoments& args) {
  if (args.segments.count == 0) return;
  auto* partials = static_cast<TensorMoments*>(workspace_.get(tensor_moments_scratch_bytes(args.segments.count)));
  const auto blocks = static_cast<unsigned>(stream_.device().multiprocessors() * blocks_per_multiprocessor);
  launch("tensor_moments", args.moment != nullptr ? tensor_moments_partials<true> : tensor_moments_partials<false>,
         {dim3(blocks), dim3(threads)}, stream_, args.gradient, args.moment, args.segments.first, args.segments.count, partials);
  launch("tensor_moments", finish_tensor_moments, {dim3(static_cast<unsigned>(args.segments.count)), dim3(threads)}, stream_,
         partials, args.segments.first, args.out);
}

void CudaOps::queue(const op::TensorScales& args) {
  if (args.segments.count == 0) return;
  launch("tensor_scales", tensor_scales_kernel,
         {dim3(static_cast<unsigned>(ceil_div(args.segments.count, threads))), dim3(threads)}, stream_, args.settings, args.moments,
         args.halves, args.segments.first, args.segments.count, args.scalars, args.smoothed, args.scales);
}

}  // namespace temper::TEMPER_BACKEND
