// One register of floats, as wide as the instruction set this file is compiled for. Arithmetic comes from GCC's vector
// extensions; here are loads and stores of activations, sums over lanes, and exp.
//
// A row's last elements that do not fill a register go through the same arithmetic in a register padded with zeros, so that
// the bits of an element depend neither on where it lies in memory nor on how rows were shared among threads.
#pragma once

#include <cstdint>
#include <utility>

#include "kernels/bfloat16.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#define TEMPER_INLINE inline __attribute__((always_inline))

namespace temper::cpu::TEMPER_ISA {

#if defined(__AVX512F__)
inline constexpr int lanes = 16;
#elif defined(__AVX2__)
inline constexpr int lanes = 8;
#else
inline constexpr int lanes = 4;
#endif

using Floats = float __attribute__((vector_size(4 * lanes)));
using Ints = std::int32_t __attribute__((vector_size(4 * lanes)));
using Words = std::uint32_t __attribute__((vector_size(4 * lanes)));
using Halfwords = std::uint16_t __attribute__((vector_size(2 * lanes)));

/// One register of doubles, half as many; a register of floats in double is two of them.
using Doubles = double __attribute__((vector_size(4 * lanes)));
struct DoublesPair {
  Doubles half[2];
};

/// How many of a register's lanes hold elements of the row.
struct AllLanes {};
struct FirstLanes {
  int count;
};

TEMPER_INLINE Floats broadcast(float value) { return Floats{} + value; }

TEMPER_INLINE DoublesPair in_double(Floats value) {
  using Wide = double __attribute__((vector_size(8 * lanes)));
  const Wide wide = __builtin_convertvector(value, Wide);
  DoublesPair pair;
  __builtin_memcpy(&pair, &wide, sizeof(pair));
  return pair;
}

TEMPER_INLINE Floats in_float(DoublesPair pair) {
  using Wide = double __attribute__((vector_size(8 * lanes)));
  Wide wide;
  __builtin_memcpy(&wide, &pair, sizeof(wide));
  return __builtin_convertvector(wide, Floats);
}

TEMPER_INLINE Ints lane_numbers() {
  Ints numbers;
  for (int lane = 0; lane < lanes; ++lane) numbers[lane] = lane;
  return numbers;
}

/// `value`, but `otherwise` in the lanes that hold no element.
TEMPER_INLINE Floats keep(Floats value, AllLanes, float = 0.0f) { return value; }
TEMPER_INLINE Floats keep(Floats value, FirstLanes part, float otherwise = 0.0f) {
  return lane_numbers() < part.count ? value : broadcast(otherwise);
}

#if defined(__AVX512F__)
/// Each half word becomes the upper half of a word. From two registers, as GCC makes it of the shuffle below, it takes a fifth longer.
TEMPER_INLINE Floats widen(Halfwords bits) {
  const __m512i from = (__m512i)(lane_numbers() << 16);
  return (Floats)_mm512_maskz_permutexvar_epi16(0xaaaaaaaau, from, _mm512_castsi256_si512((__m256i)bits));
}
#else
template <int... Half>
TEMPER_INLINE Floats widen_by(Halfwords bits, std::integer_sequence<int, Half...>) {
  return (Floats)__builtin_shufflevector(bits, Halfwords{}, (Half % 2 == 0 ? lanes : Half / 2)...);
}
/// Each half word becomes the upper half of a word: one shuffle with zeros, where a conversion would take several.
TEMPER_INLINE Floats widen(Halfwords bits) { return widen_by(bits, std::make_integer_sequence<int, 2 * lanes>()); }
#endif

/// Rounds to nearest even; NaN stays NaN.
TEMPER_INLINE Halfwords narrow_exactly(Floats value) {
  const Words bits = (Words)value;
  const Words rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const Words quiet_nan = (bits >> 16) | 0x40u;
  return __builtin_convertvector(value == value ? rounded : quiet_nan, Halfwords);
}
/// The same, but what is below 1.2e-38 may become 0: for activations, and one instruction instead of nine where there is one.
TEMPER_INLINE Halfwords narrow(Floats value) {
#if defined(__AVX512BF16__)
  return (Halfwords)_mm512_cvtneps_pbh((__m512)value);
#else
  return narrow_exactly(value);
#endif
}

/// Elements that are not there read as zero.
TEMPER_INLINE Floats load(const float* from, AllLanes) {
  Floats value;
  __builtin_memcpy(&value, from, sizeof(value));
  return value;
}
TEMPER_INLINE Floats load(const float* from, FirstLanes part) {
  Floats value{};
  __builtin_memcpy(&value, from, static_cast<std::size_t>(part.count) * sizeof(float));
  return value;
}
TEMPER_INLINE Floats load(const bfloat16* from, AllLanes) {
  Halfwords bits;
  __builtin_memcpy(&bits, from, sizeof(bits));
  return widen(bits);
}
TEMPER_INLINE Floats load(const bfloat16* from, FirstLanes part) {
  Halfwords bits{};
  __builtin_memcpy(&bits, from, static_cast<std::size_t>(part.count) * sizeof(bfloat16));
  return widen(bits);
}

TEMPER_INLINE void store(float* to, Floats value, AllLanes) { __builtin_memcpy(to, &value, sizeof(value)); }
TEMPER_INLINE void store(float* to, Floats value, FirstLanes part) {
  __builtin_memcpy(to, &value, static_cast<std::size_t>(part.count) * sizeof(float));
}
TEMPER_INLINE void store_bits(bfloat16* to, Halfwords bits, AllLanes) { __builtin_memcpy(to, &bits, sizeof(bits)); }
TEMPER_INLINE void store_bits(bfloat16* to, Halfwords bits, FirstLanes part) {
  __builtin_memcpy(to, &bits, static_cast<std::size_t>(part.count) * sizeof(bfloat16));
}
template <typename Lanes>
TEMPER_INLINE void store(bfloat16* to, Floats value, Lanes part) {
  store_bits(to, narrow(value), part);
}

/// For weights, whose copy in bf16 is the same whoever makes it.
template <typename Lanes>
TEMPER_INLINE void store_exactly(bfloat16* to, Floats value, Lanes part) {
  store_bits(to, narrow_exactly(value), part);
}
template <typename Lanes>
TEMPER_INLINE void store_exactly(float* to, Floats value, Lanes part) {
  store(to, value, part);
}

TEMPER_INLINE Floats maximum(Floats a, Floats b) { return a > b ? a : b; }

/// Sum and maximum over all lanes, in a fixed tree.
TEMPER_INLINE float sum_of_lanes(Floats value) {
  const Ints numbers = lane_numbers();
  for (int distance = lanes / 2; distance > 0; distance /= 2) value += __builtin_shuffle(value, numbers ^ distance);
  return value[0];
}
TEMPER_INLINE float maximum_of_lanes(Floats value) {
  const Ints numbers = lane_numbers();
  for (int distance = lanes / 2; distance > 0; distance /= 2) value = maximum(value, __builtin_shuffle(value, numbers ^ distance));
  return value[0];
}

TEMPER_INLINE double sum_of_lanes(Doubles value) {
  double sum = 0.0;
  for (int lane = 0; lane < lanes / 2; ++lane) sum += value[lane];
  return sum;
}

/// Four registers that take turns, since one alone would wait for its previous addition.
struct Accumulator {
  Floats part[4];

