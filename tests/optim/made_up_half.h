// For tests of optimizers that want some first half of a batch's gradient, whatever it is.
#pragma once

#include <cstddef>
#include <cstdint>

namespace temper {

constexpr std::int64_t first_examples = 5, second_examples = 7;

/// The first half's part of these gradients; the halves differ.
template <typename Numbers>
Numbers made_up_half(Numbers gradients) {
  for (std::size_t i = 0; i < gradients.size(); ++i) gradients[i] *= i % 2 == 0 ? 0.25f : 0.75f;
  return gradients;
}

}  // namespace temper
