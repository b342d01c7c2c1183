// What is measured while a model trains. Arguments as in Ops, checked already.
#pragma once

#include <device/runtime.h>
#include "kernels/cuda/workspace.h"
#include "kernels/ops.h"

namespace temper::TEMPER_BACKEND {

void update_statistics(const float* before, const float* after, const ParameterSegment* segments, std::int64_t segment_count,
                       const StepScalars* scalars, UpdateStatistics* out, Workspace& workspace, Stream& stream);
/// What it takes of the workspace.
std::size_t update_statistics_scratch_bytes(std::int64_t segment_count);

void histogram(ConstTensorView x, float scale, TensorView counts, Stream& stream);

}  // namespace temper::TEMPER_BACKEND
