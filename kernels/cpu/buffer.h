// Scratch memory that is allocated once and used again: aligned bytes, and numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

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

/// Memory that operations need for a moment. It grows to the largest request and is then reused, so that a training run allocates
/// nothing after its first step.
class Workspace {
 public:
  /// Room for `count` elements, contents undefined; valid until the next call.
  float* floats(std::int64_t count) { return at_least(floats_, count); }
  double* doubles(std::int64_t count) { return at_least(doubles_, count); }

 private:
  template <typename T>
  static T* at_least(std::vector<T>& memory, std::int64_t count) {
    if (memory.size() < static_cast<std::size_t>(count)) memory.resize(static_cast<std::size_t>(count));
    return memory.data();
  }

  std::vector<float> floats_;
  std::vector<double> doubles_;
};

}  // namespace temper::cpu
