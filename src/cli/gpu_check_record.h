// On which GPUs scripts/gpu_check.sh found nothing wrong: a line each in a file of the user's cache folder, beside the algorithm
// cache. The script has `temper doctor --gpu-checked` write it; `temper doctor` says what it finds.
#pragma once

#include <string>

#include "kernels/ops.h"

namespace temper {

/// All that a check holds for: the GPU with its CUDA versions, the driver and the build of temper. One line.
std::string gpu_check_key(const DeviceInfo& gpu, const std::string& driver, const std::string& build);

/// What the driver calls itself; empty where it does not say.
std::string nvidia_driver();

/// `path` empty, a file that is not there, cannot be read or is none of ours: not recorded.
bool gpu_check_recorded(const std::string& path, const std::string& key);

/// Adds the line unless it is there. Error(ExitCode::io) where it cannot be written.
void record_gpu_check(const std::string& path, const std::string& key);

}  // namespace temper
