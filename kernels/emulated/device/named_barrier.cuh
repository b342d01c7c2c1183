// The counterpart of kernels/cuda/device/named_barrier.cuh.
#pragma once

#include <device/primitives.cuh>

namespace temper::emulated {

inline void check_named_barrier(int id, int threads, Site site) {
  if (id < 1 || threads < 1)
    current_thread().block->fault("named barrier " + std::to_string(id) + " for " + std::to_string(threads) + " threads", site);
}

inline void named_barrier_wait(int id, int threads, Site site = Site::current()) {
  check_named_barrier(id, threads, site);
  current_thread().block->barrier(static_cast<unsigned>(id), static_cast<unsigned>(threads), site);
}

inline void named_barrier_arrive(int id, int threads, Site site = Site::current()) {
  check_named_barrier(id, threads, site);
  current_thread().block->arrive(static_cast<unsigned>(id), static_cast<unsigned>(threads), site);
}

}  // namespace temper::emulated
