#include "kernels/cpu/diagnostics.h"

#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

TensorMoments moments(const float* gradient, const float* moment, std::int64_t count) {
  Doubles gradient_squares[2] = {}, product[2] = {}, moment_squares[2] = {};
  for_registers(count, [&](std::int64_t i, auto part, int) {
    const DoublesPair g = in_double(load(gradient + i, part));
    for (int half = 0; half < 2; ++half) gradient_squares[half] += g.half[half] * g.half[half];
    if (moment == nullptr) return;
    const DoublesPair m = in_double(load(moment + i, part));
    for (int half = 0; half < 2; ++half) {
      product[half] += g.half[half] * m.half[half];
      moment_squares[half] += m.half[half] * m.half[half];
    }
  });
  TensorMoments sums;
  sums.gradient_squares = sum_of_lanes(gradient_squares[0] + gradient_squares[1]);
  sums.product = sum_of_lanes(product[0] + product[1]);
  sums.moment_squares = sum_of_lanes(moment_squares[0] + moment_squares[1]);
  return sums;
}

ChangeSums change(const float* before, const float* after, std::int64_t count) {
  Doubles weight_squares[2] = {}, product[2] = {}, update_squares[2] = {}, fourth_powers[2] = {};
  Floats largest{};
  for_registers(count, [&](std::int64_t i, auto part, int) {
    const Floats weight = load(before + i, part);
    largest = maximum(largest, maximum(weight, -weight));
    const DoublesPair w = in_double(weight), a = in_double(load(after + i, part));
    for (int half = 0; half < 2; ++half) {
      const Doubles squares = w.half[half] * w.half[half], moved = a.half[half] - w.half[half];
      weight_squares[half] += squares;
      product[half] += w.half[half] * moved;
      update_squares[half] += moved * moved;
      fourth_powers[half] += squares * squares;
    }
  });
  return {sum_of_lanes(weight_squares[0] + weight_squares[1]), sum_of_lanes(product[0] + product[1]),
          sum_of_lanes(update_squares[0] + update_squares[1]), sum_of_lanes(fourth_powers[0] + fourth_powers[1]),
          static_cast<double>(maximum_of_lanes(largest))};
}

void histogram(const float* x, std::int64_t count, float scale, std::int64_t bins, std::int32_t* counts) {
  const float to_bins = static_cast<float>(bins) / 12.0f;
  const float last = static_cast<float>(bins - 1);
  for_registers(count, [&](std::int64_t i, auto part, int) {
    const Floats place = (scale * load(x + i, part) + 6.0f) * to_bins;
    const Floats inside = place > 0.0f ? place : Floats{};  // NaN counts in the first bin
    const Ints bin = __builtin_convertvector(inside < last ? inside : broadcast(last), Ints);
    std::int32_t places[lanes];  // one lane after another out of the register would take longer
    __builtin_memcpy(places, &bin, sizeof(bin));
    for (int lane = 0; lane < lanes_of(part); ++lane) ++counts[lane % histogram_copies * bins + places[lane]];
  });
}

}  // namespace

const DiagnosticKernels diagnostic_kernels = {moments, change, histogram};

}  // namespace temper::cpu::TEMPER_ISA
