// A pseudo-random order of 0 .. size-1 that needs no memory: a Feistel network over the smallest even number of bits that holds
// the index, applied again until the result is below `size` (cycle walking; Black and Rogaway, "Ciphers with arbitrary finite
// domains", CT-RSA 2002). The round function is Philox, so the order is a pure function of (size, seed, epoch).
#pragma once

#include <cstdint>

namespace temper {

class Permutation {
 public:
  /// size >= 1.
  Permutation(std::uint64_t size, std::uint64_t seed, std::uint32_t epoch);

  /// Where `index` (below size) goes: a bijection of 0 .. size-1. On average at most four passes of the network.
  std::uint64_t operator()(std::uint64_t index) const;

 private:
  std::uint64_t encrypt(std::uint64_t value) const;

  std::uint64_t size_;
  std::uint64_t seed_;
  std::uint32_t epoch_;
  int half_bits_;
};

}  // namespace temper
