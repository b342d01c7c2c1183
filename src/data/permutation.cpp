#include "data/permutation.h"

#include <bit>
#include <stdexcept>

#include "kernels/philox.h"

namespace temper {
namespace {

// Four rounds make a permutation that cannot be told from a random one when the halves are wide (Luby and Rackoff); small data
// sets have halves of a few bits, for which more rounds are the remedy.
constexpr std::uint64_t rounds = 8;

}  // namespace

Permutation::Permutation(std::uint64_t size, std::uint64_t seed, std::uint32_t epoch)
    : size_(size), seed_(seed), epoch_(epoch), half_bits_(static_cast<int>((std::bit_width(size - 1) + 1) / 2)) {
  if (size == 0) throw std::invalid_argument("Permutation: size 0");
}

std::uint64_t Permutation::operator()(std::uint64_t index) const {
  if (index >= size_) throw std::out_of_range("Permutation: index not below the size");
  // The network permutes a range of at most 4 * size values; following it from a value below `size` must come back below it.
  std::uint64_t value = encrypt(index);
  while (value >= size_) value = encrypt(value);
  return value;
}

std::uint64_t Permutation::encrypt(std::uint64_t value) const {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  std::uint64_t left = value >> half_bits_;
  std::uint64_t right = value & mask;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    // half_bits_ is at most 32, so round and half do not meet.
    const PhiloxBlock block = random_block(seed_, RandomPurpose::shuffle, epoch_, round << 32 | right);
    const std::uint64_t next = left ^ (block.word[0] & mask);
    left = right;
    right = next;
  }
  return left << half_bits_ | right;
}

}  // namespace temper
