// What the tests of the emulator share: small kernels are launched on a device of their own, and what went wrong comes back as
// text.
#pragma once

#include <device/runtime.h>
#include <gtest/gtest.h>
#include <device/primitives.cuh>

#include <cstdint>
#include <string>
#include <utility>

#include "kernels/emulated/gpu.h"

namespace temper::emulated {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool address_sanitizer = true;
#else
inline constexpr bool address_sanitizer = false;
#endif

inline constexpr std::uint64_t seeds[] = {0, 1, 2, 3, 4, 5, 6, 7};

/// An emulated GPU that nobody else uses.
inline CudaOptions fresh_gpu(const Execution& execution = {}) {
  CudaOptions options;
  options.device = add_gpu(execution);
  return options;
}

/// Launches `kernel` under the name "tested" and waits for it. Arguments may point anywhere: all memory is the host's.
template <typename... Parameters, typename... Arguments>
void run(const Execution& execution, const LaunchShape& shape, void (*kernel)(Parameters...), Arguments&&... arguments) {
  Device device(fresh_gpu(execution));
  Stream stream(device);
  launch("tested", kernel, shape, stream, std::forward<Arguments>(arguments)...);
  stream.synchronize();
}

/// The message of the fault in which the launch ends; empty when it ends well.
template <typename... Parameters, typename... Arguments>
std::string fault_of(const Execution& execution, const LaunchShape& shape, void (*kernel)(Parameters...),
                     Arguments&&... arguments) {
  try {
    run(execution, shape, kernel, std::forward<Arguments>(arguments)...);
  } catch (const DeviceError& fault) {
    return fault.what();
  }
  return "";
}

inline testing::AssertionResult contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << part << "\" is not in \"" << text << "\"";
}

/// "file.cpp:LINE" of this test file, as faults name places.
inline std::string line(int number, Site site = Site::current()) {
  const std::string here = to_string(site);
  return here.substr(0, here.rfind(':') + 1) + std::to_string(number);
}

}  // namespace temper::emulated
