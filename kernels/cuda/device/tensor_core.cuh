// Warp-wide products on tensor cores (mma.sync, sm_80 and later) and the loads that lay out their operands (ldmatrix).
// Fragments, with g = lane / 4 and t = lane % 4 (PTX ISA, "Matrix fragments for mma.m16n8k16"):
//   A[16,16], row-major: a[0] = (g, 2t..2t+1), a[1] = (g+8, 2t..), a[2] = (g, 2t+8..), a[3] = (g+8, 2t+8..)
//   B[16,8], as [n][k]:  b[0] = (k = 2t..2t+1, n = g), b[1] = (k = 2t+8.., n = g)
//   C[16,8]:             c[0..1] = (g, 2t..2t+1), c[2..3] = (g+8, 2t..2t+1)
#pragma once

#include <device/primitives.cuh>

namespace temper::cuda {

/// d = a b + d in f32 over bf16 pairs; the whole warp takes part.
__device__ __forceinline__ void mma_16x8x16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Four 8x8 matrices of bf16 from shared memory. Lane 8i+r gives the address of row r (16 bytes, aligned) of matrix i; afterwards
/// lane l holds of matrix i in out[i] the elements (row l / 4, columns 2 (l % 4) and the next).
__device__ __forceinline__ void load_matrix_x4(std::uint32_t (&out)[4], const void* shared_row) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}

/// The same, each matrix transposed: lane l holds (rows 2 (l % 4) and the next, column l / 4).
__device__ __forceinline__ void load_matrix_x4_transposed(std::uint32_t (&out)[4], const void* shared_row) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}

}  // namespace temper::cuda
