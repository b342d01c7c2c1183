// What this process may use of the machine: processors, memory. The narrowest of what the hardware has and what the system allows:
// affinity, control groups (version 1 and 2, the process's own and all above it), resource limits.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace temper {

/// "Intel(R) Xeon(R) Processor"; "unknown processor" where the system does not say.
std::string processor_name();

/// Processors that this process and those it starts may use at once, at least 1: by affinity, and by the quota of its control groups.
int usable_processors();
/// Threads that OMP_NUM_THREADS asks for; without it a thread for each processor.
int asked_threads();
/// Threads that this process should start: as many as it has processors, or fewer where OMP_NUM_THREADS says so.
int usable_threads();
/// Throws OutOfMemory where this process cannot have so many threads beside those it has: it makes them all, and lets them end.
void require_threads(int count);
/// Starts the threads of the CPU backend, which are OpenMP's: where its runtime cannot have one it ends the process, so this asks
/// before it, for one more, which reads ahead.
void start_threads(int count);
/// Why there may be no thread to be had, and what to do: limits of the user and of the control group.
std::string thread_limits();

/// Bytes this process may use at most.
std::size_t memory_limit();

/// Bytes that could still be taken now without swapping.
std::size_t memory_available();

/// Bytes of memory this process has in use.
std::size_t resident_bytes();

/// What the control groups of this process allow, as the file systems below `root` say; "/" but in tests.
struct GroupLimits {
  std::size_t memory;     ///< bytes that may be used; the largest number where nothing limits them
  std::size_t available;  ///< bytes that are left of it, file caches counted as free
  double processors;      ///< processor seconds per second; infinite without a quota
  std::size_t tasks;      ///< processes and threads at once
};
GroupLimits group_limits(const std::filesystem::path& root = "/");

}  // namespace temper
