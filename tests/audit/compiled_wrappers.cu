// One kernel for each wrapper of kernels/cuda/device and each function of the CUDA language that is emulated, for
// compiled_wrappers.py, which looks at the PTX that nvcc makes of it. Never run.
#include <device/async_copy.cuh>
#include <device/tensor_core.cuh>

using temper::cuda::dynamic_shared;

extern "C" {

__global__ void mma_16x8x16(const float* d, const unsigned* a, const unsigned* b, float* out) {
  float sums[4] = {d[0], d[1], d[2], d[3]};
  const std::uint32_t left[4] = {a[0], a[1], a[2], a[3]}, right[2] = {b[0], b[1]};
  temper::cuda::mma_16x8x16(sums, left, right);
  for (int i = 0; i < 4; ++i) out[i] = sums[i];
}

__global__ void load_matrix_x4(int at, unsigned* out) {
  std::uint32_t parts[4];
  temper::cuda::load_matrix_x4(parts, dynamic_shared<char>() + at);
  for (int i = 0; i < 4; ++i) out[i] = parts[i];
}

__global__ void load_matrix_x4_transposed(int at, unsigned* out) {
  std::uint32_t parts[4];
  temper::cuda::load_matrix_x4_transposed(parts, dynamic_shared<char>() + at);
  for (int i = 0; i < 4; ++i) out[i] = parts[i];
}

__global__ void copy_async_16(int at, const void* from, bool valid) {
  temper::cuda::copy_async_16(dynamic_shared<char>() + at, from, valid);
}
__global__ void copy_async_16_always(int at, const void* from) { temper::cuda::copy_async_16(dynamic_shared<char>() + at, from); }
__global__ void copy_async_commit() { temper::cuda::copy_async_commit(); }
__global__ void copy_async_wait() {
  temper::cuda::copy_async_wait<3>();
  temper::cuda::copy_async_wait<0>();
}

__global__ void exp2_approx(const float* x, float* out) { out[0] = temper::cuda::exp2_approx(x[0]); }
__global__ void reciprocal_root(const float* x, float* out) { out[0] = rsqrtf(x[0]); }
__global__ void tanh_approx(const float* x, float* out) { out[0] = temper::cuda::tanh_approx(x[0]); }
__global__ void pack_bf16(const float* low, const float* high, unsigned* out) { out[0] = temper::cuda::pack_bf16(low[0], high[0]); }
__global__ void keep_packed(const uint4* in, uint4* out) {
  uint4 raw = in[0];
  temper::cuda::keep_packed(raw);
  out[0] = raw;
}

__global__ void syncthreads() { __syncthreads(); }
__global__ void syncwarp(unsigned mask) { __syncwarp(mask); }
__global__ void shfl(unsigned mask, int value, int source, int* out) { out[0] = __shfl_sync(mask, value, source); }
__global__ void shfl_xor(unsigned mask, int value, int lanes, int* out) { out[0] = __shfl_xor_sync(mask, value, lanes); }
__global__ void shfl_up(unsigned mask, int value, unsigned delta, int* out) { out[0] = __shfl_up_sync(mask, value, delta); }
__global__ void ballot(unsigned mask, bool predicate, unsigned* out) { out[0] = __ballot_sync(mask, predicate); }
__global__ void popc(unsigned x, int* out) { out[0] = __popc(x); }
__global__ void atomic_add(unsigned* to, unsigned value, unsigned* out) { out[0] = atomicAdd(to, value); }
__global__ void atomic_add_shared(unsigned value, unsigned* out) { out[0] = atomicAdd(dynamic_shared<unsigned>() + 1, value); }
__global__ void ldg(const uint4* from, uint4* out) { out[0] = __ldg(from); }
__global__ void ldcs(const uint4* from, uint4* out) { out[0] = __ldcs(from); }
__global__ void stcs(const uint4* from, uint4* to) { __stcs(to, from[0]); }

__global__ void shared_memory(int* out) {
  TEMPER_SHARED(int, declared, [7]);
  declared[threadIdx.x] = 1;
  dynamic_shared<int>()[threadIdx.x] = 2;
  __syncthreads();
  out[0] = declared[0] + dynamic_shared<int>()[0];
}

}  // extern "C"
