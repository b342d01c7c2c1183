#include "kernels/cpu/gelu.h"

#include "kernels/cpu/isa/gelu.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

template <typename T>
void apply(const T* pre, T* y, std::int64_t count) {
  for_registers(count, [&](std::int64_t i, auto part, int) { store(y + i, gelu(load(pre + i, part)), part); });
}

}  // namespace

const GeluKernels gelu_kernels = {apply<float>, apply<bfloat16>};

}  // namespace temper::cpu::TEMPER_ISA
