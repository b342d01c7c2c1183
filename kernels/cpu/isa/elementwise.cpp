#include "kernels/cpu/isa_kernels.h"

#include "kernels/cpu/isa/gelu.h"
#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

template <typename From, typename To>
void convert(const From* from, To* to, std::int64_t count) {
  for_registers(count, [&](std::int64_t i, auto part, int) { store_exactly(to + i, load(from + i, part), part); });
}

template <typename T>
void apply_gelu(const T* pre, T* y, std::int64_t count) {
  for_registers(count, [&](std::int64_t i, auto part, int) { store(y + i, gelu(load(pre + i, part)), part); });
}

template <typename T>
void scale_elements(const float* x, float factor, T* out, std::int64_t count) {
  for_registers(count, [&](std::int64_t i, auto part, int) { store(out + i, load(x + i, part) * factor, part); });
}

template <typename T>
void combine_elements(float a, const T* x, float b, const T* y, T* out, std::int64_t count) {
  for_registers(count,
                [&](std::int64_t i, auto part, int) { store(out + i, a * load(x + i, part) + b * load(y + i, part), part); });
}

void scale(const float* x, float factor, DType type, void* out, std::int64_t first, std::int64_t last) {
  if (type == DType::bf16)
    scale_elements(x + first, factor, static_cast<bfloat16*>(out) + first, last - first);
  else
    scale_elements(x + first, factor, static_cast<float*>(out) + first, last - first);
}

template <typename T>
void combine_range(float a, const void* x, float b, const void* y, void* out, std::int64_t first, std::int64_t last) {
  combine_elements(a, static_cast<const T*>(x) + first, b, static_cast<const T*>(y) + first, static_cast<T*>(out) + first,
                   last - first);
}

void combine(DType type, float a, const void* x, float b, const void* y, void* out, std::int64_t first, std::int64_t last) {
  if (type == DType::bf16)
    combine_range<bfloat16>(a, x, b, y, out, first, last);
  else
    combine_range<float>(a, x, b, y, out, first, last);
}

}  // namespace

const ElementwiseKernels elementwise_kernels = {
    convert<float, bfloat16>, convert<bfloat16, float>, apply_gelu<float>, apply_gelu<bfloat16>, scale, combine};

}  // namespace temper::cpu::TEMPER_ISA
