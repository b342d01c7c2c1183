#include "kernels/cuda/cast.h"

#include "kernels/cuda/vector.cuh"

namespace temper::TEMPER_BACKEND {

namespace {

constexpr int threads = 256;
constexpr int vector_elements = 8;  // per thread: 16 bytes of bf16, twice 16 of f32

// `width` elements per thread; those behind the last whole vector are done one by one by the last thread.
template <int width, typename From, typename To>
__global__ void __launch_bounds__(threads) cast_kernel(const From* from, To* to, std::int64_t count) {
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x) * width;
  if (first + width <= count) {
    float values[width];
    load_elements<width>(from + first, values);
    store_elements<width>(to + first, values);
  } else {
    for (std::int64_t i = first; i < count; ++i) store_element(to + i, to_float(from[i]));
  }
}

template <int width, typename From, typename To>
void launch_cast(ConstTensorView from, TensorView to, Stream& stream) {
  constexpr std::int64_t per_block = threads * width;
  const std::int64_t count = from.numel();
  launch("cast", cast_kernel<width, From, To>, {dim3(static_cast<unsigned>((count + per_block - 1) / per_block)), dim3(threads)},
         stream, from.as<From>(), to.as<To>(), count);
}

template <typename From, typename To>
void cast_between(ConstTensorView from, TensorView to, Stream& stream) {
  if (on_vector_boundaries({from.data, to.data}))
    launch_cast<vector_elements, From, To>(from, to, stream);
  else
    launch_cast<1, From, To>(from, to, stream);
}

}  // namespace

void cast(ConstTensorView from, TensorView to, Stream& stream) {
  if (from.dtype == DType::f32)
    cast_between<float, bfloat16>(from, to, stream);
  else
    cast_between<bfloat16, float>(from, to, stream);
}

}  // namespace temper::TEMPER_BACKEND
