// The one place where a program without CUDA types gets the CUDA backend.
#include "kernels/cuda/cublaslt_library.h"
#include "kernels/cuda/cuda_ops.h"

namespace temper {

bool cuda_available(std::string* reason) { return cuda::gpu_is_there(reason); }

DeviceInfo cuda_device(const CudaOptions& options) {
  DeviceInfo info = cuda::gpu_info(options);
  info.features += ", " + cuda::cublaslt_version();
  return info;
}

std::unique_ptr<Ops> make_cuda_ops(const CudaOptions& options) {
  return std::make_unique<cuda::CudaOps>(std::make_unique<cuda::Device>(options));
}

void* cuda_stream(Ops& ops) {
  auto* const device = dynamic_cast<cuda::CudaOps*>(&ops);
  return device == nullptr ? nullptr : device->stream().get();
}

}  // namespace temper
