#include "kernels/emulated/emulated_ops.h"

#include <utility>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/emulated/gpu.h"

namespace temper {

std::unique_ptr<Ops> make_emulated_ops(const emulated::Execution& execution, CudaOptions options) {
  options.device = emulated::add_gpu(execution);
  return std::make_unique<emulated::CudaOps>(std::make_unique<emulated::Device>(std::move(options)));
}

std::uint64_t host_waits(Ops& ops) {
  emulated::Gpu& gpu = *dynamic_cast<emulated::CudaOps&>(ops).stream().get()->gpu;
  const emulated::Gpu::Lock lock(gpu.mutex);
  return gpu.host_waits;
}

}  // namespace temper
