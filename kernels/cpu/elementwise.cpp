// Operations whose elements have nothing to do with each other, and plain memory. Copies and conversions run at memory speed.
#include <cmath>
#include <cstring>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/isa_kernels.h"
#include "kernels/cpu/parallel.h"

namespace temper::cpu {

namespace {

constexpr std::int64_t unit = 64;  // elements, of either type: threads share no cache line
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

void CpuOps::copy_to_host(void* host_to, const void* device_from, std::size_t bytes) {
  parallel_bytes(bytes, [&](std::size_t first, std::size_t count) {
    std::memcpy(static_cast<char*>(host_to) + first, static_cast<const char*>(device_from) + first, count);
  });
}

void CpuOps::copy(void* device_to, const void* device_from, std::size_t bytes) {
  copy_to_host(device_to, device_from, bytes);
  linear_->written(device_to, bytes);
}

void CpuOps::copy_to_device(void* device_to, const void* host_from, std::size_t bytes) { copy(device_to, host_from, bytes); }

void CpuOps::zero(void* device, std::size_t bytes) {
  parallel_bytes(bytes, [&](std::size_t first, std::size_t count) { std::memset(static_cast<char*>(device) + first, 0, count); });
  linear_->written(device, bytes);
}

void CpuOps::run(const op::Cast& args) {
  if (args.from.dtype == args.to.dtype) return copy(args.to.data, args.from.data, args.from.bytes());
  const ElementwiseKernels& kernels = elementwise_kernels();
  parallel_ranges(args.from.numel(), unit, args.from.numel(), [&](std::int64_t first, std::int64_t last) {
    if (args.to.dtype == DType::bf16)
      kernels.to_bf16(args.from.as<float>() + first, args.to.as<bfloat16>() + first, last - first);
    else
      kernels.to_f32(args.from.as<bfloat16>() + first, args.to.as<float>() + first, last - first);
  });
  linear_->written(args.to.data, args.to.bytes());
}

void CpuOps::run(const op::Gelu& args) {
  const ElementwiseKernels& kernels = elementwise_kernels();
  parallel_ranges(args.pre.numel(), unit, args.pre.numel(),
                  [&](std::int64_t first, std::int64_t last) { kernels.gelu(args, first, last); });
}

void CpuOps::run(const op::Normalize& args) {
  const auto factor = static_cast<float>(1.0 / (std::sqrt(sum_of_squares(args.x)) + 1e-7));
  const ElementwiseKernels& kernels = elementwise_kernels();
  parallel_ranges(args.x.numel(), unit, args.x.numel(),
                  [&](std::int64_t first, std::int64_t last) { kernels.scale(args, factor, first, last); });
  linear_->written(args.out.data, args.out.bytes());
}

void CpuOps::run(const op::LinearCombination& args) {
  const ElementwiseKernels& kernels = elementwise_kernels();
  parallel_ranges(args.x.numel(), unit, args.x.numel(),
                  [&](std::int64_t first, std::int64_t last) { kernels.combine(args, first, last); });
  linear_->written(args.out.data, args.out.bytes());
}

}  // namespace temper::cpu
