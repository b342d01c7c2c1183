// The second stage of sums over rows: the first leaves partial rows, a number of them that depends on shapes alone.
#pragma once

#include <device/runtime.h>
#include "kernels/ops.h"

namespace temper::TEMPER_BACKEND {

/// out[columns] = or += sum over `count` partial rows, in a fixed order; `partials` is [count,columns]. With `second_out` the
/// `count` rows that follow are summed into it in the same way.
void sum_partial_rows(const float* partials, std::int64_t count, std::int64_t columns, float* out, float* second_out, Write write,
                      Stream& stream);

}  // namespace temper::TEMPER_BACKEND
