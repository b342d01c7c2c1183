#include "kernels/emulated/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "kernels/emulated/audit/observer.h"

namespace temper::emulated {

namespace {

constexpr std::size_t boundary = 256;
constexpr int nan_pattern = 0xFF;
constexpr std::size_t filled_bytes = std::size_t{1} << 20;  // of what is larger, the workspace of products, little is ever touched

bool is_mapped(std::uintptr_t address) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  unsigned char resident = 0;
  return mincore(reinterpret_cast<void*>(address / page * page), 1, &resident) == 0;
}

}  // namespace

Memory& memory() {
  static Memory all;
  return all;
}

void* Memory::allocate(Gpu& gpu, MemoryKind kind, std::size_t bytes) {
  void* made = nullptr;
  if (audit::Observer* const audit = audit::linked()) {
    made = audit->allocate(bytes);
  } else {
    // Each allocation is a heap block of its own, so that AddressSanitizer sees what runs over its end.
    if (posix_memalign(&made, boundary, std::max<std::size_t>(bytes, 1)) != 0) return nullptr;
    std::memset(made, nan_pattern, std::min(bytes, filled_bytes));
  }
  const std::scoped_lock lock(mutex_);
  allocations_[reinterpret_cast<std::uintptr_t>(made)] = {kind, &gpu, bytes};
  return made;
}

Gpu* Memory::owner(const void* memory, MemoryKind kind) {
  const std::scoped_lock lock(mutex_);
  const auto found = allocations_.find(reinterpret_cast<std::uintptr_t>(memory));
  return found == allocations_.end() || found->second.kind != kind ? nullptr : found->second.gpu;
}

std::size_t Memory::release(void* memory) {
  std::size_t bytes = 0;
  {
    const std::scoped_lock lock(mutex_);
    const auto found = allocations_.find(reinterpret_cast<std::uintptr_t>(memory));
    bytes = found->second.bytes;
    allocations_.erase(found);
  }
  if (audit::Observer* const audit = audit::linked())
    audit->release(memory);
  else
    std::free(memory);
  return bytes;
}

MemoryKind Memory::kind_of(const void* memory, std::size_t bytes, std::string& problem) {
  const auto first = reinterpret_cast<std::uintptr_t>(memory);
  const std::scoped_lock lock(mutex_);
  auto behind = allocations_.upper_bound(first);
  const bool runs_into_next = behind != allocations_.end() && behind->first < first + bytes;
  if (behind != allocations_.begin()) {
    const auto& [begin, allocation] = *--behind;
    if (first < begin + std::max<std::size_t>(allocation.bytes, 1)) {
      if (bytes > begin + allocation.bytes - first)
        problem = std::to_string(bytes) + " bytes from byte " + std::to_string(first - begin) + " of an allocation of " +
                  std::to_string(allocation.bytes);
      return allocation.kind;
    }
  }
  if (runs_into_next)
    problem = std::to_string(bytes) + " bytes that begin outside of an allocation and end inside";
  else if (bytes > 0 && (!is_mapped(first) || !is_mapped(first + bytes - 1)))
    problem = std::to_string(bytes) + " bytes at an address that is neither the host's nor the device's";
  return MemoryKind::pageable;
}

}  // namespace temper::emulated
