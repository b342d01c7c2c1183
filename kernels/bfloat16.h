// bfloat16 as stored in memory, with conversions that round to nearest even. Usable on host and device.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/host_device.h"

namespace temper {

struct bfloat16 {
  std::uint16_t bits;
};

TEMPER_HOST_DEVICE inline float to_float(bfloat16 value) {
  const std::uint32_t wide = static_cast<std::uint32_t>(value.bits) << 16;
  float result;
  std::memcpy(&result, &wide, sizeof(result));
  return result;
}

TEMPER_HOST_DEVICE inline float to_float(float value) { return value; }

/// Rounds to nearest, ties to even; NaN stays a (quiet) NaN.
TEMPER_HOST_DEVICE inline bfloat16 to_bfloat16(float value) {
  std::uint32_t wide;
  std::memcpy(&wide, &value, sizeof(wide));
  if ((wide & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((wide >> 16) | 0x0040u)};
  return {static_cast<std::uint16_t>((wide + 0x7fffu + ((wide >> 16) & 1u)) >> 16)};
}

}  // namespace temper
