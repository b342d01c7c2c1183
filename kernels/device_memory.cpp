#include "kernels/device_memory.h"

namespace temper {

DeviceMemory::~DeviceMemory() {
  for (auto it = allocations_.rbegin(); it != allocations_.rend(); ++it) ops_->release(*it);
}

TensorView DeviceMemory::add(const std::string& group, DType dtype, Shape shape) {
  const std::size_t bytes = static_cast<std::size_t>(shape.numel()) * size_of(dtype);
  count(group, bytes);
  if (ops_ == nullptr) return {nullptr, dtype, shape};
  allocations_.reserve(allocations_.size() + 1);
  void* memory = ops_->allocate(bytes);
  allocations_.push_back(memory);
  return {memory, dtype, shape};
}

void DeviceMemory::count(const std::string& group, std::size_t bytes) {
  for (MemoryGroup& known : plan_) {
    if (known.name == group) {
      known.bytes += bytes;
      return;
    }
  }
  plan_.push_back({group, bytes});
}

std::size_t DeviceMemory::total_bytes() const {
  std::size_t total = 0;
  for (const MemoryGroup& group : plan_) total += group.bytes;
  return total;
}

}  // namespace temper
