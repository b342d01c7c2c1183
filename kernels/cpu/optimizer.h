// The fused optimizer update of the CPU backend: every buffer is read and written once. Arguments are checked by the caller.
#pragma once

#include <cstdint>
#include <span>
#include <variant>

#include "kernels/cpu/isa_table.h"
#include "kernels/ops.h"

namespace temper::cpu {

/// As Ops::optimizer_update, when scalars.finite is not 0.
void optimizer_update(const UpdateRule& rule, const UpdateBuffers& buffers, std::span<const ParameterSegment> segments,
                      const StepScalars& scalars);

// ---- what is compiled per instruction set --------------------------------------------------------------------------

/// Elements [offset, offset + count) of the flat buffers, all of one segment.
struct UpdateBlock {
  UpdateBuffers buffers;
  std::int64_t offset;
  std::int64_t count;
  float learning_rate;
  float weight_decay;
  StepScalars scalars;
};

template <typename Rule>
struct RuleKernel {
  void (*update)(const Rule& rule, const UpdateBlock& block);
};

/// One RuleKernel for every alternative of UpdateRule, so that a new rule needs no line here.
template <typename Variant>
struct RuleKernels;
template <typename... Rules>
struct RuleKernels<std::variant<Rules...>> : RuleKernel<Rules>... {};

using OptimizerKernels = RuleKernels<UpdateRule>;

TEMPER_ISA_TABLE(OptimizerKernels, optimizer_kernels)

}  // namespace temper::cpu
