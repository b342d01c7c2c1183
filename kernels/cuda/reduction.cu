#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/families.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/host_device.h"

namespace temper::TEMPER_BACKEND {

namespace {

// 1,024 blocks of 256 threads are one wave on 132 multiprocessors; four loads of 16 bytes per thread are in flight.
constexpr int threads = 256;
constexpr int unroll = 4;
constexpr float largest_float = 3.402823466e38f;

struct Value {
  __device__ __forceinline__ double operator()(float x) const { return static_cast<double>(x); }
};
struct Square {
  __device__ __forceinline__ double operator()(float x) const { return static_cast<double>(x) * static_cast<double>(x); }
};

int blocks_for(std::int64_t count) {
  constexpr std::int64_t per_block = threads * vector_width<float> * unroll;
  return static_cast<int>(std::clamp<std::int64_t>(ceil_div(count, per_block), 1, most_reduction_blocks));
}

// First stage: one number per block, of the elements that the size alone gives it. Everything is added in double: the conversions
// and additions of a whole gradient take less than a third of the time in which memory delivers it, a square above 1.8e19 does not
// overflow, and the result is the true sum rounded once.
template <typename Term, bool aligned>
__global__ void __launch_bounds__(threads) reduction_partials(const float* x, std::int64_t count, double* partial) {
  constexpr int width = aligned ? vector_width<float> : 1;
  const Term term;
  const std::int64_t vectors = count / width;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * threads;
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;

  double total[width] = {};
  for (std::int64_t first = thread; first < vectors; first += unroll * stride) {
    float values[unroll][width];
#pragma unroll
    for (int i = 0; i < unroll; ++i) {
      const std::int64_t vector = first + i * stride;
#pragma unroll
      for (float& value : values[i]) value = 0.0f;
      if (vector < vectors) {
        if constexpr (aligned)
          load_vector_streaming(x + vector * width, values[i]);
        else
          values[i][0] = __ldcs(x + vector);
      }
    }
#pragma unroll
    for (int i = 0; i < unroll; ++i)
#pragma unroll
      for (int element = 0; element < width; ++element) total[element] += term(values[i][element]);
  }
  double sum = 0.0;
#pragma unroll
  for (int element = 0; element < width; ++element) sum += total[element];
  if (thread < count - vectors * width) sum += term(x[vectors * width + thread]);

  TEMPER_SHARED(double, scratch, [32]);
  sum = block_reduce(sum, scratch, Add{});
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// Second stage, by one block: each thread gets the sum of all partials.
__device__ double sum_of_partials(const double* partial, int count) {
  TEMPER_SHARED(double, scratch, [32]);
  double sum = 0.0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += threads) sum += partial[i];
  return block_reduce(sum, scratch, Add{});
}

__global__ void __launch_bounds__(threads) finish_sum(const double* partial, int count, double scale, bool accumulate, float* out) {
  const double scaled = scale * sum_of_partials(partial, count);
  if (threadIdx.x == 0) *out = static_cast<float>((accumulate ? static_cast<double>(*out) : 0.0) + scaled);
}

__device__ __forceinline__ bool is_finite(float x) { return std::abs(x) <= largest_float; }

__global__ void __launch_bounds__(threads) finish_norm(const double* partial, int count, float max_norm, StepScalars* scalars) {
  const double squares = sum_of_partials(partial, count);
  if (threadIdx.x != 0) return;
  const float norm = static_cast<float>(std::sqrt(squares));
  scalars->gradient_norm = norm;
  scalars->clip_factor = max_norm > 0.0f && norm > max_norm ? max_norm / norm : 1.0f;
  scalars->finite = is_finite(norm) && is_finite(scalars->loss) ? 1 : 0;
}

// Every block adds up the partials itself, which costs less than a launch more, and scales its share.
template <int width, typename T>
__global__ void __launch_bounds__(threads)
    finish_normalize(const double* partial, int count, const float* x, std::int64_t elements, T* out) {
  const float scale = static_cast<float>(1.0 / (std::sqrt(sum_of_partials(partial, count)) + 1e-7));
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * threads * width;
  for (std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x) * width; first < elements;
       first += stride) {
    if (first + width <= elements) {
      float values[width];
      load_elements<width>(x + first, values);
#pragma unroll
      for (float& value : values) value *= scale;
      store_elements<width>(out + first, values);
    } else {
      for (std::int64_t i = first; i < elements; ++i) store_element(out + i, x[i] * scale);
    }
  }
}

template <typename T>
void launch_normalize(const double* partial, ConstTensorView x, TensorView out, Stream& stream) {
  constexpr int vector_elements = 8;
  const bool aligned = on_vector_boundaries({x.data, out.data});
  launch("normalize", aligned ? finish_normalize<vector_elements, T> : finish_normalize<1, T>,
         {dim3(static_cast<unsigned>(blocks_for(x.numel()))), dim3(threads)}, stream, partial, blocks_for(x.numel()), x.as<float>(),
         x.numel(), out.as<T>());
}

template <typename Term>
const double* reduce_to_partials(const char* name, ConstTensorView x, Workspace& workspace, Stream& stream) {
  auto* partial = static_cast<double*>(workspace.get(reduction_scratch_bytes()));
  const LaunchShape shape = {dim3(static_cast<unsigned>(blocks_for(x.numel()))), dim3(threads)};
  const bool aligned = reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0;
  launch(name, aligned ? reduction_partials<Term, true> : reduction_partials<Term, false>, shape, stream, x.as<float>(), x.numel(),
         partial);
  return partial;
}

constexpr unsigned one_block = 1;

}  // namespace

void CudaOps::queue(const op::Sum& args) {
  const double* partial = reduce_to_partials<Value>("sum", args.x, workspace_, stream_);
  launch("sum", finish_sum, {dim3(one_block), dim3(threads)}, stream_, partial, blocks_for(args.x.numel()),
         static_cast<double>(args.scale), args.write == Write::accumulate, args.out.as<float>());
}

void CudaOps::queue(const op::GlobalNorm& args) {
  const double* partial = reduce_to_partials<Square>("global_norm", args.gradients, workspace_, stream_);
  launch("global_norm", finish_norm, {dim3(one_block), dim3(threads)}, stream_, partial, blocks_for(args.gradients.numel()),
         args.max_norm, args.scalars);
}

void CudaOps::queue(const op::Normalize& args) {
  const double* partial = reduce_to_partials<Square>("normalize", args.x, workspace_, stream_);
  with_type(args.out.dtype, [&]<typename T>(T) { launch_normalize<T>(partial, args.x, args.out, stream_); });
}

}  // namespace temper::TEMPER_BACKEND
