#include "kernels/emulated/grid.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/check.h"
#include "kernels/emulated/audit/observer.h"

namespace temper::emulated {

namespace {

// What an OS thread needs to run blocks.
struct Multiprocessor {
  StackPool stacks;
  SharedArena arena;
  Block block{stacks, arena};
};

// Those that no launch uses now, of all devices: taking hundreds of stacks from the system lasts longer than most launches.
class Multiprocessors {
 public:
  std::unique_ptr<Multiprocessor> take() {
    const std::scoped_lock lock(mutex_);
    if (idle_.empty()) return std::make_unique<Multiprocessor>();
    std::unique_ptr<Multiprocessor> taken = std::move(idle_.back());
    idle_.pop_back();
    return taken;
  }
  void give_back(std::unique_ptr<Multiprocessor> used) {
    const std::scoped_lock lock(mutex_);
    idle_.push_back(std::move(used));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Multiprocessor>> idle_;
};
Multiprocessors multiprocessors;

}  // namespace

std::string shape_problem(Index3 grid, Index3 block) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7FFFFFFF || grid.y > 65535 || grid.z > 65535)
    return "grid " + to_string(grid);
  if (block.x == 0 || block.y == 0 || block.z == 0 || block.x > 1024 || block.y > 1024 || block.z > 64 ||
      block.x * block.y * block.z > 1024)
    return "block " + to_string(block);
  return "";
}

std::size_t GridRunner::run(const std::string& kernel, Index3 grid, Index3 block, std::size_t dynamic_shared_bytes,
                            const std::function<void()>& body) {
  const std::uint64_t blocks = static_cast<std::uint64_t>(grid.x) * grid.y * grid.z;
  std::atomic<std::uint64_t> next{0};
  std::mutex mutex;
  std::string fault;
  std::size_t declared_bytes = 0;

  const auto work = [&] {
    std::unique_ptr<Multiprocessor> multiprocessor = multiprocessors.take();
    for (std::uint64_t i = next++; i < blocks; i = next++) {
      const Index3 index{static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                         static_cast<unsigned>(i / grid.x / grid.y)};
      try {
        multiprocessor->block.run(kernel, grid, block, index, dynamic_shared_bytes, body, execution_);
        const std::scoped_lock lock(mutex);
        declared_bytes = std::max(declared_bytes, multiprocessor->arena.declared_bytes());
      } catch (const std::exception& error) {
        const std::scoped_lock lock(mutex);
        if (fault.empty()) fault = error.what();
        next = blocks;
      }
    }
    multiprocessors.give_back(std::move(multiprocessor));
  };
  const auto used = static_cast<std::size_t>(std::clamp<std::uint64_t>(execution_.os_threads, 1, blocks));
  {
    std::vector<std::jthread> helpers;
    for (std::size_t i = 1; i < used; ++i) helpers.emplace_back(work);
    work();
  }
  if (!fault.empty()) throw KernelFault(fault);
  return declared_bytes;
}

}  // namespace temper::emulated
