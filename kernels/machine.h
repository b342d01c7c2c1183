// What this process may use of the machine: processors, memory. The narrowest of what the hardware has and what the system allows:
// affinity, control groups (version 1 and 2, the process's own and all above it), resource limits.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace temper {

/// "Intel(R) Xeon(R) Processor"; "unknown processor" where the system does not say.
std::string processor_name();

/// Threads that can run at once: at least 1, at most those that OpenMP would start by itself (affinity, OMP_NUM_THREADS), and no
/// more than the quota of the process's control groups.
int usable_processors();
/// The same for all processes together that this one starts, whatever OMP_NUM_THREADS says: that is about one process.
int processors_to_share();

/// Bytes this process may use at most.
std::size_t memory_limit();

/// Bytes that could still be taken now without swapping.
std::size_t memory_available();

/// What the control groups of this process allow, as the file systems below `root` say; "/" but in tests.
struct GroupLimits {
  std::size_t memory;     ///< bytes that may be used; the largest number where nothing limits them
  std::size_t available;  ///< bytes that are left of it, file caches counted as free
  double processors;      ///< processor seconds per second; infinite without a quota
};
GroupLimits group_limits(const std::filesystem::path& root = "/");

}  // namespace temper
