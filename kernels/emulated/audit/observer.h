// What the emulation tells the audit (audit/audit.h) in programs that it is linked into. Elsewhere nobody listens: the symbol is
// weak, as those of sanitizer.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/emulated/block.h"

namespace temper::emulated {

namespace audit {

struct Launch {
  std::string kernel;
  const void* function;
  Index3 grid, block;
  std::size_t dynamic_shared_bytes;
};

class Observer {
 public:
  virtual ~Observer() = default;

  /// Device memory that lies alone; release() takes it back. Throws OutOfMemory.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;

  virtual void launch_begins(const Launch& launch) = 0;
  virtual void block_begins(const Block& block, unsigned warps) = 0;
  virtual void block_ends() = 0;
  /// This block's shared memory has one more array; `begin` counts from the start of the arena.
  virtual void shared_array(std::size_t begin, std::size_t bytes) = 0;

  /// All threads of the block have come to a barrier; these lanes of a warp to each other.
  virtual void barrier() = 0;
  virtual void meeting(unsigned warp, std::uint32_t lanes, bool orders_memory) = 0;

  /// By the running thread.
  virtual void copy_started(const AsyncCopy& copy) = 0;
  virtual void copy_arrived(const AsyncCopy& copy) = 0;
};

Observer& observer() __attribute__((weak));

/// Null where no audit is linked.
inline Observer* linked() { return observer != nullptr ? &observer() : nullptr; }

}  // namespace audit
}  // namespace temper::emulated
