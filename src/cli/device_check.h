// A GPU's check at its first use with this driver and this build: in processes of its own, each step with a deadline, since what a
// driver or a compiler made wrong may also crash or hang. bench/device_check.h says what is looked at.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/device_check.h"

namespace temper {

/// What tests change.
struct DeviceCheckSettings {
  /// For opening the GPU and for each operation, which takes a fraction of a second; the first use of a large machine's driver, or
  /// of kernels that it must still compile, takes longer.
  std::chrono::milliseconds patience = std::chrono::seconds(60);
  std::vector<std::string> operations;  ///< empty: all that are used
  double most_work = most_check_work;
};
extern DeviceCheckSettings device_check_settings;

struct GpuToCheck {
  Precision precision = Precision::fp32;
  std::int64_t number = 0;  ///< CudaOptions::device
};

/// The fast ways that this GPU must do without, looked up in the file of choices; what is not known yet is found out, by one process
/// at a time. An operation that is wrong in every way: Error, with what was found.
std::vector<Fast> bad_ways(const GpuToCheck& gpu, DeviceUse use, DeviceCheck check);

/// `temper doctor --check`: finds it all out now, with a line for people for each operation. Error as bad_ways().
void check_gpu_now(const GpuToCheck& gpu);
/// What is known, a line for people for each precision.
std::string known_of_gpu(std::int64_t number);

/// The child: checks these operations in this process and tells its parent. Does not return.
[[noreturn]] void check_operations_here(const std::vector<std::string>& operations, const GpuToCheck& gpu,
                                        const std::vector<Fast>& without);

}  // namespace temper
