// Declares a family's function tables, one per instruction set (kernels/cpu/isa.h), and the function that picks one.
//
//   TEMPER_ISA_TABLE(LayernormKernels, layernorm_kernels)
//
// declares baseline::layernorm_kernels and its siblings, which cpu/isa/layernorm.cpp defines, and layernorm_kernels(), the
// one of current_isa(). To be used in namespace temper::cpu.
#pragma once

#include "kernels/cpu/isa.h"

#if defined(__x86_64__)
#define TEMPER_ISA_TABLE(Table, name) \
  namespace baseline {                \
  extern const Table name;            \
  }                                   \
  namespace avx2 {                    \
  extern const Table name;            \
  }                                   \
  namespace avx512 {                  \
  extern const Table name;            \
  }                                   \
  inline const Table& name() {        \
    switch (current_isa()) {          \
      case Isa::amx:                  \
      case Isa::avx512:               \
        return avx512::name;          \
      case Isa::avx2:                 \
        return avx2::name;            \
      case Isa::baseline:             \
        break;                        \
    }                                 \
    return baseline::name;            \
  }
#else
#define TEMPER_ISA_TABLE(Table, name) \
  namespace baseline {                \
  extern const Table name;            \
  }                                   \
  inline const Table& name() { return baseline::name; }
#endif
