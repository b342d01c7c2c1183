#include "kernels/cpu/combine.h"

#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/reduce.h"

namespace temper::cpu {

namespace {

constexpr std::int64_t cache_line = 64;  // elements, of either type: threads share none

}  // namespace

void normalize(ConstTensorView x, TensorView out, Workspace& workspace) {
  const auto divisor = static_cast<float>(std::sqrt(sum_of_squares(x.as<float>(), x.numel(), workspace)) + 1e-7);
  const CombineKernels& kernels = combine_kernels();
  parallel_ranges(x.numel(), cache_line, x.numel(), [&](std::int64_t first, std::int64_t last) {
    kernels.divide(x.as<float>(), divisor, out.dtype, out.data, first, last);
  });
}

void linear_combination(float a, ConstTensorView x, float b, ConstTensorView y, TensorView out) {
  const CombineKernels& kernels = combine_kernels();
  parallel_ranges(x.numel(), cache_line, x.numel(), [&](std::int64_t first, std::int64_t last) {
    kernels.combine(out.dtype, a, x.data, b, y.data, out.data, first, last);
  });
}

}  // namespace temper::cpu
