#include "kernels/cpu/isa_kernels.h"

#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

constexpr int runs = 4;

TEMPER_INLINE double joined(const Doubles (&total)[runs]) { return sum_of_lanes((total[0] + total[1]) + (total[2] + total[3])); }

TensorMoments moments(const float* gradient, const float* moment, std::int64_t count) {
  Doubles gradient_squares[runs] = {}, product[runs] = {}, moment_squares[runs] = {};
  for_runs<runs>(count, [&](std::int64_t i, auto part, int run) {
    const DoublesPair g = in_double(load(gradient + i, part)), m = in_double(load(moment + i, part));
    for (int half = 0; half < 2; ++half) {
      gradient_squares[run] += g.half[half] * g.half[half];
      product[run] += g.half[half] * m.half[half];
      moment_squares[run] += m.half[half] * m.half[half];
    }
  });
  TensorMoments sums;
  sums.gradient_squares = joined(gradient_squares);
  sums.product = joined(product);
  sums.moment_squares = joined(moment_squares);
  return sums;
}

constexpr std::int64_t ahead = 1024;  // elements

ChangeSums change(const float* before, const float* after, const RowDecay& decay, std::int64_t count) {
  Doubles weight_squares[2] = {}, product[2] = {}, update_squares[2] = {}, step_product[2] = {}, step_squares[2] = {},
          fourth_powers[2] = {};
  Floats largest{};
  for_registers(count, [&](std::int64_t i, auto part, int) {
    __builtin_prefetch(before + i + ahead);
    __builtin_prefetch(after + i + ahead);
    const Floats weight = load(before + i, part);
    largest = maximum(largest, maximum(weight, -weight));
    const DoublesPair w = in_double(weight), a = in_double(load(after + i, part));
    DoublesPair towards{}, step;
    if (decay.gradient != nullptr) towards = in_double(load(decay.gradient + i, part));
    for (int half = 0; half < 2; ++half) {
      const Doubles squares = w.half[half] * w.half[half], moved = a.half[half] - w.half[half];
      Doubles lost = decay.share * w.half[half];
      if (decay.cautious && decay.gradient != nullptr)
        lost = towards.half[half] * w.half[half] >= 0.0 ? lost : Doubles{};
      else if (decay.cautious)
        lost = moved * w.half[half] < 0.0 ? lost : Doubles{};
      const Doubles stepped = step.half[half] = moved + lost;
      weight_squares[half] += squares;
      product[half] += w.half[half] * moved;
      update_squares[half] += moved * moved;
      step_product[half] += w.half[half] * stepped;
      step_squares[half] += stepped * stepped;
      fourth_powers[half] += squares * squares;
    }
    if (decay.step != nullptr) store(decay.step + i, in_float(step), part);
  });
  const auto sum = [](const Doubles(&halves)[2]) { return sum_of_lanes(halves[0] + halves[1]); };
  return {sum(weight_squares),
          sum(product),
          sum(update_squares),
          sum(step_product),
          sum(step_squares),
          sum(fourth_powers),
          static_cast<double>(maximum_of_lanes(largest))};
}

__attribute__((flatten)) void precondition(const PriorScale& scale, const float* x, const float* second_moment, float* out,
                                           std::int64_t count) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) out[i] = scale(x[i], second_moment[i]);
}

// First the places of a few elements, in vectors, then their counts, one by one, neighbours in tables of their own: an increment would
// wait for the one before it in the same place.
void histogram(const float* x, std::int64_t count, float scale, std::int64_t bins, std::int32_t* counts) {
  constexpr std::int64_t chunk = 512;
  const float to_bins = static_cast<float>(bins) / 12.0f;
  const Floats last = broadcast(static_cast<float>(bins - 1));
  std::int32_t places[chunk];
  for (std::int64_t first = 0; first < count; first += chunk) {
    const std::int64_t length = count - first < chunk ? count - first : chunk;
    for_registers(length, [&](std::int64_t i, auto part, int) {
      const Floats place = (scale * load(x + first + i, part) + 6.0f) * to_bins;
      const Floats inside = place > 0.0f ? place : Floats{};  // NaN counts in the first bin
      const Ints bin = __builtin_convertvector(inside < last ? inside : last, Ints);
      __builtin_memcpy(places + i, &bin, sizeof(bin));
    });
    std::int64_t i = 0;
    for (; i + histogram_tables <= length; i += histogram_tables)
      for (int table = 0; table < histogram_tables; ++table) ++counts[table * bins + places[i + table]];
    for (; i < length; ++i) ++counts[places[i]];
  }
}

}  // namespace

const DiagnosticKernels diagnostic_kernels = {moments, change, precondition, histogram};

}  // namespace temper::cpu::TEMPER_ISA
