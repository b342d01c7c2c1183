// The sources of kernels/cuda on the CPU: each CUDA thread a fiber, for tests on machines without a GPU.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/emulated/block.h"
#include "kernels/ops.h"

namespace temper {

/// On an emulated GPU of its own (`options.device` is not looked at). A kernel that does what none may do makes the next call throw
/// DeviceError with the place, and every call after that.
std::unique_ptr<Ops> make_emulated_ops(const emulated::Execution& execution = {}, CudaOptions options = {});

/// How often the host waited for its emulated GPU, which had not done yet what was waited for.
std::uint64_t host_waits(Ops& ops);

}  // namespace temper