  TEMPER_INLINE float sum() const { return sum_of_lanes((part[0] + part[1]) + (part[2] + part[3])); }
  TEMPER_INLINE float largest() const { return maximum_of_lanes(maximum(maximum(part[0], part[1]), maximum(part[2], part[3]))); }
};

/// Calls body(i, lanes there, turn) for elements i, i + 1, ... of [0, count), a register at a time; turn counts 0, 1, 2, 3.
template <typename Body>
TEMPER_INLINE void for_registers(std::int64_t count, const Body& body) {
  std::int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    body(i, AllLanes{}, 0);
    body(i + lanes, AllLanes{}, 1);
    body(i + 2 * lanes, AllLanes{}, 2);
    body(i + 3 * lanes, AllLanes{}, 3);
  }
  for (; i + lanes <= count; i += lanes) body(i, AllLanes{}, 0);
  if (i < count) body(i, FirstLanes{static_cast<int>(count - i)}, 0);
}

/// Calls body(i, lanes there, run) for the elements of [0, count) at `runs` places side by side: one core waits for memory when it
/// reads a single run of addresses, and as many sums hide the latency of additions.
template <int runs, typename Body>
TEMPER_INLINE void for_runs(std::int64_t count, const Body& body) {
  const std::int64_t length = count / (runs * lanes) * lanes;
  for (std::int64_t i = 0; i < length; i += lanes)
    for (int run = 0; run < runs; ++run) body(run * length + i, AllLanes{}, run);
  for_registers(count - runs * length, [&](std::int64_t i, auto part, int) { body(runs * length + i, part, 0); });
}

