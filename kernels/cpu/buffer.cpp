#include "kernels/cpu/buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <string>

#include "kernels/check.h"

namespace temper::cpu {

void Buffer::Free::operator()(char* memory) const noexcept { std::free(memory); }

char* Buffer::reserve(std::size_t bytes) {
  constexpr std::size_t huge_page = std::size_t{2} << 20;
  const std::size_t alignment = bytes >= huge_page ? huge_page : 4096;
  const std::size_t wanted = (bytes + alignment - 1) / alignment * alignment;
  if (wanted > capacity_) {
    data_.reset();
    capacity_ = 0;
    data_.reset(static_cast<char*>(std::aligned_alloc(alignment, wanted)));
    if (data_ == nullptr) throw OutOfMemory("no memory for " + std::to_string(wanted) + " bytes of scratch; use a smaller batch");
    capacity_ = wanted;
    if (alignment == huge_page) madvise(data_.get(), wanted, MADV_HUGEPAGE);  // only a hint
  }
  return data_.get();
}

}  // namespace temper::cpu
