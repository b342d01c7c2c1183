#include "kernels/cuda/diagnostics.h"
#include "kernels/cuda/vector.cuh"

namespace temper::TEMPER_BACKEND {

namespace {

constexpr int threads = 256;

// `width` elements per thread; those behind the last whole vector are done one by one by the last thread.
template <int width>
__global__ void __launch_bounds__(threads)
    precondition_kernel(PriorScale scale, const float* x, const float* second_moment, float* out, std::int64_t count) {
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x) * width;
  if (first + width <= count) {
    float weights[width], moments[width];
    load_elements<width>(x + first, weights);
    load_elements<width>(second_moment + first, moments);
#pragma unroll
    for (int i = 0; i < width; ++i) weights[i] = scale(weights[i], moments[i]);
    store_elements<width>(out + first, weights);
  } else {
    for (std::int64_t i = first; i < count; ++i) out[i] = scale(x[i], second_moment[i]);
  }
}

template <int width>
void launch_width(const PriorScale& scale, ConstTensorView x, ConstTensorView second_moment, TensorView out, Stream& stream) {
  constexpr std::int64_t per_block = threads * width;
  const std::int64_t count = out.numel();
  launch("precondition", precondition_kernel<width>,
         {dim3(static_cast<unsigned>((count + per_block - 1) / per_block)), dim3(threads)}, stream, scale, x.as<float>(),
         second_moment.as<float>(), out.as<float>(), count);
}

}  // namespace

void precondition(const PriorScale& scale, ConstTensorView x, ConstTensorView second_moment, TensorView out, Stream& stream) {
  if (on_vector_boundaries({x.data, second_moment.data, out.data}))
    launch_width<vector_width<float>>(scale, x, second_moment, out, stream);
  else
    launch_width<1>(scale, x, second_moment, out, stream);
}

}  // namespace temper::TEMPER_BACKEND
