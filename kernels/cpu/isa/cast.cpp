#include "kernels/cpu/cast.h"

#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

template <typename From, typename To>
void convert(const From* from, To* to, std::int64_t count) {
  for_registers(count, [&](std::int64_t i, auto part, int) { store(to + i, load(from + i, part), part); });
}

}  // namespace

const CastKernels cast_kernels = {convert<float, bfloat16>, convert<bfloat16, float>};

}  // namespace temper::cpu::TEMPER_ISA
