// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
// A draw is a pure function of (seed, purpose, step, index), so it depends on no thread, rank or resumption.
#pragma once

#include <cstdint>

#include "kernels/host_device.h"

namespace temper {

/// What a stream of random numbers is for; two purposes never share a number.
enum class RandomPurpose : std::uint32_t { initialize = 1, shuffle = 2, sample = 3, rounding = 4, benchmark = 5, sweep = 6 };

struct PhiloxBlock {
  std::uint32_t word[4];
};

/// Ten Philox rounds over a 128-bit counter under a 64-bit key.
TEMPER_HOST_DEVICE inline PhiloxBlock philox4x32(PhiloxBlock counter, std::uint32_t key0, std::uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = static_cast<std::uint64_t>(0xD2511F53u) * counter.word[0];
    const std::uint64_t product1 = static_cast<std::uint64_t>(0xCD9E8D57u) * counter.word[2];
    counter = {{static_cast<std::uint32_t>(product1 >> 32) ^ counter.word[1] ^ key0, static_cast<std::uint32_t>(product1),
                static_cast<std::uint32_t>(product0 >> 32) ^ counter.word[3] ^ key1, static_cast<std::uint32_t>(product0)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

/// Four independent 32-bit words for (seed, purpose, step, index). `step` uses 32 bits, `index` 64, `seed` 64.
TEMPER_HOST_DEVICE inline PhiloxBlock random_block(std::uint64_t seed, RandomPurpose purpose, std::uint32_t step,
                                                   std::uint64_t index) {
  const PhiloxBlock counter = {
      {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), step, static_cast<std::uint32_t>(purpose)}};
  return philox4x32(counter, static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

/// Uniform in the open interval (0, 1), 23 bits: one more and the largest, 1 - 2^-25, would round to 1.
TEMPER_HOST_DEVICE inline float uniform_open(std::uint32_t word) {
  return (static_cast<float>(word >> 9) + 0.5f) * (1.0f / 8388608.0f);
}

}  // namespace temper
