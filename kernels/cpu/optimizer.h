// The fused optimizer update of the CPU backend: every buffer is read and written once, where a matrix's norm is controlled its
// weights and directions twice. Arguments are checked by the caller.
#pragma once

#include <cstdint>
#include <span>
#include <variant>

#include "kernels/cpu/isa_table.h"
#include "kernels/ops.h"

namespace temper::cpu {

/// As Ops::optimizer_update, when scalars.finite is not 0.
void optimizer_update(const UpdateRule& rule, const UpdateSettings& settings, const UpdateBuffers& buffers,
                      std::span<const ParameterSegment> segments, const StepScalars& scalars);

/// As Ops::add_decay_gradient.
void add_decay_gradient(const UpdateBuffers& buffers, std::span<const ParameterSegment> segments, const StepScalars& scalars);

// ---- what is compiled per instruction set --------------------------------------------------------------------------

/// Both work on elements [offset, offset + count) of the flat buffers, all of one segment.
template <typename Rule>
struct RuleKernel {
  void (*update)(const ElementUpdate<Rule>& update, const UpdateBuffers& buffers, std::int64_t offset, std::int64_t count);
  /// Leaves the directions in the gradient buffer and no step in the weights.
  void (*direct)(const ElementUpdate<Rule>& update, const UpdateBuffers& buffers, std::int64_t offset, std::int64_t count);
};

/// One RuleKernel for every alternative of UpdateRule, so that a new rule needs no line here.
template <typename Variant>
struct RuleKernels;
template <typename... Rules>
struct RuleKernels<std::variant<Rules...>> : RuleKernel<Rules>... {};

struct OptimizerKernels : RuleKernels<UpdateRule> {
  RowSums (*row_sums)(const float* weights, const float* directions, std::int64_t count);
  /// w = keep w + add u + shift; `low_precision` may be null.
  void (*step)(const LinearStep& step, float* weights, const float* directions, bfloat16* low_precision, std::int64_t count);
  /// to += scale * from
  void (*add_scaled)(float scale, const float* from, float* to, std::int64_t count);
};

TEMPER_ISA_TABLE(OptimizerKernels, optimizer_kernels)

}  // namespace temper::cpu
