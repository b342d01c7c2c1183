#include "kernels/cpu/gemm_kernels.h"
#include "kernels/cpu/isa.h"

namespace temper::cpu {

#if defined(__x86_64__)

const GemmKernels& gemm_kernels(DType operands) {
  switch (current_isa()) {
    case Isa::avx512: return operands == DType::bf16 && amx_bf16_available() ? amx_gemm_kernels : avx512::gemm_kernels;
    case Isa::avx2: return avx2::gemm_kernels;
    case Isa::baseline: break;
  }
  return baseline::gemm_kernels;
}

const FinishKernels& finish_kernels() {
  switch (current_isa()) {
    case Isa::avx512: return avx512::finish_kernels;
    case Isa::avx2: return avx2::finish_kernels;
    case Isa::baseline: break;
  }
  return baseline::finish_kernels;
}

#else

const GemmKernels& gemm_kernels(DType) { return baseline::gemm_kernels; }
const FinishKernels& finish_kernels() { return baseline::finish_kernels; }

#endif

}  // namespace temper::cpu
