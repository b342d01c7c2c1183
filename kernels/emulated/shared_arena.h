// The shared memory of one block: up to 227 KiB on a 128-byte boundary, one arena per OS thread. The launch's dynamic part lies at
// the start; declared arrays follow, each with a gap around it that AddressSanitizer guards and that is looked at
// when the block ends. Everything starts as NaN.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace temper::emulated {

class SharedArena {
 public:
  static constexpr int boundary = 128;                 ///< of the dynamic part; what is declared is rounded up to it
  static constexpr std::size_t capacity = 227 * 1024;  ///< the most that any GPU has
  static constexpr std::size_t slack = 64 * 1024;      ///< room for gaps, so that they do not count against the capacity
  static constexpr std::size_t margin = 64 * 1024;     ///< before and behind, where only stray accesses go
  static constexpr std::size_t reach = margin + capacity + slack + margin;

  SharedArena();
  ~SharedArena();
  SharedArena(const SharedArena&) = delete;
  SharedArena& operator=(const SharedArena&) = delete;

  /// For a new block, which may have `most_bytes` in all: forgets the arrays of the last one, poisons everything and hands out the
  /// dynamic part.
  void begin_block(std::size_t dynamic_bytes, std::size_t most_bytes);
  std::byte* dynamic() const { return base_; }

  /// The array declared at `site`: the same memory for every thread of a block. Null when it does not fit.
  std::byte* declared(const void* site, std::size_t bytes, std::size_t alignment);

  /// What this block has declared, as the compiler counts it: the dynamic part begins on a boundary behind it.
  std::size_t declared_bytes() const { return with(0); }
  std::size_t most_bytes() const { return most_bytes_; }

  bool contains(const void* address) const {
    const auto* byte = static_cast<const std::byte*>(address);
    return byte >= base_ && byte < base_ + capacity;
  }
  /// False when a gap between arrays was written.
  bool gaps_intact() const;

 private:
  struct Array {
    const void* site;
    std::size_t begin, end;
  };
  void add_gap();
  std::size_t with(std::size_t bytes) const;  // declared_bytes(), if so many more were declared

  std::unique_ptr<std::byte[]> memory_;
  std::byte* base_;
  std::size_t dynamic_bytes_ = 0, most_bytes_ = capacity;
  std::size_t used_ = 0;  // arrays and the gaps between them
  std::vector<Array> arrays_;
  std::vector<std::size_t> gaps_;  // where each begins
};

}  // namespace temper::emulated
