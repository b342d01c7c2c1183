#include "kernels/emulated/grid.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include "kernels/check.h"

namespace temper::emulated {

namespace {

// The limits of sm_80 and later.
void check_shape(const std::string& kernel, Index3 grid, Index3 block, std::size_t shared_bytes) {
  const auto limit = [&](bool holds, const std::string& what) {
    if (!holds) throw KernelFault("kernel " + kernel + ": cannot be launched: " + what);
  };
  limit(grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x <= 0x7FFFFFFF && grid.y <= 65535 && grid.z <= 65535,
        "grid " + to_string(grid));
  limit(block.x > 0 && block.y > 0 && block.z > 0 && block.x <= 1024 && block.y <= 1024 && block.z <= 64 &&
            block.x * block.y * block.z <= 1024,
        "block " + to_string(block));
  limit(shared_bytes <= SharedArena::capacity,
        std::to_string(shared_bytes) + " bytes of shared memory, " + std::to_string(SharedArena::capacity) + " are there");
}

}  // namespace

void GridRunner::run(const std::string& kernel, Index3 grid, Index3 block, std::size_t dynamic_shared_bytes,
                     const std::function<void()>& body) {
  check_shape(kernel, grid, block, dynamic_shared_bytes);
  const std::uint64_t blocks = static_cast<std::uint64_t>(grid.x) * grid.y * grid.z;
  std::atomic<std::uint64_t> next{0};
  std::mutex mutex;
  std::string fault;

  const auto work = [&](Multiprocessor& multiprocessor) {
    for (std::uint64_t i = next++; i < blocks; i = next++) {
      const Index3 index{static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                         static_cast<unsigned>(i / grid.x / grid.y)};
      try {
        multiprocessor.block.run(kernel, grid, block, index, dynamic_shared_bytes, body, execution_);
      } catch (const std::exception& error) {
        const std::scoped_lock lock(mutex);
        if (fault.empty()) fault = error.what();
        next = blocks;
      }
    }
  };
  const auto used = static_cast<std::size_t>(std::clamp<std::uint64_t>(execution_.os_threads, 1, blocks));
  while (multiprocessors_.size() < used) multiprocessors_.push_back(std::make_unique<Multiprocessor>());
  {
    std::vector<std::jthread> helpers;
    for (std::size_t i = 1; i < used; ++i) helpers.emplace_back(work, std::ref(*multiprocessors_[i]));
    work(*multiprocessors_[0]);
  }
  if (!fault.empty()) throw KernelFault(fault);
}

}  // namespace temper::emulated
