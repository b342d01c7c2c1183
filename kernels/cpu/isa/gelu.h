// GPT-2's GELU and its slope on registers.
#pragma once

#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

// gelu(z) = 0.5 z (1 + tanh u) = z / (1 + e^{-2u}), u = sqrt(2/pi) (z + 0.044715 z^3) (Hendrycks and Gimpel, arXiv 1606.08415):
// this form keeps its relative accuracy where tanh nears -1. The rounding of u costs exp2 no more than it would cost exp.
constexpr float twice_sqrt_2_over_pi = 1.595769121605730711f;
constexpr float cubic = 0.044715f;

// e^{-2u}, but at most 2^115, where gelu is next to 0: that keeps it finite and quotients out of the subnormal numbers, which are a
// hundred times slower.
inline Floats exp_of_minus_2u(Floats z) {
  const Floats exponent = z * (-twice_sqrt_2_over_pi * log2_e - twice_sqrt_2_over_pi * log2_e * cubic * (z * z));
  return exp2(exponent < 115.0f ? exponent : broadcast(115.0f));
}

inline Floats gelu(Floats z) { return z / (1.0f + exp_of_minus_2u(z)); }

// With s = 1 / (1 + e^{-2u}): gelu'(z) = s + z s (1 - s) 2 u'(z), and 1 - s = s e^{-2u} without cancellation.
inline Floats gelu_slope(Floats z) {
  const Floats e = exp_of_minus_2u(z);
  const Floats s = 1.0f / (1.0f + e);
  return s + z * (s * (e * s)) * (twice_sqrt_2_over_pi + 3.0f * twice_sqrt_2_over_pi * cubic * (z * z));
}

}  // namespace

}  // namespace temper::cpu::TEMPER_ISA
