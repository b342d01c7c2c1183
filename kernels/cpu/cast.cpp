#include "kernels/cpu/cast.h"

#include <cstring>

#include "kernels/cpu/parallel.h"

namespace temper::cpu {

namespace {

constexpr std::int64_t page = 4096;

// A thread copies or zeroes one long range, so that the C library may choose to write around the caches.
template <typename Body>
void parallel_bytes(std::size_t bytes, const Body& body) {
  const auto count = static_cast<std::int64_t>(bytes);
  parallel_ranges(count, page, count / 4, [&](std::int64_t first, std::int64_t last) {
    if (last > first) body(static_cast<std::size_t>(first), static_cast<std::size_t>(last - first));
  });
}

}  // namespace

void copy_bytes(void* to, const void* from, std::size_t bytes) {
  parallel_bytes(bytes, [&](std::size_t first, std::size_t count) {
    std::memcpy(static_cast<char*>(to) + first, static_cast<const char*>(from) + first, count);
  });
}

void zero_bytes(void* to, std::size_t bytes) {
  parallel_bytes(bytes, [&](std::size_t first, std::size_t count) { std::memset(static_cast<char*>(to) + first, 0, count); });
}

void cast(ConstTensorView from, TensorView to) {
  if (from.dtype == to.dtype) return copy_bytes(to.data, from.data, from.bytes());
  const CastKernels& kernels = cast_kernels();
  constexpr std::int64_t unit = 64;
  parallel_ranges(from.numel(), unit, from.numel(), [&](std::int64_t first, std::int64_t last) {
    if (to.dtype == DType::bf16)
      kernels.to_bf16(from.as<float>() + first, to.as<bfloat16>() + first, last - first);
    else
      kernels.to_f32(from.as<bfloat16>() + first, to.as<float>() + first, last - first);
  });
}

}  // namespace temper::cpu
