// Sums over parameter segments and histograms in the CPU backend. Sums are in double: pieces cut by the segments alone, each summed
// by one thread, then added in order. Arguments are checked by the caller.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/cpu/isa_table.h"
#include "kernels/ops.h"

namespace temper::cpu {

/// As Ops::tensor_moments.
void tensor_moments(const float* gradient, const float* moment, std::span<const ParameterSegment> segments, TensorMoments* out);
/// As Ops::tensor_scales, when scalars.finite is not 0.
void tensor_scales(const ScaleSettings& settings, const TensorMoments* moments, std::span<const ParameterSegment> segments,
                   const StepScalars& scalars, float* smoothed, TensorScale* scales);
/// As Ops::update_statistics.
void update_statistics(const float* before, const float* after, std::span<const ParameterSegment> segments,
                       const StepScalars& scalars, UpdateStatistics* out);
/// As Ops::precondition.
void precondition(const PriorScale& scale, ConstTensorView x, ConstTensorView second_moment, TensorView out);

/// As Ops::histogram.
void histogram(ConstTensorView x, float scale, TensorView counts);

// ---- what is compiled per instruction set --------------------------------------------------------------------------

/// Sums over elements of weights w and their change dw.
struct ChangeSums {
  double weight_squares, product, update_squares, fourth_powers, largest;
};

struct DiagnosticKernels {
  TensorMoments (*moments)(const float* gradient, const float* moment, std::int64_t count);
  ChangeSums (*change)(const float* before, const float* after, std::int64_t count);
  /// Adds to the `bins` counts.
  void (*precondition)(const PriorScale& scale, const float* x, const float* second_moment, float* out, std::int64_t count);
  void (*histogram)(const float* x, std::int64_t count, float scale, std::int64_t bins, std::int32_t* counts);
};

TEMPER_ISA_TABLE(DiagnosticKernels, diagnostic_kernels)

}  // namespace temper::cpu
