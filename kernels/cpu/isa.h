// Instruction sets of the CPU backend. Every file in cpu/isa is compiled once per set, into the namespace TEMPER_ISA, and
// exports its functions through one table per family; the family's header declares the tables and picks one at run time:
//
//   struct LayernormKernels { void (*forward)(...); ... };
//   namespace baseline { extern const LayernormKernels layernorm_kernels; }   // also avx2, avx512
//   const LayernormKernels& layernorm_kernels();                              // of current_isa(); by isa_table.h
//
// Code in cpu/isa uses no templates or inline functions of the standard library beyond arithmetic: what the linker merges
// across objects could otherwise be taken from an object this machine cannot run (tests/integration/isa_objects.py looks).
#pragma once

namespace temper::cpu {

/// avx512 has AVX512-BF16; amx is avx512 and, for products of bf16, AMX tiles, which the operating system was asked for.
enum class Isa { baseline, avx2, avx512, amx };

/// The best this processor and operating system can run.
Isa best_isa();
/// What the tables are picked from: best_isa() unless a test chose another.
Isa current_isa();
/// For tests: run as an older processor would. Must not exceed best_isa().
void set_isa(Isa isa);
const char* name_of(Isa isa);

}  // namespace temper::cpu
