// A named range on the time line of NVIDIA's profilers: one around each operation. Costs nothing when no profiler looks on.
#pragma once

#include <nvtx3/nvToolsExt.h>

namespace temper::TEMPER_BACKEND {

class Range {
 public:
  explicit Range(const char* name) { nvtxRangePushA(name); }
  ~Range() { nvtxRangePop(); }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;
};

}  // namespace temper::TEMPER_BACKEND
