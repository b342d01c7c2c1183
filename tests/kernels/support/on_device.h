// A vector of the test in a backend's memory.
#pragma once

#include <vector>

#include "kernels/ops.h"

namespace temper {

template <typename T>
class OnDevice {
 public:
  OnDevice(Ops& ops, const std::vector<T>& values) : ops_(ops), size_(values.size()) {
    memory_ = static_cast<T*>(ops.allocate(size_ * sizeof(T)));
    ops.copy_to_device(memory_, values.data(), size_ * sizeof(T));
  }
  ~OnDevice() { ops_.release(memory_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  T* data() { return memory_; }
  /// What is there when all work so far is done.
  std::vector<T> read() {
    std::vector<T> values(size_);
    ops_.copy_to_host(values.data(), memory_, size_ * sizeof(T));
    return values;
  }

 private:
  Ops& ops_;
  std::size_t size_;
  T* memory_;
};

}  // namespace temper
