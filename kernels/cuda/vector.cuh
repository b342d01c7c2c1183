// 16-byte accesses: f32 in fours, bf16 in eights, as floats in registers. What is stored is one value first: compilers make one
// access of it, where they may take a list apart.
#pragma once

#include <device/primitives.cuh>

#include <cstdint>
#include <initializer_list>
#include <type_traits>

namespace temper::TEMPER_BACKEND {

/// Elements of one 16-byte access.
template <typename T>
inline constexpr int vector_width = 16 / static_cast<int>(sizeof(T));

template <typename T>
using VectorFloats = float[vector_width<T>];

__device__ __forceinline__ void unpack(uint4 raw, float (&out)[8]) {
  const std::uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    out[2 * i] = to_float(bfloat16{static_cast<std::uint16_t>(words[i])});
    out[2 * i + 1] = to_float(bfloat16{static_cast<std::uint16_t>(words[i] >> 16)});
  }
}

__device__ __forceinline__ uint4 pack(const float (&in)[8]) {
  return {pack_bf16(in[0], in[1]), pack_bf16(in[2], in[3]), pack_bf16(in[4], in[5]), pack_bf16(in[6], in[7])};
}

__device__ __forceinline__ void unpack(float4 raw, float (&out)[4]) {
  out[0] = raw.x, out[1] = raw.y, out[2] = raw.z, out[3] = raw.w;
}

__device__ __forceinline__ float4 pack(const float (&in)[4]) { return {in[0], in[1], in[2], in[3]}; }

/// One access as it is in memory, for kernels that have many of them under way before they look at the first.
template <typename T>
using RawVector = std::conditional_t<sizeof(T) == 2, uint4, float4>;

/// The vector at base + offset, a 16-byte boundary, where it is `there`, else zeros. It is not read again soon.
template <typename T>
__device__ __forceinline__ RawVector<T> raw_vector_streaming(const T* base, std::int64_t offset, bool there) {
  return there ? __ldcs(reinterpret_cast<const RawVector<T>*>(base + offset)) : RawVector<T>{};
}

/// The same for what no thread writes while the kernel runs.
template <typename T>
__device__ __forceinline__ RawVector<T> raw_vector_constant(const T* base, std::int64_t offset, bool there) {
  return there ? __ldg(reinterpret_cast<const RawVector<T>*>(base + offset)) : RawVector<T>{};
}

/// `from` is on a 16-byte boundary.
__device__ __forceinline__ void load_vector(const bfloat16* from, float (&out)[8]) {
  unpack(*reinterpret_cast<const uint4*>(from), out);
}
__device__ __forceinline__ void load_vector(const float* from, float (&out)[4]) {
  const float4 raw = *reinterpret_cast<const float4*>(from);
  out[0] = raw.x, out[1] = raw.y, out[2] = raw.z, out[3] = raw.w;
}

/// The same for data that is not read again soon: it does not stay in the caches.
__device__ __forceinline__ void load_vector_streaming(const bfloat16* from, float (&out)[8]) {
  unpack(__ldcs(reinterpret_cast<const uint4*>(from)), out);
}
__device__ __forceinline__ void load_vector_streaming(const float* from, float (&out)[4]) {
  const float4 raw = __ldcs(reinterpret_cast<const float4*>(from));
  out[0] = raw.x, out[1] = raw.y, out[2] = raw.z, out[3] = raw.w;
}

__device__ __forceinline__ void store_vector(bfloat16* to, const float (&in)[8]) { *reinterpret_cast<uint4*>(to) = pack(in); }
__device__ __forceinline__ void store_vector(float* to, const float (&in)[4]) { *reinterpret_cast<float4*>(to) = pack(in); }

__device__ __forceinline__ void store_vector_streaming(bfloat16* to, const float (&in)[8]) {
  __stcs(reinterpret_cast<uint4*>(to), pack(in));
}
__device__ __forceinline__ void store_vector_streaming(float* to, const float (&in)[4]) {
  __stcs(reinterpret_cast<float4*>(to), pack(in));
}

/// One element, rounded to nearest even.
__device__ __forceinline__ void store_element(bfloat16* to, float value) {
  *to = bfloat16{static_cast<std::uint16_t>(pack_bf16(value, 0.0f))};
}
__device__ __forceinline__ void store_element(float* to, float value) { *to = value; }

/// `width` elements: one, or whole vectors.
template <int width, typename T>
__device__ __forceinline__ void load_elements(const T* from, float (&out)[width]) {
  if constexpr (width == 1) {
    out[0] = to_float(*from);
  } else {
#pragma unroll
    for (int i = 0; i < width; i += vector_width<T>) {
      VectorFloats<T> part;
      load_vector(from + i, part);
#pragma unroll
      for (int k = 0; k < vector_width<T>; ++k) out[i + k] = part[k];
    }
  }
}

template <int width, typename T>
__device__ __forceinline__ void store_elements(T* to, const float (&in)[width]) {
  if constexpr (width == 1) {
    store_element(to, in[0]);
  } else {
#pragma unroll
    for (int i = 0; i < width; i += vector_width<T>) {
      VectorFloats<T> part;
#pragma unroll
      for (int k = 0; k < vector_width<T>; ++k) part[k] = in[i + k];
      store_vector(to + i, part);
    }
  }
}

/// One f32 or four from a 16-byte boundary, not read again soon.
template <int width>
__device__ __forceinline__ void load_elements_streaming(const float* from, float (&out)[width]) {
  if constexpr (width == 1)
    out[0] = __ldcs(from);
  else
    load_vector_streaming(from, out);
}

template <int width>
__device__ __forceinline__ void store_elements_streaming(float* to, const float (&in)[width]) {
  if constexpr (width == 1)
    __stcs(to, in[0]);
  else
    store_vector_streaming(to, in);
}

/// The bf16 copy of such elements. Four are one 8-byte store: a warp's stores fill whole sectors, as they would not with 16 bytes
/// per thread and every other one.
template <int width>
__device__ __forceinline__ void store_low_precision(bfloat16* to, const float (&in)[width]) {
  if constexpr (width == 1) {
    store_element(to, in[0]);
  } else {
    const uint2 packed = {pack_bf16(in[0], in[1]), pack_bf16(in[2], in[3])};
    *reinterpret_cast<uint2*>(to) = packed;
  }
}

/// Whether all addresses are on 16-byte boundaries; a null pointer is.
inline bool on_vector_boundaries(std::initializer_list<const void*> addresses) {
  std::uintptr_t low_bits = 0;
  for (const void* address : addresses) low_bits |= reinterpret_cast<std::uintptr_t>(address) % 16;
  return low_bits == 0;
}

/// Whether rows of `columns` elements of T in tensors that begin at these addresses can be accessed by vectors.
template <typename T>
bool rows_of_vectors(std::int64_t columns, std::initializer_list<const void*> tensors) {
  return columns % vector_width<T> == 0 && on_vector_boundaries(tensors);
}

}  // namespace temper::TEMPER_BACKEND
