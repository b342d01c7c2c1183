// The counterpart of kernels/cuda/device/async_copy.cuh. A copy is remembered and its destination made NaN (and forbidden, with
// AddressSanitizer) until the issuing thread waits for it; or, with eager copies, done at once.
#pragma once

#include <device/primitives.cuh>
#include "kernels/emulated/sanitizer.h"

namespace temper::emulated {

inline void perform(const AsyncCopy& copy) {
  if (copy.bytes > 0) std::memcpy(copy.to, copy.from, copy.bytes);  // else `from` may be null
  std::memset(static_cast<std::byte*>(copy.to) + copy.bytes, 0, copy.zero_bytes);
}

inline void copy_async_16(void* shared_to, const void* global_from, bool valid = true, Site site = Site::current()) {
  CudaThread& thread = current_thread();
  const auto misaligned = [](const void* address) { return reinterpret_cast<std::uintptr_t>(address) % 16 != 0; };
  if (misaligned(shared_to) || misaligned(global_from))
    thread.block->fault("copy_async_16: an address is not a multiple of 16", site);
  if (!thread.block->arena().contains(shared_to)) thread.block->fault("copy_async_16: the destination is not shared memory", site);
  const AsyncCopy copy{shared_to, global_from, valid ? 16u : 0u, valid ? 0u : 16u};
  if (thread.block->lazy_copies()) {
    std::memset(shared_to, 0xFF, 16);
    sanitizer::poison(shared_to, 16);
  } else {
    perform(copy);
  }
  thread.copies.push_back(copy);
}

inline void copy_async_commit() {
  CudaThread& thread = current_thread();
  std::size_t committed = 0;
  for (const std::size_t copies : thread.copy_groups) committed += copies;
  thread.copy_groups.push_back(thread.copies.size() - committed);
}

template <int pending>
void copy_async_wait() {
  CudaThread& thread = current_thread();
  while (thread.copy_groups.size() > static_cast<std::size_t>(pending)) {
    const auto end = thread.copies.begin() + static_cast<std::ptrdiff_t>(thread.copy_groups.front());
    if (thread.block->lazy_copies()) {
      for (auto copy = thread.copies.begin(); copy != end; ++copy) {
        sanitizer::unpoison(copy->to, copy->bytes + copy->zero_bytes);
        perform(*copy);
      }
    }
    thread.copies.erase(thread.copies.begin(), end);
    thread.copy_groups.erase(thread.copy_groups.begin());
  }
}

}  // namespace temper::emulated
