// The counterpart of kernels/cuda/device/async_copy.cuh. A copy takes effect when the issuing thread waits for it; or, with eager
// copies, at once.
#pragma once

#include <device/primitives.cuh>

namespace temper::emulated {

__forceinline__ void copy_async_16(void* shared_to, const void* global_from, bool valid = true, Site site = Site::current()) {
  Block& block = *current_thread().block;
  const auto misaligned = [](const void* address) { return reinterpret_cast<std::uintptr_t>(address) % 16 != 0; };
  if (misaligned(shared_to) || misaligned(global_from)) block.fault("copy_async_16: an address is not a multiple of 16", site);
  if (!block.arena().contains(shared_to)) block.fault("copy_async_16: the destination is not shared memory", site);
  block.start_copy(shared_to, global_from, valid ? 16 : 0, valid ? 0 : 16);
}

inline void copy_async_commit() { Block::commit_copies(); }

template <int pending>
void copy_async_wait() {
  current_thread().block->wait_for_copies(pending);
}

}  // namespace temper::emulated
