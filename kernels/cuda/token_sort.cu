#include "kernels/cuda/families.h"
#include "kernels/host_device.h"

#include <bit>

#include <device/primitives.cuh>

namespace temper::TEMPER_BACKEND {

namespace {

// A radix sort from the lowest digit up; every pass is stable. A pass counts the digits of each tile, then every tile works out
// where its pairs go and puts them there.
constexpr int digit_bits = 8;  // two passes for GPT-2's vocabulary
constexpr int digits = 1 << digit_bits;
constexpr int warps = 8;
constexpr int threads = warps * 32;
constexpr int rounds = 8;  // pairs of a thread
constexpr int tile = threads * rounds;
static_assert(threads == digits, "a thread looks after one digit");
static_assert(tile == token_sort_tile && digits == token_sort_digits);

__device__ __forceinline__ int digit_of(std::int32_t token, int shift) { return (token >> shift) & (digits - 1); }

// counts[t, d] = how often digit d occurs in tile t.
__global__ void __launch_bounds__(threads) count_digits_kernel(const std::int32_t* tokens, int count, int shift, int* counts) {
  TEMPER_SHARED(int, histogram, [digits]);
  const int thread = static_cast<int>(threadIdx.x), start = static_cast<int>(blockIdx.x) * tile;
  histogram[thread] = 0;
  __syncthreads();
#pragma unroll
  for (int round = 0; round < rounds; ++round) {
    const int i = start + round * threads + thread;
    if (i < count) atomicAdd(&histogram[digit_of(tokens[i], shift)], 1);
  }
  __syncthreads();
  counts[blockIdx.x * digits + thread] = histogram[thread];
}

// Sum of `value` over the threads before this one. `warp_sums` is shared.
__device__ __forceinline__ int sum_before(int value, int (&warp_sums)[warps]) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  int sum = value;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const int other = __shfl_up_sync(~0u, sum, distance);
    if (lane >= distance) sum += other;
  }
  if (lane == 31) warp_sums[warp] = sum;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < warps; ++i)
    if (i < warp) sum += warp_sums[i];
  return sum - value;
}

// The lanes whose pair has this lane's digit; of lanes without a pair, those without.
__device__ __forceinline__ std::uint32_t lanes_with_same(int digit, bool there) {
  const std::uint32_t with_pair = __ballot_sync(~0u, there);
  std::uint32_t same = there ? with_pair : ~with_pair;
#pragma unroll
  for (int bit = 0; bit < digit_bits; ++bit) {
    const bool set = (digit >> bit & 1) != 0;
    const std::uint32_t with_bit = __ballot_sync(~0u, set);
    same &= set ? with_bit : ~with_bit;
  }
  return same;
}

// `positions` is null in the first pass, where pair i has position i. Warp w of a block has the w-th 256 pairs of the tile, in
// order.
__global__ void __launch_bounds__(threads)
    scatter_kernel(const std::int32_t* tokens, const std::int32_t* positions, int count, int shift, const int* counts,
                   std::int32_t* tokens_to, std::int32_t* positions_to) {
  TEMPER_SHARED(int, places, [warps][digits]);  // where the warp's next pair with a digit goes
  TEMPER_SHARED(int, warp_sums, [warps]);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int start = static_cast<int>(blockIdx.x) * tile + warp * 32 * rounds + lane;

  std::int32_t token[rounds], position[rounds];
#pragma unroll
  for (int round = 0; round < rounds; ++round) {
    const int i = start + round * 32;
    token[round] = i < count ? tokens[i] : 0;
    position[round] = i < count && positions != nullptr ? positions[i] : i;
  }

#pragma unroll
  for (int w = 0; w < warps; ++w) places[w][thread] = 0;
  // Of this thread's digit: how often it occurs in earlier tiles and in all.
  int earlier = 0, all = 0;
#pragma unroll 8
  for (int t = 0; t < static_cast<int>(gridDim.x); ++t) {
    const int occurrences = counts[t * digits + thread];
    earlier += t < static_cast<int>(blockIdx.x) ? occurrences : 0;
    all += occurrences;
  }
  int place = earlier + sum_before(all, warp_sums);  // its barrier also stands between clearing `places` and counting there

#pragma unroll
  for (int round = 0; round < rounds; ++round)
    if (start + round * 32 < count) atomicAdd(&places[warp][digit_of(token[round], shift)], 1);
  __syncthreads();
#pragma unroll
  for (int w = 0; w < warps; ++w) {
    const int occurrences = places[w][thread];
    places[w][thread] = place;
    place += occurrences;
  }
  __syncthreads();

#pragma unroll
  for (int round = 0; round < rounds; ++round) {
    const bool there = start + round * 32 < count;
    const int digit = digit_of(token[round], shift);
    const std::uint32_t same = lanes_with_same(digit, there);
    const int rank = __popc(same & ((1u << lane) - 1));
    const int to = places[warp][digit] + rank;
    __syncwarp();
    if (there) {
      tokens_to[to] = token[round];
      positions_to[to] = position[round];
      if (rank == __popc(same) - 1) places[warp][digit] = to + 1;
    }
    __syncwarp();
  }
}

}  // namespace

SortedTokens sort_tokens(const std::int32_t* tokens, std::int64_t count, std::int64_t vocab_size, void* scratch, Stream& stream) {
  auto* memory = static_cast<char*>(scratch);
  const auto list = [&](int i) {
    return reinterpret_cast<std::int32_t*>(memory + static_cast<std::size_t>(i) * token_list_bytes(count));
  };
  int* counts = list(4);

  SortedTokens from = {tokens, nullptr};
  const LaunchShape shape = {dim3(static_cast<unsigned>(token_sort_tiles(count))), dim3(threads)};
  const auto bits = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(vocab_size - 1)));
  for (int shift = 0, next = 0; shift == 0 || shift < bits; shift += digit_bits, next = 2 - next) {
    launch("count_digits", count_digits_kernel, shape, stream, from.tokens, count, shift, counts);
    launch("scatter_tokens", scatter_kernel, shape, stream, from.tokens, from.positions, count, shift, counts, list(next),
           list(next + 1));
    from = {list(next), list(next + 1)};
  }
  return from;
}

}  // namespace temper::TEMPER_BACKEND
