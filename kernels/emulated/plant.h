// Kernels that go wrong, for tests of what finds that out.
#pragma once

#include <string>

namespace temper::emulated {

enum class Planted : unsigned char {
  wrong,   ///< the first block is left out
  crash,   ///< SIGSEGV
  hang,    ///< for ever
  sticky,  ///< a fault, after which this GPU does nothing more
};

/// From now on, before any GPU works, on every GPU of this process, whatever is launched under this name goes wrong so.
void plant(const std::string& kernel, Planted how);

}  // namespace temper::emulated
