// One launch updates all parameters, three where norms are controlled. Arguments as in Ops, checked already.
#pragma once

#include <device/runtime.h>
#include "kernels/ops.h"

namespace temper::TEMPER_BACKEND {

void add_decay_gradient(const UpdateBuffers& buffers, const ParameterSegment* segments, std::int64_t segment_count,
                        const StepScalars* scalars, Stream& stream);

void optimizer_update(const UpdateRule& rule, const UpdateSettings& settings, const UpdateBuffers& buffers,
                      const ParameterSegment* segments, std::int64_t segment_count, const StepScalars* scalars, Stream& stream);

/// The second part of optimizer_update (norm_control.cu): from the directions and sums that the first left in buffers.gradient and
/// buffers.row_work to the new weights of controlled segments.
void make_controlled_steps(const UpdateSettings& settings, const UpdateBuffers& buffers, const ParameterSegment* segments,
                           std::int64_t segment_count, const StepScalars* scalars, Stream& stream);

}  // namespace temper::TEMPER_BACKEND
