// Holds our declarations of CUDA, cuBLASLt, NVTX and NCCL against NVIDIA's, whose headers this file alone of the emulation includes: a
// function of another type, a constant of another value or a member of another type does not compile.
#include <cublasLt.h>
#include <cuda_profiler_api.h>
#include <cuda_runtime.h>
#include <nvtx3/nvToolsExt.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#define TEMPER_VALUE(type, name, value) static_assert(static_cast<long long>(name) == (value), #name)
#define TEMPER_FIELD(record, type, name) static_assert(std::is_same_v<decltype(record::name), type>, #name)
#define TEMPER_FUNCTION(result, name, parameters) extern "C" result name parameters
#include "kernels/emulated/toolkit/cublaslt_declarations.h"
#include "kernels/emulated/toolkit/cuda_declarations.h"

#if __has_include(<nccl.h>)
#include <nccl.h>

#include "kernels/emulated/toolkit/nccl_declarations.h"
#endif
