// Addresses as lines of source, by addr2line, and as names of functions, by nm (audit.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace temper::emulated::audit {

/// "vector.cuh:74 in layernorm.cu:130" for each, innermost first, without lines of the emulation. `program_counters` count from
/// where the program was loaded.
std::vector<std::string> lines_of(const std::vector<std::uint32_t>& program_counters);

/// Counted from there, of the call that returns to `address`.
std::uint32_t program_counter(const void* address);

}  // namespace temper::emulated::audit
