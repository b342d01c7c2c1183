// One launch updates all parameters. Arguments as Ops::optimizer_update, checked already.
#pragma once

#include <device/runtime.h>
#include "kernels/cuda/workspace.h"
#include "kernels/ops.h"

namespace temper::TEMPER_BACKEND {

void optimizer_update(const UpdateRule& rule, const UpdateBuffers& buffers, const ParameterSegment* segments,
                      std::int64_t segment_count, const StepScalars* scalars, Stream& stream);

}  // namespace temper::TEMPER_BACKEND
