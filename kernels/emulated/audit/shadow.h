// What is known of each two bytes of memory: who wrote them last and who has read them since.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace temper::emulated::audit {

/// An access. Phases are numbered through the whole process: a new one begins with every block and at every barrier.
struct Mark {
  std::uint32_t phase = 0;  ///< 0: there was none
  std::uint32_t clock = 0;  ///< how often the lane had met others
  std::uint32_t site = 0;
  std::uint16_t thread = 0;
  bool atomic = false;
  bool under_way = false;  ///< an asynchronous copy that nobody waited for yet
};

struct Cell {
  Mark write;
  std::array<Mark, 2> read;  ///< by two threads, of two warps or blocks where there were such; none since the last write: phase 0
};
constexpr std::size_t cell_bytes = 2;

/// Which of a warp's lanes have met since when: of(lane)[other] is what the other's clock was when the lane last heard of it.
class WarpClocks {
 public:
  std::uint32_t own(unsigned lane) const { return heard_[lane][lane]; }
  bool heard(unsigned lane, unsigned other, std::uint32_t clock) const { return heard_[lane][other] > clock; }
  void meet(std::uint32_t lanes);

 private:
  std::array<std::array<std::uint32_t, 32>, 32> heard_{};
};

/// Where a block is, in the order of things.
struct Moment {
  std::uint32_t phase = 0;
  std::uint32_t block = 0;   ///< its first phase
  std::uint32_t launch = 0;  ///< the first phase of the launch's first block
};

/// The memory of the emulated device: allocations far from each other in a range of addresses that are used once only, each with
/// cells of its own, which take memory when they are touched.
class Heap {
 public:
  struct Allocation {
    std::uintptr_t begin = 0;
    std::size_t bytes = 0;  ///< 0: released
    std::size_t whole = 0;
    std::string name;
  };
  /// What fresh memory holds: no number as bf16 and as f32, and nothing that a program writes.
  static constexpr std::uint16_t unwritten = 0xFFD5;

  Heap();
  void* allocate(std::size_t bytes);
  void release(void* memory) noexcept;
  Allocation* find(std::uintptr_t address);
  /// The one that `address` is a little before or behind; null when there is none.
  const Allocation* nearest(std::uintptr_t address);

  bool contains(std::uintptr_t address) const { return address - begin_ < size; }
  Cell& cell(std::uintptr_t address) const { return cells_[(address - begin_) / cell_bytes]; }

 private:
  static constexpr std::size_t size = std::size_t{64} << 30;  // of addresses; what is not touched costs nothing
  std::uintptr_t begin_ = 0;
  Cell* cells_ = nullptr;
  std::size_t used_ = 0;
  std::vector<std::uint32_t> owner_;  // of each page: number of the allocation, plus one
  std::vector<Allocation> allocations_;
};

}  // namespace temper::emulated::audit
