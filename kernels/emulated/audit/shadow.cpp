#include "kernels/emulated/audit/shadow.h"

#include <sys/mman.h>

#include <algorithm>

#include "kernels/check.h"

namespace temper::emulated::audit {

namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t offset = 256;  // no allocation begins on a larger power of two than CUDA promises
constexpr std::size_t distance = 16 * page;

void* reserve(std::size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw OutOfMemory("audit: no address space for " + std::to_string(bytes) + " bytes");
  return memory;
}

}  // namespace

void WarpClocks::meet(std::uint32_t lanes) {
  std::array<std::uint32_t, 32> latest{};
  for (unsigned lane = 0; lane < 32; ++lane) {
    if ((lanes >> lane & 1) == 0) continue;
    ++heard_[lane][lane];
    for (unsigned other = 0; other < 32; ++other) latest[other] = std::max(latest[other], heard_[lane][other]);
  }
  for (unsigned lane = 0; lane < 32; ++lane)
    if ((lanes >> lane & 1) != 0) heard_[lane] = latest;
}

Heap::Heap()
    : begin_(reinterpret_cast<std::uintptr_t>(reserve(size))),
      cells_(static_cast<Cell*>(reserve(size / cell_bytes * sizeof(Cell)))) {}

void* Heap::allocate(std::size_t bytes) {
  const std::size_t pages = (offset + std::max<std::size_t>(bytes, 1) + page - 1) / page;
  used_ += distance;
  if (used_ + pages * page + distance > size) throw OutOfMemory("audit: all addresses were used");
  const std::uintptr_t begin = begin_ + used_ + offset;
  allocations_.push_back({begin, bytes, bytes, {}});
  owner_.resize((used_ + pages * page) / page, 0);
  std::fill(owner_.begin() + static_cast<std::ptrdiff_t>(used_ / page), owner_.end(),
            static_cast<std::uint32_t>(allocations_.size()));
  used_ += pages * page;
  auto* const memory = reinterpret_cast<std::uint16_t*>(begin);
  std::fill(memory, memory + (bytes + 1) / 2, unwritten);
  return memory;
}

void Heap::release(void* memory) noexcept {
  Allocation* const found = find(reinterpret_cast<std::uintptr_t>(memory));
  if (found == nullptr) return;
  const std::uintptr_t first = found->begin - offset, bytes = (offset + found->whole) / page * page;
  madvise(reinterpret_cast<void*>(first), bytes, MADV_DONTNEED);
  madvise(&cell(first), bytes / cell_bytes * sizeof(Cell), MADV_DONTNEED);
  found->bytes = 0;
}

Heap::Allocation* Heap::find(std::uintptr_t address) {
  const std::size_t number = (address - begin_) / page;
  if (number >= owner_.size() || owner_[number] == 0) return nullptr;
  return &allocations_[owner_[number] - 1];
}

const Heap::Allocation* Heap::nearest(std::uintptr_t address) {
  for (std::size_t far = 0; far < distance; far += page)
    for (const std::uintptr_t there : {address - far, address + far})
      if (const Allocation* const found = find(there)) return found;
  return nullptr;
}

}  // namespace temper::emulated::audit
