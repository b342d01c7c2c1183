#include "kernels/cuda/families.h"

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/vector.cuh"
#include "kernels/host_device.h"

namespace temper::TEMPER_BACKEND {

namespace {

constexpr int threads = 256;

struct Same {
  __device__ __forceinline__ float operator()(float x) const { return x; }
};

struct Combination {
  float a, b;
  __device__ __forceinline__ float operator()(float x, float y) const { return a * x + b * y; }
};

// GPT-2's GELU (Hendrycks & Gimpel, arXiv 1606.08415, the tanh form) and its slope, for tensors of type T: with bf16 the hardware's
// approximate tanh is exact enough, with f32 it is not.
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

template <typename T>
struct Gelu {
  __device__ __forceinline__ float operator()(float pre) const { return gelu<T>(pre); }
};

template <typename T>
struct GeluBackward {
  __device__ __forceinline__ float operator()(float dx, float pre) const { return dx * gelu_slope<T>(pre); }
};

template <int width>
struct Elements {
  float values[width];
};

template <int width, typename T>
__device__ __forceinline__ Elements<width> loaded(const T* from) {
  Elements<width> all;
  load_elements<width>(from, all.values);
  return all;
}

template <int width, typename Function, typename... Loaded>
__device__ __forceinline__ Elements<width> applied(const Function& function, const Loaded&... in) {
  Elements<width> all;
#pragma unroll
  for (int i = 0; i < width; ++i) all.values[i] = function(in.values[i]...);
  return all;
}

// to[i] = function(from[i]...). `width` elements per thread; those behind the last whole vector are done one by one by the last
// thread.
template <int width, typename Function, typename To, typename... From>
__global__ void __launch_bounds__(threads) map_kernel(Function function, std::int64_t count, To* to, const From*... from) {
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x) * width;
  if (first + width <= count)
    store_elements<width>(to + first, applied<width>(function, loaded<width>(from + first)...).values);
  else
    for (std::int64_t i = first; i < count; ++i) store_element(to + i, function(to_float(from[i])...));
}

template <int width, typename Function, typename To, typename... From>
void map_by(const char* name, const Function& function, Stream& stream, std::int64_t count, To* to, const From*... from) {
  constexpr std::int64_t per_block = threads * width;
  void (*const kernel)(Function, std::int64_t, To*, const From*...) = map_kernel<width, Function, To, From...>;
  launch(name, kernel, {dim3(static_cast<unsigned>(ceil_div(count, per_block))), dim3(threads)}, stream, function, count, to,
         from...);
}

// `width` elements per thread where all tensors lie on 16-byte boundaries.
template <int width, typename Function, typename To, typename... From>
void map(const char* name, const Function& function, Stream& stream, std::int64_t count, To* to, const From*... from) {
  if (on_vector_boundaries({to, from...}))
    map_by<width>(name, function, stream, count, to, from...);
  else
    map_by<1>(name, function, stream, count, to, from...);
}

}  // namespace

void CudaOps::queue(const op::Cast& args) {
  if (args.from.dtype == args.to.dtype) return stream_.copy(args.to.data, args.from.data, args.from.bytes());
  constexpr int width = vector_width<bfloat16>;  // 16 bytes of bf16, twice 16 of f32
  if (args.from.dtype == DType::f32)
    map<width>("cast", Same{}, stream_, args.from.numel(), args.to.as<bfloat16>(), args.from.as<float>());
  else
    map<width>("cast", Same{}, stream_, args.from.numel(), args.to.as<float>(), args.from.as<bfloat16>());
}

void CudaOps::queue(const op::LinearCombination& args) {
  with_type(args.out.dtype, [&]<typename T>(T) {
    map<vector_width<T>>("linear_combination", Combination{args.a, args.b}, stream_, args.out.numel(), args.out.as<T>(),
                         args.x.as<T>(), args.y.as<T>());
  });
}

void CudaOps::queue(const op::Precondition& args) {
  map<vector_width<float>>("precondition", args.scale, stream_, args.out.numel(), args.out.as<float>(), args.x.as<float>(),
                           args.second_moment.as<float>());
}

void CudaOps::queue(const op::Gelu& args) { gelu_forward(args.pre, args.y, stream_); }

void gelu_forward(ConstTensorView pre, TensorView y, Stream& stream) {
  with_type(pre.dtype, [&]<typename T>(T) {
    map_by<vector_width<T>>("gelu_forward", Gelu<T>{}, stream, pre.numel(), y.as<T>(), pre.as<T>());
  });
}

void gelu_backward(ConstTensorView pre, TensorView dx, Stream& stream) {
  with_type(pre.dtype, [&]<typename T>(T) {
    const T* gradient = dx.as<T>();
    map_by<vector_width<T>>("gelu_backward", GeluBackward<T>{}, stream, pre.numel(), dx.as<T>(), gradient, pre.as<T>());
  });
}

}  // namespace temper::TEMPER_BACKEND
