// The sum over ranks, on the host: always ((r0 + r1) + r2) + ..., element by element, so that its bits depend on nothing else.
#pragma once

#include <cstdint>
#include <vector>

namespace temper {

/// out[i] = inputs[0][i] + inputs[1][i] + ... from left to right, for `count` elements; `inputs` is not empty. `out` may be one of
/// the inputs.
template <typename T>
void sum_in_rank_order(const std::vector<const T*>& inputs, T* out, std::int64_t count);

extern template void sum_in_rank_order<float>(const std::vector<const float*>&, float*, std::int64_t);
extern template void sum_in_rank_order<double>(const std::vector<const double*>&, double*, std::int64_t);

}  // namespace temper
