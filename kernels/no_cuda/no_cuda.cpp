// Stands in for kernels/cuda in builds without a CUDA backend.
#include "kernels/check.h"
#include "kernels/ops.h"

namespace temper {

namespace {
constexpr const char* why = "this build of temper has no CUDA backend; use device=cpu";
}

bool cuda_available(std::string* reason) {
  if (reason != nullptr) *reason = why;
  return false;
}

DeviceInfo cuda_device(const CudaOptions& /*options*/) { throw Unsupported(why); }

std::unique_ptr<Ops> make_cuda_ops(const CudaOptions& /*options*/) { throw Unsupported(why); }

void* cuda_stream(Ops& /*ops*/) { return nullptr; }

}  // namespace temper
