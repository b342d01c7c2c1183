#include "kernels/cuda/gelu.h"

#include "kernels/cuda/gelu.cuh"
#include "kernels/cuda/vector.cuh"

namespace temper::TEMPER_BACKEND {

namespace {

constexpr int threads = 256;

// One 16-byte vector per thread; elements behind the last whole vector are done one by one by the last thread.
template <typename T>
__global__ void gelu_forward_kernel(const T* pre, T* y, std::int64_t count) {
  constexpr int width = vector_width<T>;
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x) * width;
  if (first + width <= count) {
    VectorFloats<T> values;
    load_vector(pre + first, values);
#pragma unroll
    for (float& value : values) value = gelu<T>(value);
    store_vector(y + first, values);
  } else {
    for (std::int64_t i = first; i < count; ++i) store_element(y + i, gelu<T>(to_float(pre[i])));
  }
}

template <typename T>
__global__ void gelu_backward_kernel(const T* pre, T* dx, std::int64_t count) {
  constexpr int width = vector_width<T>;
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x) * width;
  if (first + width <= count) {
    VectorFloats<T> gradients, values;
    load_vector(dx + first, gradients);
    load_vector(pre + first, values);
#pragma unroll
    for (int i = 0; i < width; ++i) gradients[i] *= gelu_slope<T>(values[i]);
    store_vector(dx + first, gradients);
  } else {
    for (std::int64_t i = first; i < count; ++i) store_element(dx + i, to_float(dx[i]) * gelu_slope<T>(to_float(pre[i])));
  }
}

template <typename T>
LaunchShape shape_for(std::int64_t count) {
  constexpr std::int64_t per_block = threads * vector_width<T>;
  return {dim3(static_cast<unsigned>((count + per_block - 1) / per_block)), dim3(threads)};
}

}  // namespace

void gelu_forward(ConstTensorView pre, TensorView y, Stream& stream) {
  const std::int64_t count = pre.numel();
  if (pre.dtype == DType::bf16)
    launch("gelu_forward", gelu_forward_kernel<bfloat16>, shape_for<bfloat16>(count), stream, pre.as<bfloat16>(), y.as<bfloat16>(),
           count);
  else
    launch("gelu_forward", gelu_forward_kernel<float>, shape_for<float>(count), stream, pre.as<float>(), y.as<float>(), count);
}

void gelu_backward(ConstTensorView pre, TensorView dx, Stream& stream) {
  const std::int64_t count = pre.numel();
  if (pre.dtype == DType::bf16)
    launch("gelu_backward", gelu_backward_kernel<bfloat16>, shape_for<bfloat16>(count), stream, pre.as<bfloat16>(),
           dx.as<bfloat16>(), count);
  else
    launch("gelu_backward", gelu_backward_kernel<float>, shape_for<float>(count), stream, pre.as<float>(), dx.as<float>(), count);
}

}  // namespace temper::TEMPER_BACKEND
