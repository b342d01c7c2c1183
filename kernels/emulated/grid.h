// A grid of blocks: handed to OS threads in index order, several at once.
#pragma once

#include <functional>
#include <string>

#include "kernels/emulated/block.h"

namespace temper::emulated {

/// What is wrong with a launch of this shape on sm_80 and later; empty when nothing is.
std::string shape_problem(Index3 grid, Index3 block);

class GridRunner {
 public:
  explicit GridRunner(const Execution& execution) : execution_(execution) {}

  /// Runs every block of a grid; each thread calls `body`. Returns the most bytes of shared memory that a block declared. Throws
  /// KernelFault: the first fault ends the launch.
  std::size_t run(const std::string& kernel, Index3 grid, Index3 block, std::size_t dynamic_shared_bytes,
                  const std::function<void()>& body);

 private:
  Execution execution_;
};

}  // namespace temper::emulated
