// The memory that the emulated GPUs of this process know: which addresses are a GPU's, which are pinned, and which are neither.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace temper::emulated {

class Gpu;

enum class MemoryKind : std::uint8_t { device, pinned, pageable };

class Memory {
 public:
  /// On a 256-byte boundary, NaN in its first MiB. Null when the machine has no more.
  void* allocate(Gpu& gpu, MemoryKind kind, std::size_t bytes);
  /// Whose it is; null when no allocation of this kind begins at `memory`.
  Gpu* owner(const void* memory, MemoryKind kind);
  /// Returns the bytes of it.
  std::size_t release(void* memory);

  /// Of bytes [memory, memory + bytes), which lie in one allocation or in none. Otherwise, and where nothing is, `problem` says so.
  MemoryKind kind_of(const void* memory, std::size_t bytes, std::string& problem);

 private:
  struct Allocation {
    MemoryKind kind;
    Gpu* gpu;
    std::size_t bytes;
  };
  std::mutex mutex_;
  std::map<std::uintptr_t, Allocation> allocations_;
};

/// Of all GPUs: CUDA has one address space.
Memory& memory();

}  // namespace temper::emulated
