#include "kernels/cpu/gemm_kernels.h"
#include "kernels/cpu/isa.h"

namespace temper::cpu {

#if defined(__x86_64__)

extern const GemmKernels amx_gemm_kernels, dot_gemm_kernels;  // gemm_bf16.cpp

const GemmKernels& gemm_kernels(DType operands) {
  if (operands == DType::bf16 && current_isa() == Isa::amx) return amx_gemm_kernels;
  if (operands == DType::bf16 && current_isa() == Isa::avx512) return dot_gemm_kernels;
  return vector_gemm_kernels();
}

#else

const GemmKernels& gemm_kernels(DType) { return vector_gemm_kernels(); }

#endif

}  // namespace temper::cpu
