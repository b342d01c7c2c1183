// The counterpart of kernels/cuda/device/bulk_copy.cuh. The state of a barrier is kept beside shared memory, by its address. A lazy
// copy takes place when somebody waits for a phase that is not over; until then its destination is NaN, and forbidden with
// AddressSanitizer.
#pragma once

#include <device/async_copy.cuh>

namespace temper::emulated {

struct alignas(8) TransactionBarrier {
  std::uint64_t opaque;
};

inline TransactionState& state_of(const TransactionBarrier* barrier, Site site) {
  Block& block = *current_thread().block;
  const auto found = block.transactions().find(barrier);
  if (found == block.transactions().end()) block.fault("a transaction barrier that was not initialised", site);
  return found->second;
}

// Ends the phase when nothing is missing; called after every change.
inline void look_at_phase(TransactionState& state, Site site) {
  Block& block = *current_thread().block;
  if (state.pending_arrivals == 0) {
    if (state.pending_bytes < 0)
      block.fault("transaction barrier: " + std::to_string(-state.pending_bytes) + " bytes more were copied than were expected",
                  site);
    if (state.pending_bytes == 0) {
      state.pending_arrivals = state.arrivals;
      state.parity = 1 - state.parity;
    }
  }
  block.wake(&state);
}

inline void transaction_barrier_init(TransactionBarrier* barrier, int arrivals, Site site = Site::current()) {
  Block& block = *current_thread().block;
  if (!block.arena().contains(barrier)) block.fault("transaction barrier: not in shared memory", site);
  if (arrivals < 1) block.fault("transaction barrier: for " + std::to_string(arrivals) + " arrivals", site);
  const auto [entry, is_new] = block.transactions().try_emplace(barrier);
  if (!is_new) block.fault("transaction barrier: initialised twice", site);
  entry->second.arrivals = entry->second.pending_arrivals = arrivals;
  entry->second.site = site;
}

inline void transaction_barrier_arrive_expecting(TransactionBarrier* barrier, int bytes, Site site = Site::current()) {
  TransactionState& state = state_of(barrier, site);
  if (state.pending_arrivals == 0)
    current_thread().block->fault(
        "transaction barrier: another arrival in a phase that has had its " + std::to_string(state.arrivals), site);
  --state.pending_arrivals;
  state.pending_bytes += bytes;
  look_at_phase(state, site);
}

inline void transaction_barrier_arrive(TransactionBarrier* barrier, Site site = Site::current()) {
  transaction_barrier_arrive_expecting(barrier, 0, site);
}

inline void deliver(TransactionState& state, const AsyncCopy& copy, Site site) {
  perform(copy);
  state.pending_bytes -= static_cast<std::int64_t>(copy.bytes);
  look_at_phase(state, site);
}

inline void transaction_barrier_wait(TransactionBarrier* barrier, int parity, Site site = Site::current()) {
  TransactionState& state = state_of(barrier, site);
  if (parity != 0 && parity != 1) current_thread().block->fault("transaction barrier: parity " + std::to_string(parity), site);
  for (;;) {
    if (state.parity != parity) return;
    if (state.copies.empty()) {
      current_thread().block->sleep(&state, "a transaction barrier", site);
      continue;
    }
    const AsyncCopy copy = state.copies.front();
    state.copies.erase(state.copies.begin());
    sanitizer::unpoison(copy.to, copy.bytes);
    deliver(state, copy, site);
  }
}

inline void bulk_copy(void* shared_to, const void* global_from, int bytes, TransactionBarrier* barrier,
                      Site site = Site::current()) {
  Block& block = *current_thread().block;
  TransactionState& state = state_of(barrier, site);
  const auto misaligned = [](const void* address) { return reinterpret_cast<std::uintptr_t>(address) % 16 != 0; };
  if (misaligned(shared_to) || misaligned(global_from) || bytes < 1 || bytes % 16 != 0)
    block.fault("bulk_copy: an address or the number of bytes, " + std::to_string(bytes) + ", is not a multiple of 16", site);
  if (!block.arena().contains(shared_to)) block.fault("bulk_copy: the destination is not shared memory", site);
  const AsyncCopy copy{shared_to, global_from, static_cast<std::size_t>(bytes), 0};
  if (!block.lazy_copies()) return deliver(state, copy, site);
  std::memset(shared_to, 0xFF, copy.bytes);
  sanitizer::poison(shared_to, copy.bytes);
  state.copies.push_back(copy);
  block.wake(&state);  // whoever waits already looks again
}

}  // namespace temper::emulated
