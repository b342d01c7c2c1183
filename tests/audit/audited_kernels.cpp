#include "audited_kernels.h"

#include <device/async_copy.cuh>

#include "kernels/cuda/vector.cuh"

namespace temper::emulated {

namespace {
int thread() { return static_cast<int>(threadIdx.x); }
}  // namespace

void exchange_by_warps(float* out, bool right) {
  TEMPER_SHARED(float, values, [64]);
  values[thread()] = 1.0f;
  if (right) __syncthreads();
  out[thread()] = values[63 - thread()];
}

void exchange_by_lanes(float* out, bool right) {
  TEMPER_SHARED(float, values, [64]);
  values[thread()] = 1.0f;
  if (right) __syncwarp();
  out[thread()] = values[thread() ^ 1];
}

void exchange_by_votes(float* out, bool right) {
  TEMPER_SHARED(float, values, [64]);
  values[thread()] = 1.0f;
  const unsigned half = thread() % 32 < 16 ? 0x0000FFFFu : 0xFFFF0000u;
  right ? __syncwarp(half) : static_cast<void>(__ballot_sync(half, true));
  out[thread()] = values[thread() ^ 1];
}

void reuse_shared(float* out, bool right) {
  TEMPER_SHARED(float, values, [64]);
  values[thread()] = 1.0f;
  __syncthreads();
  out[thread()] = values[63 - thread()];
  if (right) __syncthreads();
  values[thread()] = 2.0f;
}

void change_together(int* out, bool right) {
  if (right)
    atomicAdd(out, 1);
  else
    *out += 1;
}

void change_between_blocks(int* out, bool right) {
  if (thread() == 0) out[right ? static_cast<int>(blockIdx.x) : 0] += 1;
}

void read_misaligned(float* out, bool right) {
  const auto* pair = reinterpret_cast<const float2*>(out + (right ? 2 : 1));
  if (thread() == 0) out[0] = pair->x + reinterpret_cast<const double*>(pair)[0] > 0 ? 1.0f : 2.0f;
}

void read_outside(float* out, bool right) {
  if (thread() == 0) out[0] += out[right ? 31 : 32];
}

void read_outside_shared(float* out, bool right) {
  TEMPER_SHARED(float, values, [5]);
  float* all = values;
  if (thread() == 0) all[0] = 1.0f, out[0] = all[right ? 0 : 5];
}

void read_unwritten(float* out, bool right) {
  if (right) out[thread()] = 1.0f;
  out[thread()] += 1.0f;
}

void read_unwritten_shared(float* out, bool right) {
  TEMPER_SHARED(float, values, [64]);
  if (right || thread() != 7) values[thread()] = 1.0f;
  out[thread()] = values[thread()];
}

void copy_and_read(float* out, bool right) {
  TEMPER_SHARED(float, tile, [256]);
  copy_async_16(&tile[4 * thread()], out + 4 * thread());
  copy_async_commit();
  if (right) copy_async_wait<0>();
  __syncthreads();
  const float value = tile[255 - thread()];
  copy_async_wait<0>();
  __syncthreads();
  out[thread()] = value;
}

void copy_over_read(float* out, bool right) {
  TEMPER_SHARED(float, tile, [256]);
  for (int i = 0; i < 4; ++i) tile[64 * i + thread()] = 1.0f;
  __syncthreads();
  const float value = tile[255 - thread()];
  if (right) __syncthreads();
  copy_async_16(&tile[4 * thread()], out + 4 * thread());
  copy_async_commit();
  copy_async_wait<0>();
  __syncthreads();
  out[thread()] = value;
}

void read_strided(float* out, int stride) {
  const float value = out[thread() * stride];
  __syncthreads();
  if (value < 0) out[thread()] = value;
}

void read_vectors(float* out, int stride) {
  float values[4];
  load_vector(out + thread() * stride, values);
  __syncthreads();
  if (values[0] + values[3] < 0) out[thread()] = values[1];
}

void write_strided_shared(float* out, int stride) {
  TEMPER_SHARED(float, values, [64 * 33]);
  values[thread() * stride] = 1.0f;
  if (stride == 0) out[0] = values[0];
}

void write_shared_vectors(float* out, int stride) {
  TEMPER_SHARED(float, values, [64 * 33]);
  const float ones[4] = {1, 1, 1, 1};
  store_vector(&values[thread() * stride], ones);
  if (stride == 0) out[0] = values[0];
}

}  // namespace temper::emulated
