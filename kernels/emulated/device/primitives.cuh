// The CUDA language as kernels/cuda uses it, for the host compiler: the counterpart of kernels/cuda/device/primitives.cuh, whose
// comments say what each name does. Names and meanings are CUDA's; every wait is a fiber that is left.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/bfloat16.h"
#include "kernels/emulated/block.h"

// NOLINTBEGIN(bugprone-reserved-identifier,bugprone-macro-parentheses): CUDA's names
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define threadIdx (::temper::emulated::current_thread().thread_index)
#define blockIdx (::temper::emulated::current_thread().block->index())
#define blockDim (::temper::emulated::current_thread().block->dimensions())
#define gridDim (::temper::emulated::current_thread().block->grid())

#define TEMPER_SHARED(type, name, extent)                                                                  \
  static const char name##_declaration = 0;                                                                \
  auto& name = *reinterpret_cast<type(*) extent>(::temper::emulated::current_thread().block->shared_array( \
      &name##_declaration, sizeof(type extent), alignof(type) < 16 ? 16 : alignof(type), ::temper::emulated::Site::current()))

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

namespace temper::emulated {

constexpr int shared_boundary = SharedArena::boundary;

template <typename T>
T* dynamic_shared() {
  return reinterpret_cast<T*>(current_thread().block->arena().dynamic());
}

// Every lane of `mask` leaves `in`; the last one turns all of it into an Out per lane. What stands in lanes outside of the mask is
// undefined.
template <typename Out, typename In, typename Combine>
Out warp_operation(const char* name, std::uint32_t mask, const In& in, Site site, const Combine& combine) {
  static_assert(sizeof(In) <= WarpMeeting::slot_bytes && sizeof(Out) <= WarpMeeting::slot_bytes);
  static_assert(std::is_trivially_copyable_v<In> && std::is_trivially_copyable_v<Out>);
  CudaThread& thread = current_thread();
  WarpMeeting& meeting = thread.block->join(name, mask, site);
  auto& all_in = *reinterpret_cast<In(*)[32]>(meeting.in);
  auto& all_out = *reinterpret_cast<Out(*)[32]>(meeting.out);
  all_in[thread.lane()] = in;
  if (meeting.complete()) {
    combine(all_in, all_out);
    thread.block->release(meeting);
  } else {
    thread.block->wait(meeting);
  }
  const Out out = all_out[thread.lane()];
  Block::leave(meeting, thread.lane());
  return out;
}

// A shuffle in which this lane reads lane `from`, which must be one of `mask`.
template <typename T>
T shuffle(const char* name, std::uint32_t mask, T value, int from, Site site) {
  struct Deposit {
    T value;
    int from;
  };
  return warp_operation<T>(name, mask, Deposit{value, from}, site, [&](const Deposit(&in)[32], T(&out)[32]) {
    for (int lane = 0; lane < 32; ++lane) {
      if ((mask >> lane & 1) == 0) continue;
      const int read = in[lane].from;
      if ((mask >> read & 1) == 0)
        current_thread().block->fault(std::string(name) + ": lane " + std::to_string(lane) + " reads lane " + std::to_string(read) +
                                          ", which is not in the mask",
                                      site);
      out[lane] = in[read].value;
    }
  });
}

}  // namespace temper::emulated

inline void __syncthreads(temper::emulated::Site site = temper::emulated::Site::current()) {
  temper::emulated::current_thread().block->barrier(site);
}

inline void __syncwarp(std::uint32_t mask = ~0u, temper::emulated::Site site = temper::emulated::Site::current()) {
  temper::emulated::warp_operation<int>("__syncwarp", mask, 0, site, [](const int(&)[32], int(&)[32]) {});
}

template <typename T>
T __shfl_sync(std::uint32_t mask, T value, int source, int width = 32,
              temper::emulated::Site site = temper::emulated::Site::current()) {
  const int lane = static_cast<int>(temper::emulated::current_thread().lane());
  const int from = lane / width * width + (source & (width - 1));
  return temper::emulated::shuffle("__shfl_sync", mask, value, from, site);
}

template <typename T>
T __shfl_xor_sync(std::uint32_t mask, T value, int lane_mask, int width = 32,
                  temper::emulated::Site site = temper::emulated::Site::current()) {
  const int lane = static_cast<int>(temper::emulated::current_thread().lane());
  const int from = lane ^ lane_mask;
  return temper::emulated::shuffle("__shfl_xor_sync", mask, value, from / width > lane / width ? lane : from, site);
}

template <typename T>
T __shfl_up_sync(std::uint32_t mask, T value, unsigned delta, int width = 32,
                 temper::emulated::Site site = temper::emulated::Site::current()) {
  const int lane = static_cast<int>(temper::emulated::current_thread().lane());
  const int from = lane - static_cast<int>(delta);
  return temper::emulated::shuffle("__shfl_up_sync", mask, value, from < lane / width * width ? lane : from, site);
}

inline std::uint32_t __ballot_sync(std::uint32_t mask, bool predicate,
                                   temper::emulated::Site site = temper::emulated::Site::current()) {
  return temper::emulated::warp_operation<std::uint32_t>("__ballot_sync", mask, predicate, site,
                                                         [mask](const bool(&in)[32], std::uint32_t(&out)[32]) {
                                                           std::uint32_t all = 0;
                                                           for (int lane = 0; lane < 32; ++lane)
                                                             if ((mask >> lane & 1) != 0 && in[lane]) all |= 1u << lane;
                                                           for (std::uint32_t& one : out) one = all;
                                                         });
}

// Integers only: floating-point atomics would make results depend on the order of threads.
template <typename T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>, "no floating-point atomics");
  return std::atomic_ref<T>(*address).fetch_add(value);
}

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
template <typename T>
T __ldg(const T* address) {
  return *address;
}
template <typename T>
T __ldcs(const T* address) {
  return *address;
}
template <typename T>
void __stcs(T* address, T value) {
  *address = value;
}
template <typename T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}
template <typename T>
constexpr T max(T a, T b) {
  return a < b ? b : a;
}
// NOLINTEND(bugprone-reserved-identifier,bugprone-macro-parentheses)

namespace temper::emulated {

inline float exp2_approx(float x) { return std::exp2(x); }
inline float tanh_approx(float x) { return std::tanh(x); }

inline std::uint32_t pack_bf16(float low, float high) {
  return static_cast<std::uint32_t>(to_bfloat16(low).bits) | static_cast<std::uint32_t>(to_bfloat16(high).bits) << 16;
}

inline void keep_packed(uint4& /*raw*/) {}
inline void keep_packed(float4& /*raw*/) {}

inline int opaque(int value) { return value; }

}  // namespace temper::emulated
