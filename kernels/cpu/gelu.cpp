#include "kernels/cpu/gelu.h"

#include "kernels/cpu/parallel.h"

namespace temper::cpu {

void gelu(ConstTensorView pre, TensorView y) {
  const GeluKernels& kernels = gelu_kernels();
  constexpr std::int64_t unit = 64;
  parallel_ranges(pre.numel(), unit, pre.numel(), [&](std::int64_t first, std::int64_t last) {
    if (pre.dtype == DType::bf16)
      kernels.bf16(pre.as<bfloat16>() + first, y.as<bfloat16>() + first, last - first);
    else
      kernels.f32(pre.as<float>() + first, y.as<float>() + first, last - first);
  });
}

}  // namespace temper::cpu
