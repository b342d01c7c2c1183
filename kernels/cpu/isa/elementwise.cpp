#include "kernels/cpu/isa_kernels.h"

#include "kernels/cpu/isa/gelu.h"
#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

template <typename From, typename To>
void convert(const From* from, To* to, std::int64_t count) {
  for_registers(count, [&](std::int64_t i, auto part, int) { store_exactly(to + i, load(from + i, part), part); });
}

void apply_gelu(const op::Gelu& args, std::int64_t first, std::int64_t last) {
  with_type(args.y.dtype, [&]<typename T>(T) {
    const T* const pre = args.pre.as<T>() + first;
    T* const y = args.y.as<T>() + first;
    for_registers(last - first, [&](std::int64_t i, auto part, int) { store(y + i, gelu(load(pre + i, part)), part); });
  });
}

void scale(const op::Normalize& args, float factor, std::int64_t first, std::int64_t last) {
  const auto* const x = args.x.as<float>() + first;
  with_type(args.out.dtype, [&]<typename T>(T) {
    T* const out = args.out.as<T>() + first;
    for_registers(last - first, [&](std::int64_t i, auto part, int) { store(out + i, load(x + i, part) * factor, part); });
  });
}

void combine(const op::LinearCombination& args, std::int64_t first, std::int64_t last) {
  with_type(args.out.dtype, [&]<typename T>(T) {
    const float a = args.a, b = args.b;
    const T* const x = args.x.as<T>() + first;
    const T* const y = args.y.as<T>() + first;
    T* const out = args.out.as<T>() + first;
    for_registers(last - first,
                  [&](std::int64_t i, auto part, int) { store(out + i, a * load(x + i, part) + b * load(y + i, part), part); });
  });
}

}  // namespace

const ElementwiseKernels elementwise_kernels = {convert<float, bfloat16>, convert<bfloat16, float>, apply_gelu, scale, combine};

}  // namespace temper::cpu::TEMPER_ISA
