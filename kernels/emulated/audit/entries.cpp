// What the compiler calls in sources compiled with -fsanitize=thread, in place of the library that defines it elsewhere.
#include "kernels/emulated/audit/auditor.h"

using temper::emulated::audit::Access;
using temper::emulated::audit::auditor;

// NOLINTBEGIN: names and types of the compiler's
#define PLACE __builtin_return_address(0)
#define READ_AND_WRITE(bytes)                                                                       \
  void __tsan_read##bytes(void* at) { auditor().access(at, bytes, Access::read, PLACE); }           \
  void __tsan_write##bytes(void* at) { auditor().access(at, bytes, Access::write, PLACE); }         \
  void __tsan_unaligned_read##bytes(void* at) { auditor().access(at, bytes, Access::read, PLACE); } \
  void __tsan_unaligned_write##bytes(void* at) { auditor().access(at, bytes, Access::write, PLACE); }

extern "C" {
READ_AND_WRITE(1)
READ_AND_WRITE(2)
READ_AND_WRITE(4)
READ_AND_WRITE(8)
READ_AND_WRITE(16)
// The only atomic operation of kernels so far; another one's name stands in the linker's message.
int __tsan_atomic32_fetch_add(volatile int* at, int value, int) {
  auditor().access(const_cast<int*>(at), sizeof(int), Access::atomic, PLACE);
  return __atomic_fetch_add(at, value, __ATOMIC_SEQ_CST);
}
void __tsan_read_range(void* at, unsigned long bytes) { auditor().access(at, bytes, Access::read, PLACE); }
void __tsan_write_range(void* at, unsigned long bytes) { auditor().access(at, bytes, Access::write, PLACE); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
}
// NOLINTEND
