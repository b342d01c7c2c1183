// The counterpart of kernels/cuda/device/range.h: faults of the emulation name the kernel by the range that it was launched in.
#pragma once

#include <utility>

namespace temper::emulated {

class Range {
 public:
  explicit Range(const char* name) : outer_(std::exchange(innermost_, name)) {}
  ~Range() { innermost_ = outer_; }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

  static const char* innermost() { return innermost_; }

 private:
  inline static thread_local const char* innermost_ = "";
  const char* outer_;
};

}  // namespace temper::emulated
