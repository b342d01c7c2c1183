// Instruction sets of the CPU backend. Every file in cpu/isa is compiled once per set, into the namespace TEMPER_ISA, and
// exports its functions through one table per family; the family's header declares the tables and picks one at run time:
//
//   struct LayernormKernels { void (*forward)(...); ... };
//   namespace baseline { extern const LayernormKernels layernorm_kernels; }   // also avx2, avx512
//   const LayernormKernels& layernorm_kernels();                              // of current_isa(); by isa_table.h
//
// Code in cpu/isa uses no templates or inline functions of the standard library beyond arithmetic: what the linker merges
// across objects could otherwise be taken from an object this machine cannot run.
#pragma once

namespace temper::cpu {

enum class Isa { baseline, avx2, avx512 };

/// The best this processor and operating system can run.
Isa best_isa();
/// What the tables are picked from: best_isa() unless a test chose another.
Isa current_isa();
/// For tests: run as an older processor would. Must not exceed best_isa().
void set_isa(Isa isa);
const char* name_of(Isa isa);

/// True when the processor has AMX bf16 tiles and the operating system lets this process use them (asked for once).
bool amx_bf16_available();
/// True when bf16 has matrix or dot-product instructions here (AMX or AVX512-BF16).
bool bf16_available();

}  // namespace temper::cpu
