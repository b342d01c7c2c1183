// A grid of blocks: handed to OS threads in index order, several at once.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/emulated/block.h"

namespace temper::emulated {

class GridRunner {
 public:
  explicit GridRunner(const Execution& execution) : execution_(execution) {}

  /// Runs every block of a grid; each thread calls `body`. Throws KernelFault: the first fault ends the launch.
  void run(const std::string& kernel, Index3 grid, Index3 block, std::size_t dynamic_shared_bytes,
           const std::function<void()>& body);

 private:
  // What an OS thread needs to run blocks; kept, so that stacks and arena are taken once.
  struct Multiprocessor {
    StackPool stacks;
    SharedArena arena;
    Block block{stacks, arena};
  };

  Execution execution_;
  std::vector<std::unique_ptr<Multiprocessor>> multiprocessors_;
};

}  // namespace temper::emulated
