// Scratch memory of the backend: one buffer that every operation may use from its start, since operations run one after another on
// one stream. It grows when an operation needs more, which memory plans foresee (Ops::scratch_bytes), so that nothing is taken
// after a run's first step. Buffers that became too small are kept: recorded graphs may name them.
#pragma once

#include <device/runtime.h>

#include <cstddef>
#include <vector>

namespace temper::TEMPER_BACKEND {

class Workspace {
 public:
  explicit Workspace(Device& device) : device_(device) {}
  ~Workspace() {
    for (void* buffer : buffers_) device_.release(buffer);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  /// At least `bytes`, on a 256-byte boundary, with undefined contents; valid until the next call.
  void* get(std::size_t bytes) {
    if (bytes > bytes_) {
      buffers_.push_back(device_.allocate(bytes));
      bytes_ = bytes;
      taken_ += bytes;
    }
    return buffers_.empty() ? nullptr : buffers_.back();
  }

  std::size_t taken_bytes() const { return taken_; }

 private:
  Device& device_;
  std::vector<void*> buffers_;
  std::size_t bytes_ = 0;  // of the last one
  std::size_t taken_ = 0;  // of all
};

}  // namespace temper::TEMPER_BACKEND
