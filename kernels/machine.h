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
/// Threads that this process should start: as many, or fewer where OMP_NUM_THREADS says so.
int usable_threads();

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
};
GroupLimits group_limits(const std::filesystem::path& root = "/");

}  // namespace temper
