#include "distributed/rank_order_sum.h"

#include <algorithm>
#include <cstddef>

namespace temper {

template <typename T>
void sum_in_rank_order(const std::vector<const T*>& inputs, T* out, std::int64_t count) {
  // Blocks that stay in the nearest cache: each input is read once, `out` is written once, after the inputs it may be one of.
  constexpr std::int64_t block = 1024;
  T sums[block];
  for (std::int64_t begin = 0; begin < count; begin += block) {
    const std::int64_t length = std::min(block, count - begin);
    std::copy_n(inputs[0] + begin, length, sums);
    for (std::size_t r = 1; r < inputs.size(); ++r) {
      const T* addend = inputs[r] + begin;
      for (std::int64_t i = 0; i < length; ++i) sums[i] += addend[i];
    }
    std::copy_n(sums, length, out + begin);
  }
}

template void sum_in_rank_order<float>(const std::vector<const float*>&, float*, std::int64_t);
template void sum_in_rank_order<double>(const std::vector<const double*>&, double*, std::int64_t);

}  // namespace temper
