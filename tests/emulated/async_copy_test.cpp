// cp.async: correct kernels give the same bits whenever the copies happen; planted faults show in the lazy or in the eager mode.
#include <gtest/gtest.h>
#include <device/async_copy.cuh>

#include <algorithm>
#include <cmath>
#include <vector>

#include "launching.h"

namespace temper::emulated {
namespace {

constexpr int tile = 128;  // floats, four per thread of a warp
constexpr int tiles = 9;

// What a faulty kernel leaves out of the pipeline below.
enum class Omitted { nothing, wait, barrier_behind_wait, barrier_before_reuse };

// out[t] = tile t backwards, double-buffered: tile t + 1 travels while t is read by threads that did not load it.
template <Omitted omitted>
__global__ void reverse_tiles(const float* in, float* out) {
  TEMPER_SHARED(float, buffer, [2][tile]);
  const int thread = static_cast<int>(threadIdx.x);
  const auto load = [&](int t) {
    copy_async_16(&buffer[t % 2][4 * thread], in + t * tile + 4 * thread);
    copy_async_commit();
  };
  load(0);
  for (int t = 0; t < tiles; ++t) {
    if (t + 1 < tiles) {
      load(t + 1);
      if (omitted != Omitted::wait) copy_async_wait<1>();
    } else {
      copy_async_wait<0>();
    }
    if (omitted != Omitted::barrier_behind_wait) __syncthreads();
    for (int i = thread; i < tile; i += 32) out[t * tile + i] = buffer[t % 2][tile - 1 - i];
    if (omitted != Omitted::barrier_before_reuse) __syncthreads();
  }
}

std::vector<float> input() {
  std::vector<float> in(tile * tiles);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i);
  return in;
}

std::vector<float> reversed() {
  std::vector<float> out = input();
  for (int t = 0; t < tiles; ++t) std::reverse(out.begin() + t * tile, out.begin() + (t + 1) * tile);
  return out;
}

template <Omitted omitted>
std::vector<float> reverse_tiles_with(std::uint64_t seed, bool lazy) {
  const std::vector<float> in = input();
  std::vector<float> out(in.size());
  run({seed, lazy, 1}, {dim3(1), dim3(32)}, reverse_tiles<omitted>, in.data(), out.data());
  return out;
}

/// Seeds under which the result is wrong.
template <Omitted omitted>
int wrong_seeds(bool lazy) {
  int wrong = 0;
  for (const std::uint64_t seed : seeds) wrong += reverse_tiles_with<omitted>(seed, lazy) == reversed() ? 0 : 1;
  return wrong;
}

TEST(AsyncCopy, ACorrectPipelineGivesTheSameBitsLazyAndEager) {
  EXPECT_EQ(wrong_seeds<Omitted::nothing>(true), 0);
  EXPECT_EQ(wrong_seeds<Omitted::nothing>(false), 0);
}

TEST(PlantedFaultDeathTest, AMissingWaitShowsWhenCopiesAreLazy) {
  EXPECT_EQ(wrong_seeds<Omitted::wait>(false), 0) << "eager copies cannot show it";
  if (address_sanitizer)
    EXPECT_DEATH(reverse_tiles_with<Omitted::wait>(0, true), "use-after-poison");
  else
    EXPECT_TRUE(std::isnan(reverse_tiles_with<Omitted::wait>(0, true)[0]));
}

TEST(PlantedFaultDeathTest, AMissingBarrierBehindTheWaitShows) {
  EXPECT_GT(wrong_seeds<Omitted::barrier_behind_wait>(false), 0);
  if (address_sanitizer)
    EXPECT_DEATH(wrong_seeds<Omitted::barrier_behind_wait>(true), "use-after-poison");
  else
    EXPECT_GT(wrong_seeds<Omitted::barrier_behind_wait>(true), 0);
}

TEST(PlantedFaultDeathTest, ADestinationThatIsStillReadShowsWhenCopiesAreEager) {
  EXPECT_GT(wrong_seeds<Omitted::barrier_before_reuse>(false), 0);
  if (address_sanitizer)
    EXPECT_DEATH(wrong_seeds<Omitted::barrier_before_reuse>(true), "use-after-poison");
  else
    EXPECT_GT(wrong_seeds<Omitted::barrier_before_reuse>(true), 0);
}

__global__ void overwrite_source(float* global, float* out) {
  TEMPER_SHARED(float, buffer, [4]);
  copy_async_16(buffer, global);
  copy_async_commit();
  global[2] = -1.0f;  // the copy may still read it
  copy_async_wait<0>();
  out[0] = buffer[2];
}

TEST(PlantedFault, ASourceOverwrittenBeforeTheWaitShowsWhenCopiesAreLazy) {
  for (const bool lazy : {true, false}) {
    alignas(16) float source[4] = {0, 1, 2, 3};
    float out = 0;
    run({.lazy_copies = lazy}, {dim3(1), dim3(1)}, overwrite_source, source, &out);
    EXPECT_EQ(out, lazy ? -1.0f : 2.0f);
  }
}

// ---- groups ----------------------------------------------------------------------------------------------------------

// Three groups, the second one empty, the third with two copies; reads after each wait what must be there by then.
__global__ void wait_in_steps(const float* in, float* out) {
  TEMPER_SHARED(float, buffer, [3][4]);
  copy_async_16(buffer[0], in);
  copy_async_commit();
  copy_async_commit();
  copy_async_16(buffer[1], in + 4);
  copy_async_16(buffer[2], in + 8, false);
  copy_async_commit();
  copy_async_wait<2>();
  out[0] = buffer[0][3];
  copy_async_wait<1>();
  copy_async_wait<0>();
  copy_async_wait<0>();
  out[1] = buffer[1][3];
  out[2] = buffer[2][3];
}

TEST(AsyncCopy, GroupsAreWaitedForOldestFirstAndInvalidCopiesGiveZeros) {
  alignas(16) float in[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  for (const bool lazy : {true, false}) {
    float out[3] = {};
    run({.lazy_copies = lazy}, {dim3(1), dim3(1)}, wait_in_steps, in, out);
    EXPECT_EQ(std::vector<float>(out, out + 3), (std::vector<float>{3.0f, 7.0f, 0.0f}));
  }
}

__global__ void copy_nothing_from_null(float* out) {
  TEMPER_SHARED(float, buffer, [4]);
  copy_async_16(buffer, nullptr, false);
  copy_async_commit();
  copy_async_wait<0>();
  out[0] = buffer[1];
}

TEST(AsyncCopy, AnInvalidCopyDoesNotReadItsSource) {
  float out = 1;
  run({}, {dim3(1), dim3(1)}, copy_nothing_from_null, &out);
  EXPECT_EQ(out, 0.0f);
}

// ---- misuse ----------------------------------------------------------------------------------------------------------

template <bool committed, bool waited>
__global__ void leave_copy_behind(const float* in) {
  TEMPER_SHARED(float, buffer, [4]);
  copy_async_16(buffer, in);
  if (committed) copy_async_commit();
  if (waited) copy_async_wait<0>();
}

TEST(AsyncCopy, CopiesThatAreNeverWaitedForAreReported) {
  alignas(16) const float in[4] = {};
  for (const bool lazy : {true, false}) {
    const auto fault = [&](void (*kernel)(const float*)) {
      return fault_of({.lazy_copies = lazy}, {dim3(1), dim3(1)}, kernel, in);
    };
    EXPECT_EQ(fault(leave_copy_behind<true, true>), "");
    EXPECT_TRUE(contains(fault(leave_copy_behind<true, false>), "thread (0,0,0) ended with asynchronous copies"));
    EXPECT_TRUE(contains(fault(leave_copy_behind<false, false>), "never waited for"));
    EXPECT_TRUE(contains(fault(leave_copy_behind<false, true>), "never waited for")) << "a wait covers committed groups only";
  }
}

constexpr int copy_line = __LINE__;
__global__ void copy_with_offsets(const float* in, int to_offset, int from_offset) {
  TEMPER_SHARED(float, buffer, [8]);
  copy_async_16(buffer + to_offset, in + from_offset);
  copy_async_commit();
  copy_async_wait<0>();
}

__global__ void copy_to_global(float* memory) { copy_async_16(memory, memory + 4); }

TEST(AsyncCopy, MisalignedAddressesAndDestinationsOutsideSharedMemoryAreReported) {
  alignas(16) float memory[8] = {};
  const auto fault = [&](int to, int from) { return fault_of({}, {dim3(1), dim3(1)}, copy_with_offsets, memory, to, from); };
  EXPECT_EQ(fault(4, 4), "");
  EXPECT_TRUE(contains(fault(1, 0), "copy_async_16: an address is not a multiple of 16"));
  EXPECT_TRUE(contains(fault(0, 2), line(copy_line + 3)));
  EXPECT_TRUE(contains(fault_of({}, {dim3(1), dim3(1)}, copy_to_global, memory), "the destination is not shared memory"));
}

}  // namespace
}  // namespace temper::emulated
