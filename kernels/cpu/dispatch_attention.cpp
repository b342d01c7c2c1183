#include "kernels/cpu/attention_kernels.h"
#include "kernels/cpu/isa.h"

namespace temper::cpu {

#if defined(__x86_64__)


const AttentionKernels& attention_kernels() {
  switch (current_isa()) {
    case Isa::avx512: return avx512::attention_kernels;
    case Isa::avx2: return avx2::attention_kernels;
    case Isa::baseline: break;
  }
  return baseline::attention_kernels;
}

#else

