// GPUs that one does not sit at: what a run would take on them, by the CUDA backend's own accounting (kernels/gpu_scratch.h).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "kernels/ops.h"

namespace temper {

/// A card that this backend has kernels for.
struct GpuModel {
  std::string_view name;  ///< "h100-80": what people write
  std::string_view card;  ///< "NVIDIA H100 80GB"
  std::size_t memory;     ///< bytes that programs are shown, which is less than the card's name says
  int multiprocessors;
  std::string_view capability;  ///< compute capability
};

/// By name; Unsupported that lists the names where there is none of this name.
const GpuModel& gpu_model(std::string_view name);
/// "a100-40, a100-80, ..."
std::string gpu_model_names();

/// For plans: it knows what it is and what a workload takes of it, and every call that would use memory throws.
std::unique_ptr<Ops> make_planned_gpu(const GpuModel& model);

}  // namespace temper
