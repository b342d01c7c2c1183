// Threads, blocks, grids: who runs with which indices, what barriers promise, and what is said when they are misused.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <set>
#include <tuple>
#include <vector>

#include "launching.h"

namespace temper::emulated {
namespace {

struct Indices {
  Index3 thread, block, block_extents, grid_extents;
};

__global__ void record_indices(Indices* out, int* visits) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned i = block * blockDim.x * blockDim.y * blockDim.z + thread;
  out[i] = {threadIdx, blockIdx, blockDim, gridDim};
  atomicAdd(&visits[i], 1);
}

TEST(Block, EveryThreadOfEveryBlockRunsOnceAndKnowsItsIndices) {
  constexpr unsigned count = (3 * 2 * 2) * (5 * 3 * 2);
  for (const std::uint64_t seed : seeds) {
    std::vector<Indices> indices(count);
    std::vector<int> visits(count);
    run({.seed = seed}, {dim3(3, 2, 2), dim3(5, 3, 2)}, record_indices, indices.data(), visits.data());
    EXPECT_EQ(visits, std::vector<int>(count, 1));
    for (unsigned i = 0; i < count; ++i) {
      const Indices& all = indices[i];
      EXPECT_EQ(std::tuple(all.thread.x, all.thread.y, all.thread.z), std::tuple(i % 5, i / 5 % 3, i / 15 % 2));
      EXPECT_EQ(std::tuple(all.block.x, all.block.y, all.block.z), std::tuple(i / 30 % 3, i / 90 % 2, i / 180));
      EXPECT_EQ(std::tuple(all.block_extents.x, all.block_extents.y, all.block_extents.z), std::tuple(5u, 3u, 2u));
      EXPECT_EQ(std::tuple(all.grid_extents.x, all.grid_extents.y, all.grid_extents.z), std::tuple(3u, 2u, 2u));
    }
  }
}

__global__ void record_order(unsigned* order, unsigned* next) { order[(*next)++] = threadIdx.x; }

TEST(Block, SeedsDrawDifferentOrdersOfWarpsAndLanes) {
  std::set<std::vector<unsigned>> orders;
  for (const std::uint64_t seed : seeds) {
    std::vector<unsigned> order(80);
    unsigned next = 0;
    run({.seed = seed}, {dim3(1), dim3(80)}, record_order, order.data(), &next);
    ASSERT_EQ(next, 80u);
    EXPECT_EQ(std::ranges::is_sorted(order), seed == 0);
    EXPECT_EQ(std::ranges::is_sorted(order, std::greater()), seed == 1);
    orders.insert(order);
    std::ranges::sort(order);
    for (unsigned i = 0; i < 80; ++i) ASSERT_EQ(order[i], i) << "seed " << seed;
  }
  EXPECT_EQ(orders.size(), std::size(seeds));
}

// Inclusive prefix sums by doubling distances: every step reads what other threads wrote in the one before.
__global__ void prefix_sums(const int* in, int* out) {
  TEMPER_SHARED(int, values, [2][96]);
  const unsigned i = threadIdx.x;
  int from = 0;
  values[from][i] = in[i];
  for (unsigned distance = 1; distance < 96; distance *= 2) {
    __syncthreads();
    values[1 - from][i] = values[from][i] + (i >= distance ? values[from][i - distance] : 0);
    from = 1 - from;
  }
  out[i] = values[from][i];
}

TEST(Barrier, OrdersWritesAndReadsAndCanBeUsedAgain) {
  std::vector<int> in(96), expected(96), out(96);
  for (int i = 0, sum = 0; i < 96; ++i) expected[i] = sum += in[i] = i * i % 17;
  for (const std::uint64_t seed : seeds) {
    run({.seed = seed}, {dim3(1), dim3(96)}, prefix_sums, in.data(), out.data());
    EXPECT_EQ(out, expected) << "seed " << seed;
  }
}

constexpr int divergence_line = __LINE__;
__global__ void diverge() {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();
}

TEST(Barrier, DivergenceIsReportedWithBothLines) {
  for (const std::uint64_t seed : seeds) {
    const std::string fault = fault_of({.seed = seed}, {dim3(1), dim3(64)}, diverge);
    EXPECT_TRUE(contains(fault, "divergence at a barrier"));
    EXPECT_TRUE(contains(fault, line(divergence_line + 3)));
    EXPECT_TRUE(contains(fault, line(divergence_line + 5)));
  }
}

constexpr int early_end_line = __LINE__;
__global__ void end_early(int limit) {
  if (static_cast<int>(threadIdx.x) >= limit) return;
  __syncthreads();
}

TEST(Barrier, ThreadsThatEndedBeforeItAreADeadlock) {
  const std::string fault = fault_of({.os_threads = 1}, {dim3(2), dim3(96)}, end_early, 80);
  EXPECT_TRUE(contains(fault, "kernel tested, block (0,0,0)"));
  EXPECT_TRUE(contains(fault, "deadlock"));
  EXPECT_TRUE(contains(fault, "80 threads wait in __syncthreads at " + line(early_end_line + 3)));
  EXPECT_TRUE(contains(fault, "16 threads have ended"));
}

constexpr int mixed_wait_line = __LINE__;
__global__ void wait_for_each_other() {
  if (threadIdx.x < 32)
    __syncthreads();
  else if (threadIdx.x < 63)
    __syncwarp();
}

TEST(Barrier, ADeadlockNamesEveryPlaceWhereThreadsWait) {
  const std::string fault = fault_of({}, {dim3(1), dim3(64)}, wait_for_each_other);
  EXPECT_TRUE(contains(fault, "32 threads wait in __syncthreads at " + line(mixed_wait_line + 3)));
  EXPECT_TRUE(contains(fault, "31 threads wait in __syncwarp at " + line(mixed_wait_line + 5)));
  EXPECT_TRUE(contains(fault, "1 threads have ended"));
}

// ---- planted faults --------------------------------------------------------------------------------------------------

template <bool with_barrier>
__global__ void block_sum(const float* in, float* out) {
  TEMPER_SHARED(float, partial, [8]);
  float sum = in[threadIdx.x];
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(~0u, sum, distance);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
  if (with_barrier) __syncthreads();
  float all = 0.0f;
  for (const float one : partial) all += one;
  out[threadIdx.x] = all;
}

// The bits of the results, or how many different ones there are over all seeds.
std::set<std::vector<std::uint32_t>> results_over_seeds(void (*kernel)(const float*, float*)) {
  std::vector<float> in(256), out(256);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = 1.0f / static_cast<float>(i + 1);
  std::set<std::vector<std::uint32_t>> results;
  for (const std::uint64_t seed : seeds) {
    run({.seed = seed}, {dim3(1), dim3(256)}, kernel, in.data(), out.data());
    std::vector<std::uint32_t> bits;
    for (const float one : out) bits.push_back(std::bit_cast<std::uint32_t>(one));
    results.insert(bits);
  }
  return results;
}

TEST(PlantedFault, AMissingSyncthreadsChangesTheResult) {
  EXPECT_EQ(results_over_seeds(block_sum<true>).size(), 1u);
  EXPECT_GT(results_over_seeds(block_sum<false>).size(), 1u);
}

template <bool with_barrier>
__global__ void exchange_with_neighbour(const float* in, float* out) {
  TEMPER_SHARED(float, values, [256]);
  values[threadIdx.x] = in[threadIdx.x];
  if (with_barrier) __syncwarp();
  out[threadIdx.x] = values[threadIdx.x ^ 1];
}

TEST(PlantedFault, AMissingSyncwarpChangesTheResult) {
  EXPECT_EQ(results_over_seeds(exchange_with_neighbour<true>).size(), 1u);
  EXPECT_GT(results_over_seeds(exchange_with_neighbour<false>).size(), 1u);
}

__global__ void write_up_to(float* out, int count) {
  if (static_cast<int>(threadIdx.x) < count) out[threadIdx.x] = 1.0f;
}

TEST(PlantedFaultDeathTest, AWriteBehindDeviceMemoryIsFound) {
  Device device(fresh_gpu({.os_threads = 1}));
  Stream stream(device);
  auto* memory = static_cast<float*>(device.allocate(31 * sizeof(float)));
  const auto write = [&](int count) {
    launch("tested", write_up_to, {dim3(1), dim3(32)}, stream, memory, count);
    stream.synchronize();
  };
  write(31);
  if (address_sanitizer) {
    EXPECT_DEATH(write(32), "heap-buffer-overflow");
  }
  device.release(memory);
  if (!address_sanitizer) GTEST_SKIP() << "needs a build with AddressSanitizer";
}

// ---- launches --------------------------------------------------------------------------------------------------------

__global__ void nothing() {}

TEST(Launch, ShapesThatNoDeviceTakesAreRefused) {
  const auto refused = [](const LaunchShape& shape) { return fault_of({}, shape, nothing); };
  EXPECT_TRUE(contains(refused({dim3(0), dim3(32)}), "cannot be launched: grid (0,1,1)"));
  EXPECT_TRUE(contains(refused({dim3(1, 65536), dim3(32)}), "grid (1,65536,1)"));
  EXPECT_TRUE(contains(refused({dim3(1, 1, 65536), dim3(32)}), "grid (1,1,65536)"));
  EXPECT_TRUE(contains(refused({dim3(1u << 31), dim3(32)}), "grid (2147483648,1,1)"));
  EXPECT_TRUE(contains(refused({dim3(1), dim3(0)}), "block (0,1,1)"));
  EXPECT_TRUE(contains(refused({dim3(1), dim3(1025)}), "block (1025,1,1)"));
  EXPECT_TRUE(contains(refused({dim3(1), dim3(64, 17)}), "block (64,17,1)"));
  EXPECT_TRUE(contains(refused({dim3(1), dim3(1, 1, 65)}), "block (1,1,65)"));
  EXPECT_TRUE(contains(refused({dim3(1), dim3(1u << 31, 2)}), "block (2147483648,2,1)"));
  EXPECT_TRUE(contains(refused({dim3(1), dim3(32), 227 * 1024 + 1}), "232449 bytes of dynamic shared memory"));
  EXPECT_EQ(refused({dim3(1), dim3(1024), 227 * 1024}), "");
}

__global__ void block_sums(const float* in, float* out) {
  TEMPER_SHARED(float, partial, [4]);
  float sum = in[blockIdx.x * 128 + threadIdx.x];
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(~0u, sum, distance);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) out[blockIdx.x] = partial[0] + partial[1] + partial[2] + partial[3];
}

