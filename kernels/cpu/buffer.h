// Scratch memory that is allocated once and used again.
#pragma once

#include <cstddef>
#include <memory>

namespace temper::cpu {

inline constexpr std::size_t huge_page = std::size_t{2} << 20;

/// Page-aligned memory, in huge pages where it is large, that only ever grows; contents are lost when it does.
class Buffer {
 public:
  /// At least `bytes` bytes. Throws OutOfMemory.
  char* reserve(std::size_t bytes);
  /// What reserve(bytes) takes at least: whole pages.
  static std::size_t rounded(std::size_t bytes);
  std::size_t capacity() const { return capacity_; }

 private:
  struct Free {
    void operator()(char* memory) const noexcept;
  };
  std::unique_ptr<char, Free> data_;
  std::size_t capacity_ = 0;
};

}  // namespace temper::cpu
