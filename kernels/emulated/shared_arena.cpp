#include "kernels/emulated/shared_arena.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/emulated/audit/observer.h"
#include "kernels/emulated/sanitizer.h"
#include "kernels/host_device.h"

namespace temper::emulated {

namespace {
constexpr std::size_t gap_bytes = 64;
constexpr std::byte gap_pattern{0xA5};
constexpr int nan_pattern = 0xFF;
}  // namespace

SharedArena::SharedArena() : memory_(new std::byte[reach + 2 * boundary]) {
  // On no larger boundary, so that nothing can rely on one.
  const auto address = reinterpret_cast<std::uintptr_t>(memory_.get()) + margin;
  std::uintptr_t aligned = ceil_div(address, boundary) * boundary;
  if (aligned % (2 * boundary) == 0) aligned += boundary;
  base_ = memory_.get() + margin + (aligned - address);
}

SharedArena::~SharedArena() { sanitizer::unpoison(base_, capacity + slack); }

void SharedArena::begin_block(std::size_t dynamic_bytes, std::size_t most_bytes) {
  arrays_.clear();
  gaps_.clear();
  dynamic_bytes_ = dynamic_bytes;
  most_bytes_ = most_bytes;
  used_ = dynamic_bytes;
  sanitizer::unpoison(base_, capacity + slack);
  std::memset(base_, nan_pattern, dynamic_bytes);
  add_gap();
  sanitizer::poison(base_ + used_, capacity + slack - used_);
  if (audit::Observer* const audit = audit::linked()) audit->shared_array(0, dynamic_bytes);
}

void SharedArena::add_gap() {
  sanitizer::unpoison(base_ + used_, gap_bytes);
  std::memset(base_ + used_, static_cast<int>(gap_pattern), gap_bytes);
  sanitizer::poison(base_ + used_, gap_bytes);
  gaps_.push_back(used_);
  used_ += gap_bytes;
}

std::byte* SharedArena::declared(const void* site, std::size_t bytes, std::size_t alignment) {
  for (const Array& array : arrays_)
    if (array.site == site) return base_ + array.begin;
  const std::size_t begin = ceil_div(used_, alignment) * alignment;
  if (dynamic_bytes_ + with(bytes) > most_bytes_ || begin + bytes + gap_bytes > capacity + slack) return nullptr;
  sanitizer::unpoison(base_ + begin, bytes);
  std::memset(base_ + begin, nan_pattern, bytes);
  arrays_.push_back({site, begin, begin + bytes});
  used_ = begin + bytes;
  add_gap();
  if (audit::Observer* const audit = audit::linked()) audit->shared_array(begin, bytes);
  return base_ + begin;
}

std::size_t SharedArena::with(std::size_t bytes) const {
  for (const Array& array : arrays_) bytes += array.end - array.begin;
  return dynamic_bytes_ == 0 ? bytes : ceil_div(bytes, boundary) * boundary;
}

bool SharedArena::gaps_intact() const {
  for (const std::size_t begin : gaps_) {
    sanitizer::unpoison(base_ + begin, gap_bytes);
    if (!std::all_of(base_ + begin, base_ + begin + gap_bytes, [](std::byte value) { return value == gap_pattern; })) return false;
  }
  return true;
}

}  // namespace temper::emulated
