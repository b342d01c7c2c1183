#include "kernels/cpu/optimizer.h"

#include <utility>

#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

// The rule's scalar text becomes vector code: `flatten` pulls it into the loop, and `simd` promises that no buffer overlaps
// another.
template <typename Rule, std::size_t... State>
__attribute__((flatten)) void update_elements(const Rule& rule_in, const UpdateBlock& block, std::index_sequence<State...>) {
  const Rule rule = rule_in;
  const StepScalars scalars = block.scalars;
  const float rate = block.learning_rate;
  const float weight_decay = block.weight_decay;
  const float clip_factor = scalars.clip_factor;
  float* const master = block.buffers.master + block.offset;
  const float* const gradient = block.buffers.gradient + block.offset;
  float* const state[] = {(block.buffers.state[State] + block.offset)...};
  bfloat16* const low_precision = block.buffers.low_precision == nullptr ? nullptr : block.buffers.low_precision + block.offset;

#pragma omp simd
  for (std::int64_t i = 0; i < block.count; ++i)
    master[i] = rule.update(master[i], clip_factor * gradient[i], (state[State] + i)..., rate, weight_decay, scalars);

  if (low_precision == nullptr) return;
  for_registers(block.count, [&](std::int64_t i, auto part, int) { store(low_precision + i, load(master + i, part), part); });
}

template <typename Rule>
void update(const Rule& rule, const UpdateBlock& block) {
  update_elements(rule, block, std::make_index_sequence<Rule::states>());
}

template <typename... Rules>
constexpr RuleKernels<std::variant<Rules...>> kernels_of(const std::variant<Rules...>*) {
  return {RuleKernel<Rules>{update<Rules>}...};
}

}  // namespace

const OptimizerKernels optimizer_kernels = kernels_of(static_cast<const UpdateRule*>(nullptr));

}  // namespace temper::cpu::TEMPER_ISA
