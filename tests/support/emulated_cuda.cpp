// The emulated GPU in the place of kernels/cuda/make_cuda_ops.cpp, for programs that tests run. The linker takes this file's functions
// and leaves the library's out.
#include "kernels/emulated/emulated_ops.h"

namespace temper {

bool cuda_available(std::string* /*reason*/) { return true; }

std::unique_ptr<Ops> make_cuda_ops(const CudaOptions& options) { return make_emulated_ops({}, options); }

void* cuda_stream(Ops& /*ops*/) { return nullptr; }  // NCCL's own GPU is none of this

}  // namespace temper
