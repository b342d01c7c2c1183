#include "kernels/cuda/linear_combination.h"

#include "kernels/cuda/vector.cuh"

namespace temper::TEMPER_BACKEND {

namespace {

constexpr int threads = 256;

// `width` elements per thread; those behind the last whole vector are done one by one by the last thread.
template <int width, typename T>
__global__ void __launch_bounds__(threads)
    linear_combination_kernel(float a, const T* x, float b, const T* y, T* out, std::int64_t count) {
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x) * width;
  if (first + width <= count) {
    float of_x[width], of_y[width];
    load_elements<width>(x + first, of_x);
    load_elements<width>(y + first, of_y);
#pragma unroll
    for (int i = 0; i < width; ++i) of_x[i] = a * of_x[i] + b * of_y[i];
    store_elements<width>(out + first, of_x);
  } else {
    for (std::int64_t i = first; i < count; ++i) store_element(out + i, a * to_float(x[i]) + b * to_float(y[i]));
  }
}

template <int width, typename T>
void launch_width(float a, ConstTensorView x, float b, ConstTensorView y, TensorView out, Stream& stream) {
  constexpr std::int64_t per_block = threads * width;
  const std::int64_t count = out.numel();
  launch("linear_combination", linear_combination_kernel<width, T>,
         {dim3(static_cast<unsigned>((count + per_block - 1) / per_block)), dim3(threads)}, stream, a, x.as<T>(), b, y.as<T>(),
         out.as<T>(), count);
}

template <typename T>
void launch_type(float a, ConstTensorView x, float b, ConstTensorView y, TensorView out, Stream& stream) {
  if (on_vector_boundaries({x.data, y.data, out.data}))
    launch_width<vector_width<T>, T>(a, x, b, y, out, stream);
  else
    launch_width<1, T>(a, x, b, y, out, stream);
}

}  // namespace

void linear_combination(float a, ConstTensorView x, float b, ConstTensorView y, TensorView out, Stream& stream) {
  if (out.dtype == DType::bf16)
    launch_type<bfloat16>(a, x, b, y, out, stream);
  else
    launch_type<float>(a, x, b, y, out, stream);
}

}  // namespace temper::TEMPER_BACKEND
