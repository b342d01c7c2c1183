#include "kernels/cpu/isa_kernels.h"

#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

constexpr int runs = 8;

template <typename Term>
TEMPER_INLINE double reduce(const float* values, std::int64_t count, const Term& term) {
  Doubles total[runs] = {};
  for_runs<runs>(count, [&](std::int64_t i, auto part, int run) {
    const DoublesPair pair = in_double(load(values + i, part));
    total[run] += term(pair.half[0]);
    total[run] += term(pair.half[1]);
  });
  Doubles joined{};
  for (int run = 0; run < runs; ++run) joined += total[run];
  return sum_of_lanes(joined);
}

double sum(const float* values, std::int64_t count) {
  return reduce(values, count, [](auto value) { return value; });
}

double sum_of_squares(const float* values, std::int64_t count) {
  return reduce(values, count, [](auto value) { return value * value; });
}

}  // namespace

const ReduceKernels reduce_kernels = {sum, sum_of_squares};

}  // namespace temper::cpu::TEMPER_ISA
