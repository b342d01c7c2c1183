// Sees every access to global and shared memory that an emulated kernel makes, and says what compute-sanitizer and a profiler would:
// races, misaligned and stray accesses, reads of what nobody wrote, and how many sectors and wavefronts each access costs.
//
// Programs that link temper_audited in place of temper_emulated have kernels compiled with -fsanitize=thread, but not its library:
// entries.cpp defines the functions that the compiler calls at each access. Between start() and finish() all blocks of a launch must
// run on one OS thread (Execution::os_threads = 1), one after the other; whether accesses are ordered does not depend on it.
//
// What orders two accesses: the same thread; a barrier between them, within a block; a __syncwarp of both lanes, within a warp, but no
// shuffle and no vote; two launches. Two atomic operations need no order. An asynchronous copy writes at any time between issue and wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace temper::emulated::audit {

enum class Kind : std::uint8_t { race, copy_under_way, misaligned, outside, unwritten };
std::string name_of(Kind kind);

struct Finding {
  Kind kind;
  std::string kernel;
  std::string text;         ///< block, threads, source lines and address of the first occurrence
  std::uint64_t count = 0;  ///< accesses
};

/// What the warps of one kernel did at one place of its source. A request is what a warp's lanes ask for at once.
struct Traffic {
  std::string kernel;
  const void* function = nullptr;
  std::string place;  ///< "vector.cuh:74 in layernorm.cu:130"; empty when it was not looked up
  bool shared = false, write = false;
  unsigned size = 0;  ///< bytes of a lane
  std::uint64_t requests = 0, lanes = 0;
  std::uint64_t cost = 0;   ///< 32-byte sectors of global memory, wavefronts of shared
  std::uint64_t least = 0;  ///< that the same bytes could have cost

  double excess() const { return static_cast<double>(cost) / static_cast<double>(least); }
};

/// Launches of a kernel with blocks of one size.
struct Launches {
  std::string kernel;
  const void* function;
  unsigned threads;  ///< of a block
  std::size_t dynamic_shared_bytes;
  std::uint64_t launches, blocks;
};

struct Report {
  std::vector<Finding> findings;
  std::vector<Traffic> traffic;
  std::vector<Launches> launches;

  /// A line for each finding; empty when there is none.
  std::string faults() const;
  /// Of global memory, read and written.
  std::uint64_t bytes_moved() const;
};

/// The functions that begin at these addresses, as people write them.
std::vector<std::string> names_of(const std::vector<const void*>& functions);

/// From here to finish() accesses are looked at.
void start();
/// Places are looked up for findings, and for traffic that exceeds its least by this factor.
Report finish(double least_excess = 1.0);

enum class Holds : std::uint8_t { what_it_was_given, nothing };
/// The first `bytes` bytes at `memory`, which is the start of an allocation, are a tensor of this name: the rest is out of bounds.
void describe(void* memory, std::size_t bytes, const std::string& name, Holds holds);

}  // namespace temper::emulated::audit
