// Sums over each tensor's gradient and first moment, and what clipping and rate follow from them. Arguments as in Ops, checked
// already.
#pragma once

#include <device/runtime.h>
#include "kernels/cuda/workspace.h"
#include "kernels/ops.h"

namespace temper::TEMPER_BACKEND {

void tensor_moments(const float* gradient, const float* moment, const ParameterSegment* segments, std::int64_t segment_count,
                    TensorMoments* out, Workspace& workspace, Stream& stream);
/// What it takes of the workspace.
std::size_t tensor_moments_scratch_bytes(std::int64_t segment_count);

void tensor_scales(const ScaleSettings& settings, const TensorMoments* moments, const ParameterSegment* segments,
                   std::int64_t segment_count, const StepScalars* scalars, float* smoothed, TensorScale* scales, Stream& stream);

}  // namespace temper::TEMPER_BACKEND
