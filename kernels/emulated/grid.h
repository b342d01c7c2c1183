// A grid of blocks: handed to OS threads in index order, several at once.
#pragma once

#include <functional>
#include <string>

#include "kernels/emulated/block.h"

namespace temper::emulated {

class GridRunner {
 public:
  explicit GridRunner(const Execution& execution) : execution_(execution) {}

  /// Runs every block of a grid; each thread calls `body`. Throws KernelFault: the first fault ends the launch.
  void run(const std::string& kernel, Index3 grid, Index3 block, std::size_t dynamic_shared_bytes,
           const std::function<void()>& body);

 private:
  Execution execution_;
};

}  // namespace temper::emulated
