// Named barriers: producers that arrive, consumers that wait, and what is said when their numbers do not fit.
#include <gtest/gtest.h>
#include <device/named_barrier.cuh>

#include <vector>

#include "launching.h"

namespace temper::emulated {
namespace {

enum Barrier { full = 1, empty = 2 };

// Warp 0 produces squares in a buffer that warps 1 and 2 read; `ordered` false leaves the consumers' arrival out of account.
template <bool ordered>
__global__ void hand_over(int rounds, int* out) {
  TEMPER_SHARED(int, buffer, [32]);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  for (int round = 0; round < rounds; ++round) {
    if (warp == 0) {
      if (ordered && round > 0) named_barrier_wait(empty, 96);
      buffer[lane] = (lane + round) * (lane + round);
      named_barrier_arrive(full, 96);
    } else {
      named_barrier_wait(full, 96);
      out[(2 * round + warp - 1) * 32 + lane] = buffer[31 - lane];
      if (ordered && round + 1 < rounds) named_barrier_arrive(empty, 96);
    }
  }
}

TEST(NamedBarrier, ProducersArriveAndConsumersWait) {
  constexpr int rounds = 5;
  for (const std::uint64_t seed : seeds) {
    std::vector<int> out(2 * rounds * 32);
    run({.seed = seed}, {dim3(1), dim3(96)}, hand_over<true>, rounds, out.data());
    for (int i = 0; i < 2 * rounds * 32; ++i) {
      const int root = 31 - i % 32 + i / 64;
      ASSERT_EQ(out[i], root * root) << "seed " << seed << ", " << i;
    }
  }
}

TEST(PlantedFault, AProducerThatDoesNotWaitForItsConsumersIsFound) {
  for (const std::uint64_t seed : seeds) {
    std::vector<int> out(4 * 32);
    EXPECT_TRUE(contains(fault_of({.seed = seed}, {dim3(1), dim3(96)}, hand_over<false>, 2, out.data()),
                         "comes to barrier 1 twice before the others have come once"));
  }
}

constexpr int count_line = __LINE__;
__global__ void barrier_for(int id, int first_threads, int second_threads) {
  named_barrier_wait(id, threadIdx.x < 32 ? first_threads : second_threads);
}

TEST(NamedBarrier, NumbersThatDoNotFitAreReported) {
  const auto fault = [](int id, int first, int second) {
    return fault_of({.seed = 0}, {dim3(1), dim3(64)}, barrier_for, id, first, second);
  };
  EXPECT_EQ(fault(15, 64, 64), "");
  EXPECT_EQ(fault(1, 32, 32), "");
  EXPECT_TRUE(contains(fault(16, 64, 64), "barrier 16 does not exist"));
  EXPECT_TRUE(contains(fault(0, 64, 64), "named barrier 0"));
  EXPECT_TRUE(contains(fault(1, 48, 48), "barrier 1 for 48 threads: allowed are multiples of 32 up to the block's 64"));
  EXPECT_TRUE(contains(fault(1, 96, 96), "barrier 1 for 96 threads"));
  EXPECT_TRUE(contains(fault(1, 64, 32), "came to it for"));
  EXPECT_TRUE(contains(fault(1, 64, 32), line(count_line + 2)));
}

__global__ void arrive_only() { named_barrier_arrive(3, 64); }

__global__ void lanes_of_two_warps() {
  if (threadIdx.x >= 16 && threadIdx.x < 48) named_barrier_wait(3, 32);
}

TEST(NamedBarrier, ArrivalsNobodyWaitsForAndPartsOfWarpsAreReported) {
  EXPECT_TRUE(contains(fault_of({}, {dim3(1), dim3(32)}, arrive_only), "barrier 3 for 64 threads"));
  EXPECT_TRUE(contains(fault_of({}, {dim3(1), dim3(96)}, arrive_only), "ended with 32 of 64 arrivals at barrier 3"));
  EXPECT_TRUE(contains(fault_of({}, {dim3(1), dim3(64)}, lanes_of_two_warps), "some lanes of warp 0 only"));
}

}  // namespace
}  // namespace temper::emulated
