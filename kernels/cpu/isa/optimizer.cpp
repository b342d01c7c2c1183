#include "kernels/cpu/isa_kernels.h"

#include <utility>

#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

// Calls body(update) with the form of decay known to the compiler, so that loops over elements do not ask for it.
template <typename Rule, typename Body>
TEMPER_INLINE void with_known_form(ElementUpdate<Rule> update, const Body& body) {
  switch (update.settings.decay_form) {
    case DecayForm::none:
    case DecayForm::multiplicative:
      update.settings.decay_form = DecayForm::multiplicative;
      return body(update);
    case DecayForm::cautious:
      update.settings.decay_form = DecayForm::cautious;
      return body(update);
    case DecayForm::gradient:
      update.settings.decay_form = DecayForm::gradient;
      return body(update);
    case DecayForm::scaled_gradient:
      update.settings.decay_form = DecayForm::scaled_gradient;
      return body(update);
  }
}

// What a loop over elements leaves: new weights, or directions in the gradients' place.
enum class Output { weight, direction };

// One element's, with the numbers that the rule keeps of it. A function of its own, so that `kept` is no array of the vector loop's.
template <Output output, typename Rule, typename... State>
TEMPER_INLINE float update_element(const ElementUpdate<Rule>& update, float weight, float gradient, State*... state) {
  float kept[] = {*state..., 0.0f};
  const float result = output == Output::weight ? update(weight, gradient, kept) : update.direction(weight, gradient, kept);
  int number = 0;
  ((*state = kept[number++]), ...);
  return result;
}

// The rule's scalar text becomes vector code: `flatten` pulls it into the loop, and `simd` promises that no buffer overlaps
// another.
template <Output output, typename Rule, std::size_t... State>
__attribute__((flatten)) void update_elements(const ElementUpdate<Rule>& given, const UpdateBuffers& buffers, std::int64_t offset,
                                              std::int64_t count, std::index_sequence<State...>) {
  float* const master = buffers.master + offset;
  float* const gradient = buffers.gradient + offset;
  float* const to = output == Output::weight ? master : gradient;
  [[maybe_unused]] float* const state[] = {(buffers.state[State] + offset)..., nullptr};
  with_known_form(given, [&](const ElementUpdate<Rule>& update) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) to[i] = update_element<output>(update, master[i], gradient[i], (state[State] + i)...);
  });

  if (output == Output::direction || buffers.low_precision == nullptr) return;
  bfloat16* const low_precision = buffers.low_precision + offset;
  for_registers(count, [&](std::int64_t i, auto part, int) { store_exactly(low_precision + i, load(master + i, part), part); });
}

template <Output output, typename Rule>
void update(const ElementUpdate<Rule>& update, const UpdateBuffers& buffers, std::int64_t offset, std::int64_t count) {
  update_elements<output>(update, buffers, offset, count, std::make_index_sequence<state_count<Rule>>());
}

RowSums row_sums(const float* weights, const float* directions, std::int64_t count) {
  Doubles weight[2] = {}, weight_squares[2] = {}, direction[2] = {}, direction_squares[2] = {}, product[2] = {};
  for_registers(count, [&](std::int64_t i, auto part, int) {
    const DoublesPair w = in_double(load(weights + i, part)), u = in_double(load(directions + i, part));
    for (int half = 0; half < 2; ++half) {
      weight[half] += w.half[half];
      weight_squares[half] += w.half[half] * w.half[half];
      direction[half] += u.half[half];
      direction_squares[half] += u.half[half] * u.half[half];
      product[half] += w.half[half] * u.half[half];
    }
  });
  RowSums sums;
  sums.weight = sum_of_lanes(weight[0] + weight[1]);
  sums.weight_squares = sum_of_lanes(weight_squares[0] + weight_squares[1]);
  sums.direction = sum_of_lanes(direction[0] + direction[1]);
  sums.direction_squares = sum_of_lanes(direction_squares[0] + direction_squares[1]);
  sums.product = sum_of_lanes(product[0] + product[1]);
  return sums;
}

double clipped_product(const float* weights, const float* gradients, float scale, float limit, std::int64_t count) {
  Doubles product[2] = {};
  for_registers(count, [&](std::int64_t i, auto part, int) {
    const Floats scaled = scale * load(gradients + i, part), most = broadcast(limit);
    const DoublesPair w = in_double(load(weights + i, part)), g = in_double(maximum(scaled > most ? most : scaled, -most));
    for (int half = 0; half < 2; ++half) product[half] += w.half[half] * g.half[half];
  });
  return sum_of_lanes(product[0] + product[1]);
}

void step(const LinearStep& step, float* weights, const float* directions, bfloat16* low_precision, std::int64_t count) {
  const float keep = step.keep, add = step.add, shift = step.shift;
  for_registers(count, [&](std::int64_t i, auto part, int) {
    const Floats weight = keep * load(weights + i, part) + add * load(directions + i, part) + shift;
    store(weights + i, weight, part);
    if (low_precision != nullptr) store_exactly(low_precision + i, weight, part);
  });
}

void add_scaled(float scale, const float* from, float* to, std::int64_t count) {
  for_registers(count,
                [&](std::int64_t i, auto part, int) { store(to + i, load(to + i, part) + scale * load(from + i, part), part); });
}

template <typename... Rules>
constexpr RuleKernels<std::variant<Rules...>> kernels_of(const std::variant<Rules...>*) {
  return {RuleKernel<Rules>{update<Output::weight, Rules>, update<Output::direction, Rules>}...};
}

}  // namespace

const OptimizerKernels optimizer_kernels = {kernels_of(static_cast<const UpdateRule*>(nullptr)), row_sums, clipped_product, step,
                                            add_scaled};

}  // namespace temper::cpu::TEMPER_ISA
