// What AddressSanitizer must be told about fibers and about memory that may not be touched yet, and ThreadSanitizer about fibers.
// Weak symbols: in a build without them every function here does nothing.
#pragma once

#include <cstddef>

extern "C" {
// NOLINTBEGIN(bugprone-reserved-identifier): names given by the sanitizer's interface
void __sanitizer_start_switch_fiber(void** fake_stack_save, const void* bottom, std::size_t size) __attribute__((weak));
void __sanitizer_finish_switch_fiber(void* fake_stack_save, const void** bottom_old, std::size_t* size_old) __attribute__((weak));
void __asan_poison_memory_region(const volatile void* memory, std::size_t size) __attribute__((weak));
void __asan_unpoison_memory_region(const volatile void* memory, std::size_t size) __attribute__((weak));
void* __tsan_get_current_fiber() __attribute__((weak));
void* __tsan_create_fiber(unsigned flags) __attribute__((weak));
void __tsan_destroy_fiber(void* fiber) __attribute__((weak));
void __tsan_switch_to_fiber(void* fiber, unsigned flags) __attribute__((weak));
// NOLINTEND(bugprone-reserved-identifier)
}

namespace temper::emulated::sanitizer {

/// Before a jump to the stack [bottom, bottom + size). `fake_stack_save` null: the stack that is left will not be returned to.
inline void start_switch(void** fake_stack_save, const void* bottom, std::size_t size) {
  if (__sanitizer_start_switch_fiber != nullptr) __sanitizer_start_switch_fiber(fake_stack_save, bottom, size);
}

/// After arriving; tells which stack was left.
inline void finish_switch(void* fake_stack_save, const void** bottom_old, std::size_t* size_old) {
  if (__sanitizer_finish_switch_fiber != nullptr) __sanitizer_finish_switch_fiber(fake_stack_save, bottom_old, size_old);
}

/// From now on any access to these bytes is reported.
inline void poison(const volatile void* memory, std::size_t size) {
  if (__asan_poison_memory_region != nullptr) __asan_poison_memory_region(memory, size);
}

inline void unpoison(const volatile void* memory, std::size_t size) {
  if (__asan_unpoison_memory_region != nullptr) __asan_unpoison_memory_region(memory, size);
}

// ThreadSanitizer's name for a fiber, or for the thread that resumes fibers. Switching orders the two: what the threads of one
// block do to each other is the audit's to find.
inline void* current_fiber() { return __tsan_get_current_fiber != nullptr ? __tsan_get_current_fiber() : nullptr; }
inline void* create_fiber() { return __tsan_create_fiber != nullptr ? __tsan_create_fiber(0) : nullptr; }
inline void destroy_fiber(void* fiber) {
  if (__tsan_destroy_fiber != nullptr) __tsan_destroy_fiber(fiber);
}

/// Right before a jump. Inlined, for a function that was entered on one stack may not be left on the other.
[[gnu::always_inline]] inline void switch_to_fiber(void* fiber) {
  if (__tsan_switch_to_fiber != nullptr) __tsan_switch_to_fiber(fiber, 0);
}

}  // namespace temper::emulated::sanitizer
