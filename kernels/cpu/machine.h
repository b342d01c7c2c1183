// What the operating system says about this machine: the processor's name and how much memory there is.
#pragma once

#include <cstddef>
#include <string>

namespace temper::cpu {

/// "Intel(R) Xeon(R) Processor"; "unknown processor" where the system does not say.
std::string processor_name();

/// Bytes this process may use at most: the machine's memory or its control group's limit, whichever is smaller.
std::size_t memory_limit();

/// Bytes that could still be taken now without swapping.
std::size_t memory_available();

}  // namespace temper::cpu
