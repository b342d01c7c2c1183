#include <device/primitives.cuh>

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/diagnostics.h"

namespace temper::TEMPER_BACKEND {

namespace {

// Blocks count in shared memory, for `window` bins at a time: more bins are more rows of blocks, each of which reads everything.
// Weights crowd into few bins; with four counters for each, by lane, an addition of a warp seldom meets itself.
constexpr int threads = 256;
constexpr int blocks_per_multiprocessor = 8;
constexpr int unroll = 8;  // 4-byte loads in flight per thread
constexpr int window = 1024;
constexpr int copies = 4;

__global__ void __launch_bounds__(threads, blocks_per_multiprocessor)
    histogram_kernel(const float* x, std::int64_t count, double scale, int bins, int* counts) {
  TEMPER_SHARED(int, own, [window * copies]);
  const int thread = static_cast<int>(threadIdx.x);
  const int first_bin = static_cast<int>(blockIdx.y) * window;
  const int bins_here = min(bins - first_bin, window);
  for (int i = thread; i < bins_here * copies; i += threads) own[i] = 0;
  __syncthreads();

  const double bins_per_unit = bins / 12.0;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * threads;
  for (std::int64_t base = static_cast<std::int64_t>(blockIdx.x) * threads + thread; base < count; base += unroll * stride) {
    float values[unroll];
#pragma unroll
    for (int i = 0; i < unroll; ++i) values[i] = base + i * stride < count ? __ldcs(x + base + i * stride) : 0.0f;
#pragma unroll
    for (int i = 0; i < unroll; ++i) {
      if (base + i * stride >= count) continue;
      const double place = (scale * static_cast<double>(values[i]) + 6.0) * bins_per_unit;
      const int bin = place >= bins ? bins - 1 : (place > 0.0 ? static_cast<int>(place) : 0);  // NaN: the first
      if (bin >= first_bin && bin < first_bin + bins_here) atomicAdd(&own[(bin - first_bin) * copies + thread % copies], 1);
    }
  }
  __syncthreads();

  for (int bin = thread; bin < bins_here; bin += threads) {
    int sum = 0;
#pragma unroll
    for (int copy = 0; copy < copies; ++copy) sum += own[bin * copies + copy];
    if (sum != 0) atomicAdd(&counts[first_bin + bin], sum);
  }
}

}  // namespace

void histogram(ConstTensorView x, float scale, TensorView counts, Stream& stream) {
  stream.zero(counts.data, counts.bytes());
  const std::int64_t count = x.numel(), bins = counts.numel();
  constexpr std::int64_t per_block = std::int64_t{threads} * unroll;
  const std::int64_t resident = std::int64_t{stream.device().multiprocessors()} * blocks_per_multiprocessor;
  // Counts are exact in any order, so the grid may follow the machine.
  const dim3 grid(static_cast<unsigned>(std::clamp<std::int64_t>((count + per_block - 1) / per_block, 1, resident)),
                  static_cast<unsigned>((bins + window - 1) / window));
  launch("histogram", histogram_kernel, {grid, dim3(threads)}, stream, x.as<float>(), count, static_cast<double>(scale),
         static_cast<int>(bins), counts.as<int>());
}

}  // namespace temper::TEMPER_BACKEND
