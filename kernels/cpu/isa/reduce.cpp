#include "kernels/cpu/reduce.h"

#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

constexpr int half = lanes / 2;
using HalfFloats = float __attribute__((vector_size(4 * half)));
using Doubles = double __attribute__((vector_size(8 * half)));

// Four double registers take turns over half a float register each; what is left over is added one by one.
template <typename Term>
TEMPER_INLINE double reduce(const float* values, std::int64_t count, const Term& term) {
  Doubles total[4] = {};
  std::int64_t i = 0;
  for (; i + 4 * half <= count; i += 4 * half) {
    for (int turn = 0; turn < 4; ++turn) {
      HalfFloats value;
      __builtin_memcpy(&value, values + i + turn * half, sizeof(value));
      total[turn] += term(__builtin_convertvector(value, Doubles));
    }
  }
  const Doubles joined = (total[0] + total[1]) + (total[2] + total[3]);
  double sum = 0.0;
  for (int lane = 0; lane < half; ++lane) sum += joined[lane];
  for (; i < count; ++i) sum += term(static_cast<double>(values[i]));
  return sum;
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