TEST(Launch, AnyNumberOfOsThreadsGivesTheSameBits) {
  std::vector<float> in(50 * 128);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = 1.0f / static_cast<float>(i + 1);
  std::vector<float> expected(50);
  run({.os_threads = 1}, {dim3(50), dim3(128)}, block_sums, in.data(), expected.data());
  EXPECT_NEAR(expected[0], 5.4331, 1e-4);  // the 128th harmonic number
  for (const int os_threads : {2, 3, 8}) {
    std::vector<float> out(50);
    run({.os_threads = os_threads}, {dim3(50), dim3(128)}, block_sums, in.data(), out.data());
    EXPECT_EQ(out, expected) << os_threads << " OS threads";
  }
}

__global__ void deadlock_in_block(unsigned bad_block, int* finished) {
  if (blockIdx.x != bad_block || threadIdx.x != 5) __syncthreads();
  if (threadIdx.x == 0) atomicAdd(finished, 1);
}

TEST(Launch, AFaultEndsItAndAllThatTheGpuDoes) {
  Device device(fresh_gpu({.os_threads = 3}));
  Stream stream(device);
  int finished = 0, behind = 0;
  launch("faulty", deadlock_in_block, {dim3(40), dim3(64)}, stream, 7u, &finished);
  launch("behind", deadlock_in_block, {dim3(40), dim3(64)}, stream, 99u, &behind);
  for (int i = 0; i < 2; ++i) {
    try {
      stream.synchronize();
      FAIL() << "no fault";
    } catch (const DeviceError& fault) {
      EXPECT_TRUE(contains(fault.what(), "kernel faulty, block (7,0,0): deadlock"));
    }
  }
  EXPECT_LT(finished, 40);
  EXPECT_EQ(behind, 0) << "what was queued behind the fault ran";
  EXPECT_THROW(launch("sound", deadlock_in_block, {dim3(40), dim3(64)}, stream, 99u, &behind), DeviceError);
  EXPECT_THROW(device.allocate(64), DeviceError);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
  run({}, {dim3(40), dim3(64)}, deadlock_in_block, 99u, &behind);  // on another GPU
  EXPECT_EQ(behind, 40);
}

TEST(Launch, AFaultThatComesWhileMemoryIsReleasedIsToldAtTheNextWait) {
  Device device(fresh_gpu());
  Stream stream(device);
  int finished = 0;
  void* memory = device.allocate(64);
  launch("faulty", deadlock_in_block, {dim3(1), dim3(64)}, stream, 0u, &finished);
  device.release(memory);
  EXPECT_THROW(stream.synchronize(), DeviceError);
}

}  // namespace
}  // namespace temper::emulated
