// cp.async.bulk with mbarriers (sm_90): one thread starts a copy of many bytes from global to shared memory, and a barrier in
// shared memory says when they are there. A barrier goes through phases; each ends when as many arrivals as it was made for have
// come and all bytes that arrivals announced have been copied. Phases count from 0; waiting for one takes its parity (0, 1, 0,
// ...).
#pragma once

#include <device/primitives.cuh>

namespace temper::cuda {

/// In shared memory.
struct alignas(8) TransactionBarrier {
  std::uint64_t opaque;
};

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
inline constexpr bool has_bulk_copies = true;
#else
inline constexpr bool has_bulk_copies = false;  // kernels that use them compile for older devices, and end there in a trap
#endif

__device__ __forceinline__ std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

/// By one thread; others use the barrier after a __syncthreads() behind it.
__device__ __forceinline__ void transaction_barrier_init(TransactionBarrier* barrier, int arrivals) {
  if constexpr (has_bulk_copies) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  } else {
    __trap();
  }
}

__device__ __forceinline__ void transaction_barrier_arrive(TransactionBarrier* barrier) {
  if constexpr (has_bulk_copies)
    asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
  else
    __trap();
}

/// An arrival that also announces `bytes` to be copied in this phase.
__device__ __forceinline__ void transaction_barrier_arrive_expecting(TransactionBarrier* barrier, int bytes) {
  if constexpr (has_bulk_copies)
    asm volatile("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
                 : "memory");
  else
    __trap();
}

/// Waits for the end of the phase of this parity; at once when it is over.
__device__ __forceinline__ void transaction_barrier_wait(TransactionBarrier* barrier, int parity) {
  if constexpr (has_bulk_copies) {
    std::uint32_t over = 0;
    while (over == 0)
      asm volatile(
          "{\n"
          ".reg .pred over;\n"
          "mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 over, [%1], %2;\n"
          "selp.u32 %0, 1, 0, over;\n"
          "}"
          : "=r"(over)
          : "r"(shared_address(barrier)), "r"(parity)
          : "memory");
  } else {
    __trap();
  }
}

/// Starts to copy `bytes`, which `barrier` must be told to expect in its present phase; addresses and bytes multiples of 16.
__device__ __forceinline__ void bulk_copy(void* shared_to, const void* global_from, int bytes, TransactionBarrier* barrier) {
  if constexpr (has_bulk_copies)
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address(shared_to)),
        "l"(__cvta_generic_to_global(global_from)), "r"(bytes), "r"(shared_address(barrier))
        : "memory");
  else
    __trap();
}

}  // namespace temper::cuda
