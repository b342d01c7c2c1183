#include "kernels/cpu/gemm_kernels.h"
#include "kernels/cpu/isa.h"

namespace temper::cpu {

#if defined(__x86_64__)

extern const GemmKernels amx_gemm_kernels;  // gemm_amx.cpp

const GemmKernels& gemm_kernels(DType operands) {
  const bool amx = operands == DType::bf16 && current_isa() == Isa::avx512 && amx_bf16_available();
  return amx ? amx_gemm_kernels : vector_gemm_kernels();
}

#else

const GemmKernels& gemm_kernels(DType) { return vector_gemm_kernels(); }

#endif

}  // namespace temper::cpu
