#include "kernels/cpu/reduce.h"

#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

// Eight places of the block are read side by side: one core waits for memory when it reads a single run of addresses, and
// eight sums hide the latency of the additions besides.
constexpr int runs = 8;

template <typename Term>
TEMPER_INLINE double reduce(const float* values, std::int64_t count, const Term& term) {
  const std::int64_t run_length = count / (runs * lanes) * lanes;
  Doubles total[runs] = {};
  for (std::int64_t i = 0; i < run_length; i += lanes) {
    for (int run = 0; run < runs; ++run) {
      const DoublesPair pair = in_double(load(values + run * run_length + i, AllLanes{}));
      total[run] += term(pair.half[0]);
      total[run] += term(pair.half[1]);
    }
  }
  for_registers(count - runs * run_length, [&](std::int64_t i, auto part, int) {
    const DoublesPair pair = in_double(load(values + runs * run_length + i, part));
    total[0] += term(pair.half[0]) + term(pair.half[1]);
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
