// Stands in for kernels/cuda in builds without a CUDA backend. TEMPER_NO_CUDA is what cmake/cuda.cmake found missing.
#include "kernels/check.h"
#include "kernels/ops.h"

namespace temper {

namespace {
constexpr const char* why =
    "this build of temper has no CUDA backend: when it was configured, " TEMPER_NO_CUDA "; docs/install.md says how to get one";
}

bool cuda_available(std::string* reason) {
  if (reason != nullptr) *reason = why;
  return false;
}

DeviceInfo cuda_device(const CudaOptions& /*options*/) { throw Unsupported(why); }

std::unique_ptr<Ops> make_cuda_ops(const CudaOptions& /*options*/) { throw Unsupported(why); }

void* cuda_stream(Ops& /*ops*/) { return nullptr; }

}  // namespace temper
