// GPT-2's GELU and its slope on registers.
#pragma once

#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

constexpr float sqrt_2_over_pi = 0.797884560802865356f;
constexpr float cubic = 0.044715f;

// 1 / (1 + e^{-2u}), the logistic function of 2u. Beyond 80 it is next to 0: stopping there keeps the exponential finite and
// the quotient out of the subnormal numbers, which are a hundred times slower.
struct Logistic {
  Floats rising;   // 1 / (1 + e)
  Floats falling;  // e / (1 + e): 1 - rising without cancellation
};

inline Logistic logistic(Floats twice_u) {
  const Floats e = exp(twice_u < -80.0f ? broadcast(80.0f) : -twice_u);
  const Floats rising = 1.0f / (1.0f + e);
  return {rising, e * rising};
}

// gelu(z) = 0.5 z (1 + tanh u) = z / (1 + e^{-2u}), u = sqrt(2/pi) (z + 0.044715 z^3) (Hendrycks and Gimpel, arXiv 1606.08415):
// this form keeps its relative accuracy where tanh nears -1.
inline Floats gelu(Floats z) { return z * logistic(z * (2.0f * sqrt_2_over_pi + 2.0f * sqrt_2_over_pi * cubic * z * z)).rising; }

// With s = 1 / (1 + e^{-2u}): gelu'(z) = s + z s (1 - s) 2 u'(z).
inline Floats gelu_slope(Floats z) {
  const Floats square = z * z;
  const Logistic s = logistic(z * (2.0f * sqrt_2_over_pi + 2.0f * sqrt_2_over_pi * cubic * square));
  return s.rising + z * (s.rising * s.falling) * (2.0f * sqrt_2_over_pi + 6.0f * sqrt_2_over_pi * cubic * square);
}

}  // namespace

}  // namespace temper::cpu::TEMPER_ISA
