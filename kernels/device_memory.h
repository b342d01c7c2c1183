// Owns device memory in named groups, so that all of it is taken before the first step and a plan of it can be printed,
// also without taking any.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "kernels/tensor.h"

namespace temper {

struct MemoryGroup {
  std::string name;
  std::size_t bytes;
};

class DeviceMemory {
 public:
  /// With `ops` null nothing is allocated: views come back absent and only the plan is kept.
  explicit DeviceMemory(Ops* ops) : ops_(ops) {}
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  /// A tensor of its own allocation, counted under `group`; contents undefined.
  TensorView add(const std::string& group, DType dtype, Shape shape);
  /// Counts memory that somebody else holds (packed weights, workspaces).
  void count(const std::string& group, std::size_t bytes);

  /// Groups in the order they first appeared.
  const std::vector<MemoryGroup>& plan() const { return plan_; }
  std::size_t total_bytes() const;

 private:
  Ops* ops_;
  std::vector<void*> allocations_;
  std::vector<MemoryGroup> plan_;
};

}  // namespace temper
