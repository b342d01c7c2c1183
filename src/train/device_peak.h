// What the makers of GPUs publish of them, the denominators of MFU, and a run's operations. A device that is not in the table has no
// peak; nothing is guessed.
#pragma once

#include <optional>
#include <string>

#include "config/run_config.h"
#include "kernels/ops.h"

namespace temper {

/// Dense rates, without sparsity. bf16: tensor cores with f32 accumulation; f32: the ordinary units, no TF32.
struct DevicePeak {
  double bf16_flops_per_second;
  double f32_flops_per_second;
  double bytes_per_second;  ///< of device memory
};

/// By the name the driver gives the GPU. Empty for CPUs and for GPUs that are not in the table.
std::optional<DevicePeak> published_peak(const DeviceInfo& device);

/// Model FLOPs utilisation (Chowdhery et al., PaLM, arXiv 2204.02311, appendix B), from 0 to 1.
std::optional<double> model_flops_utilisation(const DeviceInfo& device, DType activation, double flops_per_second);

/// Operations of all tokens of a run (training_flops_per_token), each in sequences as long as its step has them.
double training_flops(const RunConfig& config);

}  // namespace temper
