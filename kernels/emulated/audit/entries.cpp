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
#define ATOMIC(bits, T)                                                                                     \
  T __tsan_atomic##bits##_load(const volatile T* at, int) { return __atomic_load_n(at, __ATOMIC_SEQ_CST); } \
  void __tsan_atomic##bits##_store(volatile T* at, T value, int) {                                          \
    auditor().access(const_cast<T*>(at), bits / 8, Access::atomic, PLACE);                                  \
    __atomic_store_n(at, value, __ATOMIC_SEQ_CST);                                                          \
  }                                                                                                         \
  T __tsan_atomic##bits##_exchange(volatile T* at, T value, int) {                                          \
    auditor().access(const_cast<T*>(at), bits / 8, Access::atomic, PLACE);                                  \
    return __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST);                                                \
  }                                                                                                         \
  T __tsan_atomic##bits##_fetch_add(volatile T* at, T value, int) {                                         \
    auditor().access(const_cast<T*>(at), bits / 8, Access::atomic, PLACE);                                  \
    return __atomic_fetch_add(at, value, __ATOMIC_SEQ_CST);                                                 \
  }                                                                                                         \
  T __tsan_atomic##bits##_fetch_sub(volatile T* at, T value, int) {                                         \
    auditor().access(const_cast<T*>(at), bits / 8, Access::atomic, PLACE);                                  \
    return __atomic_fetch_sub(at, value, __ATOMIC_SEQ_CST);                                                 \
  }                                                                                                         \
  bool __tsan_atomic##bits##_compare_exchange_weak(volatile T* at, T* expected, T value, int, int) {        \
    auditor().access(const_cast<T*>(at), bits / 8, Access::atomic, PLACE);                                  \
    return __atomic_compare_exchange_n(at, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);     \
  }                                                                                                         \
  bool __tsan_atomic##bits##_compare_exchange_strong(volatile T* at, T* expected, T value, int, int) {      \
    auditor().access(const_cast<T*>(at), bits / 8, Access::atomic, PLACE);                                  \
    return __atomic_compare_exchange_n(at, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);     \
  }

extern "C" {
READ_AND_WRITE(1)
READ_AND_WRITE(2)
READ_AND_WRITE(4)
READ_AND_WRITE(8)
READ_AND_WRITE(16)
ATOMIC(8, char)
ATOMIC(32, int)
ATOMIC(64, long)
void __tsan_read_range(void* at, unsigned long bytes) { auditor().access(at, bytes, Access::read, PLACE); }
void __tsan_write_range(void* at, unsigned long bytes) { auditor().access(at, bytes, Access::write, PLACE); }
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
}
// NOLINTEND
