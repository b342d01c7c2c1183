// The sources of kernels/cuda on the CPU: each CUDA thread a fiber, for tests on machines without a GPU.
#pragma once

#include <memory>

#include "kernels/emulated/block.h"
#include "kernels/ops.h"

namespace temper {

/// A kernel that does what none may do throws emulated::KernelFault when the host next waits.
std::unique_ptr<Ops> make_emulated_ops(const emulated::Execution& execution = {});

}  // namespace temper
