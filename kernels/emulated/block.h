// One block of CUDA threads, run by one OS thread: each thread a fiber that runs until it has to wait for others. What waits, and
// what it waits for, is known at every moment, so a barrier that not all threads reach, a warp operation whose lanes do not come
// and a block in which nothing can run any more are reported with the source line of every thread involved.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

#include "kernels/check.h"
#include "kernels/emulated/fiber.h"
#include "kernels/emulated/shared_arena.h"

namespace temper::emulated {

/// A kernel did what no CUDA kernel may do. Says which kernel, block, threads and source lines.
class KernelFault : public DeviceError {
 public:
  using DeviceError::DeviceError;
};

/// How a grid is executed. A correct kernel gives the same bits under every setting.
struct Execution {
  std::uint64_t seed = 1;   ///< order in which warps and their lanes are resumed: 0 ascending, 1 descending, otherwise shuffled
  bool lazy_copies = true;  ///< asynchronous copies take effect at the wait (finds missing waits); false: when issued
  int os_threads = 2;       ///< blocks that run at once
  std::size_t shared_bytes = SharedArena::capacity;  ///< that a block may have: 227 KiB on sm_90, 99 on 8.6, 8.9 and 12.0
};

struct Index3 {
  unsigned x = 1, y = 1, z = 1;
};

using Site = std::source_location;

/// Lanes of a warp that meet in one operation. Each lane leaves `in`; the last one to come turns all of it into `out`.
struct WarpMeeting {
  static constexpr std::size_t slot_bytes = 64;
  const char* operation = nullptr;  ///< null: free to be used
  std::uint32_t mask = 0, arrived = 0, left = 0;
  Site site;
  alignas(16) std::byte in[32 * slot_bytes];  // one value after the other, by lane
  alignas(16) std::byte out[32 * slot_bytes];

  bool complete() const { return arrived == mask; }
};

struct Warp {
  std::uint32_t existing = 0;   ///< lanes that the block has
  std::uint32_t runnable = 0;   ///< lanes that have not ended and wait for nothing
  std::vector<unsigned> order;  ///< of the lanes, in which they are resumed
  std::vector<std::unique_ptr<WarpMeeting>> meetings;
};

struct AsyncCopy {
  void* to;
  const void* from;
  std::size_t bytes;       ///< copied
  std::size_t zero_bytes;  ///< set to zero behind them
  const void* place;       ///< return address of the call that issued it
};

class Block;

struct CudaThread {
  Fiber fiber;
  Block* block = nullptr;
  Index3 thread_index{0, 0, 0};
  unsigned linear = 0;  ///< threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)
  Warp* warp = nullptr;

  const void* waits_for = nullptr;  ///< null: can run
  const char* wait_name = nullptr;
  Site wait_site;

  std::vector<AsyncCopy> copies;         ///< issued and not waited for, oldest first
  std::vector<std::size_t> copy_groups;  ///< of those, how many each committed group holds; the rest is not committed

  unsigned lane() const { return linear % 32; }
};

extern constinit thread_local CudaThread* running_thread;

/// The CUDA thread that runs on this OS thread now. Only inside kernels.
inline CudaThread& current_thread() { return *running_thread; }

class Block {
 public:
  Block(StackPool& stacks, SharedArena& arena) : stacks_(stacks), arena_(arena) {}

  /// Runs all threads of block `index` to their end. Throws KernelFault.
  void run(const std::string& kernel, Index3 grid, Index3 block, Index3 index, std::size_t dynamic_shared_bytes,
           const std::function<void()>& body, const Execution& execution);

  // Called from inside kernels, by the wrappers in emulated/device.
  const Index3& grid() const { return grid_; }
  const Index3& dimensions() const { return dimensions_; }
  const Index3& index() const { return index_; }
  SharedArena& arena() const { return arena_; }
  bool lazy_copies() const { return execution_.lazy_copies; }

  /// Waits until all threads of the block have come.
  void barrier(Site site);
  /// Joins the meeting of `mask`'s lanes; meeting.complete() tells whether this lane is the last one to come.
  WarpMeeting& join(const char* operation, std::uint32_t mask, Site site);
  void release(WarpMeeting& meeting);                      // the last lane, when `out` is filled
  void wait(WarpMeeting& meeting);                         // the others
  static void leave(WarpMeeting& meeting, unsigned lane);  // all, when they have read `out`

  // Asynchronous copies of the calling thread.
  void start_copy(void* to, const void* from, std::size_t bytes, std::size_t zero_bytes);
  static void commit_copies();
  void wait_for_copies(std::size_t pending);

  std::byte* shared_array(const void* declaration, std::size_t bytes, std::size_t alignment, Site site);

  /// Ends the block with a fault.
  [[noreturn]] void fault(const std::string& what, Site site);

 private:
  struct Barrier {
    std::size_t arrived = 0;
    Site site;
    unsigned first_thread = 0;
  };

  static void thread_body(void* argument);
  void make_order(std::uint64_t block_number);
  /// The calling thread waits until somebody wakes those who wait for `object`.
  void sleep(const void* object, const char* name, Site site);
  void wake(const void* object);
  void check_end() const;
  std::string waiting_threads() const;
  std::string place() const;

  StackPool& stacks_;
  SharedArena& arena_;
  Execution execution_;
  std::string kernel_;
  Index3 grid_, dimensions_, index_;
  const std::function<void()>* body_ = nullptr;
  std::vector<CudaThread> threads_;  // those of the largest block so far
  std::size_t thread_count_ = 0;     // this block's
  std::vector<Warp> warps_;
  std::size_t warp_count_ = 0;
  std::vector<unsigned> warp_order_;
  Barrier barrier_;
  std::string fault_;
};

std::string to_string(Index3 index);
std::string to_string(const Site& site);

}  // namespace temper::emulated