inline constexpr float log2_e = 1.44269504088896341f;

TEMPER_INLINE Floats nearest_integer(Floats x) {
#if defined(__AVX512F__)
  return (Floats)_mm512_maskz_roundscale_ps(0xffffu, (__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  constexpr float to_integer = 12582912.0f;  // 1.5 * 2^23: a sum with it has no fraction bits left
  return (x + to_integer) - to_integer;
#endif
}

/// p 2^n for whole numbers n, but 0 where x < least.
TEMPER_INLINE Floats scaled(Floats p, Floats n, Floats x, float least) {
#if defined(__AVX512F__)
  return (Floats)_mm512_maskz_scalef_ps(_mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(least), _CMP_NLT_UQ), (__m512)p, (__m512)n);
#else
  const Ints whole = __builtin_convertvector(n, Ints);  // n NaN: the lowest, which adds nothing
  return x < least ? Floats{} : (Floats)((Words)p + ((Words)whole << 23));
#endif
}

/// exp for x <= 88: exp(x) = 2^n exp(r) with n the integer nearest to x / ln 2 and |r| <= ln(2)/2, where the polynomial, whose largest
/// error is least, is within 4e-9. Results below the smallest normal number are 0; NaN stays NaN.
TEMPER_INLINE Floats exp(Floats x) {
  constexpr float ln2_high = 0.693359375f;  // few bits, so that n * ln2_high is exact
  constexpr float ln2_low = -2.12194440054690583e-4f;

  const Floats n = nearest_integer(x * log2_e);
  const Floats r = (x - n * ln2_high) - n * ln2_low;
  Floats p = broadcast(0.00138145604f);
  p = p * r + 0.0083687352f;
  p = p * r + 0.041668389f;
  p = p * r + 0.166665211f;
  p = p * r + 0.49999994f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return scaled(p, n, x, -87.3365f);
}

/// 2^x for x <= 127, likewise, with a polynomial of one degree less, within 1.1e-7. As exp(y) = exp2(log2_e y) it is a fifth faster than
/// exp, but the product's rounding becomes a relative error of 6e-8 y: where only results near the largest count.
TEMPER_INLINE Floats exp2(Floats x) {
  const Floats n = nearest_integer(x);
  const Floats r = x - n;
  Floats p = broadcast(0.00133002363f);
  p = p * r + 0.00966974484f;
  p = p * r + 0.0555056041f;
  p = p * r + 0.240222813f;
  p = p * r + 0.693147182f;
  p = p * r + 1.0f;
  return scaled(p, n, x, -126.0f);
}

TEMPER_INLINE float exp(float x) { return exp(broadcast(x))[0]; }

}  // namespace temper::cpu::TEMPER_ISA
