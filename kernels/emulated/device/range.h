// The counterpart of kernels/cuda/device/range.h: nobody profiles the emulation.
#pragma once

namespace temper::emulated {

class Range {
 public:
  explicit Range(const char* /*name*/) {}
};

}  // namespace temper::emulated
