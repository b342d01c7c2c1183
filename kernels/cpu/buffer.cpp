#include "kernels/cpu/buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <string>

#include "kernels/check.h"
#include "kernels/host_device.h"

namespace temper::cpu {

namespace {

std::size_t alignment_of(std::size_t bytes) { return bytes >= huge_page ? huge_page : 4096; }

}  // namespace

void Buffer::Free::operator()(char* memory) const noexcept { std::free(memory); }

std::size_t Buffer::rounded(std::size_t bytes) {
  const std::size_t alignment = alignment_of(bytes);
  return ceil_div(bytes, alignment) * alignment;
}

char* Buffer::reserve(std::size_t bytes) {
  const std::size_t alignment = alignment_of(bytes);
  const std::size_t wanted = rounded(bytes);
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
