// Operations of a warp: what lanes get from each other, which lanes must come, and what is said when they do not.
#include <gtest/gtest.h>

#include <vector>

#include "launching.h"

namespace temper::emulated {
namespace {

enum class Shuffle { index, exclusive_or, up };

template <int width>
__global__ void shuffle_lanes(Shuffle kind, int operand, int* out) {
  const int lane = static_cast<int>(threadIdx.x), value = 100 + lane;
  switch (kind) {
    case Shuffle::index:
      out[lane] = __shfl_sync(~0u, value, operand, width);
      break;
    case Shuffle::exclusive_or:
      out[lane] = __shfl_xor_sync(~0u, value, operand, width);
      break;
    case Shuffle::up:
      out[lane] = __shfl_up_sync(~0u, value, static_cast<unsigned>(operand), width);
      break;
  }
}

// As the PTX manual's pseudocode for shfl.sync, with its clamp and segment mask.
int source_lane(Shuffle kind, int lane, int operand, int width) {
  const int segment_mask = 32 - width;
  const int clamp = kind == Shuffle::up ? 0 : 31;
  const int max_lane = (lane & segment_mask) | (clamp & ~segment_mask & 31);
  const int min_lane = lane & segment_mask;
  int from = 0;
  bool valid = false;
  switch (kind) {
    case Shuffle::up:
      from = lane - operand, valid = from >= max_lane;
      break;
    case Shuffle::exclusive_or:
      from = lane ^ operand, valid = from <= max_lane;
      break;
    case Shuffle::index:
      from = min_lane | (operand & ~segment_mask & 31), valid = from <= max_lane;
      break;
  }
  return valid ? from : lane;
}

template <int width>
void check_shuffles() {
  for (const Shuffle kind : {Shuffle::index, Shuffle::exclusive_or, Shuffle::up}) {
    for (const int operand : {0, 1, 2, 3, 5, 8, 16, 31}) {
      std::vector<int> out(32), expected(32);
      for (int lane = 0; lane < 32; ++lane) expected[lane] = 100 + source_lane(kind, lane, operand, width);
      run({.seed = static_cast<std::uint64_t>(operand)}, {dim3(1), dim3(32)}, shuffle_lanes<width>, kind, operand, out.data());
      EXPECT_EQ(out, expected) << "kind " << static_cast<int>(kind) << ", operand " << operand << ", width " << width;
    }
  }
}

TEST(Warp, ShufflesFollowTheirDefinition) {
  check_shuffles<32>();
  check_shuffles<8>();
  check_shuffles<2>();
}

__global__ void reverse_lanes(float* out) {
  out[threadIdx.x] = __shfl_sync(~0u, static_cast<float>(threadIdx.x), 31 - static_cast<int>(threadIdx.x));
}

TEST(Warp, EveryLaneMayReadALaneOfItsOwnChoice) {
  std::vector<float> out(32);
  run({}, {dim3(1), dim3(32)}, reverse_lanes, out.data());
  for (int i = 0; i < 32; ++i) EXPECT_EQ(out[i], static_cast<float>(31 - i));
}

__global__ void votes(std::uint32_t mask, std::uint32_t predicates, std::uint32_t* ballot) {
  if ((mask >> threadIdx.x & 1) == 0) return;
  ballot[threadIdx.x] = __ballot_sync(mask, (predicates >> threadIdx.x & 1) != 0);
}

TEST(Warp, VotesCountTheLanesOfTheMaskAlone) {
  for (const std::uint32_t mask : {~0u, 0x0000FFFFu, 0x80000001u, 0xF0F0F0F0u}) {
    for (const std::uint32_t predicates : {0u, ~0u, 0x12345678u, 0x80000000u, 0x00000001u}) {
      std::vector<std::uint32_t> ballot(32, 7);
      run({}, {dim3(1), dim3(32)}, votes, mask, predicates, ballot.data());
      for (int lane = 0; lane < 32; ++lane) {
        if ((mask >> lane & 1) == 0) continue;
        EXPECT_EQ(ballot[lane], mask & predicates);
      }
    }
  }
}

__global__ void halves_apart(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  if (lane < 16)
    out[lane] = __shfl_xor_sync(0x0000FFFFu, lane, 1);
  else
    out[lane] = __shfl_up_sync(0xFFFF0000u, lane, 1, 16);
}

TEST(Warp, LanesThatDoNotMeetMayDoDifferentThings) {
  std::vector<int> out(32);
  run({}, {dim3(1), dim3(32)}, halves_apart, out.data());
  EXPECT_EQ(out[0], 1);
  EXPECT_EQ(out[15], 14);
  EXPECT_EQ(out[16], 16);
  EXPECT_EQ(out[31], 30);
}

__global__ void two_lanes_first(int* out) {
  int value = static_cast<int>(threadIdx.x);
  if (threadIdx.x == 3 || threadIdx.x == 4) value = 10 * __shfl_xor_sync(0x18u, value, 7);
  out[threadIdx.x] = __shfl_xor_sync(~0u, value, 1);
}

TEST(Warp, SomeLanesMayMeetBeforeTheWholeWarpDoes) {
  for (const std::uint64_t seed : seeds) {
    std::vector<int> out(32);
    EXPECT_EQ(fault_of({.seed = seed}, {dim3(1), dim3(32)}, two_lanes_first, out.data()), "");
    EXPECT_EQ(out[2], 40);  // from lane 3, which had it from lane 4
    EXPECT_EQ(out[5], 30);
    EXPECT_EQ(out[0], 1);
  }
}

__global__ void count_in_global_memory(int* count) { atomicAdd(count, 3); }

TEST(Warp, AtomicsAreAtomicAcrossBlocks) {
  int count = 0;
  run({.os_threads = 4}, {dim3(50), dim3(64)}, count_in_global_memory, &count);
  EXPECT_EQ(count, 3 * 50 * 64);
}

// ---- misuse ----------------------------------------------------------------------------------------------------------

constexpr int missing_lane_line = __LINE__;
__global__ void lane_that_does_not_come() {
  if (threadIdx.x == 7) return;
  __shfl_xor_sync(~0u, 1, 1);
}

TEST(WarpMisuse, ALaneThatDoesNotComeIsADeadlockWithItsLine) {
  const std::string fault = fault_of({}, {dim3(1), dim3(32)}, lane_that_does_not_come);
  EXPECT_TRUE(contains(fault, "31 threads wait in __shfl_xor_sync at " + line(missing_lane_line + 3)));
  EXPECT_TRUE(contains(fault, "1 threads have ended"));
}

constexpr int different_operations_line = __LINE__;
__global__ void different_operations() {
  if (threadIdx.x < 16)
    __shfl_xor_sync(~0u, 1, 1);
  else
    __syncwarp();
}

TEST(WarpMisuse, LanesInDifferentOperationsAreReportedWithBothLines) {
  for (const std::uint64_t seed : seeds) {
    const std::string fault = fault_of({.seed = seed}, {dim3(1), dim3(32)}, different_operations);
    EXPECT_TRUE(contains(fault, "divergence in a warp"));
    EXPECT_TRUE(contains(fault, line(different_operations_line + 3)));
    EXPECT_TRUE(contains(fault, line(different_operations_line + 5)));
  }
}

__global__ void different_masks() {
  if (threadIdx.x < 16)
    __syncwarp(~0u);
  else
    __syncwarp(0xFFFFFF00u);
}

TEST(WarpMisuse, LanesThatNameDifferentMasksAreReported) {
  EXPECT_TRUE(contains(fault_of({}, {dim3(1), dim3(32)}, different_masks), "divergence in a warp"));
}

constexpr int absent_lane_line = __LINE__;
__global__ void read_absent_lane() {
  if (threadIdx.x < 16) __shfl_xor_sync(0x0000FFFFu, 1, 16);
}

TEST(WarpMisuse, ReadingALaneOutsideTheMaskIsReported) {
  const std::string fault = fault_of({.seed = 0}, {dim3(1), dim3(32)}, read_absent_lane);
  EXPECT_TRUE(contains(fault, "__shfl_xor_sync: lane 0 reads lane 16, which is not in the mask"));
  EXPECT_TRUE(contains(fault, line(absent_lane_line + 2)));
}

__global__ void not_in_own_mask() { __syncwarp(0x0000FFFFu); }

TEST(WarpMisuse, ALaneMustBeInItsOwnMask) {
  EXPECT_TRUE(contains(fault_of({.seed = 1}, {dim3(1), dim3(32)}, not_in_own_mask), "the calling lane is not in its own mask"));
}

__global__ void whole_warp() { __syncwarp(); }

TEST(WarpMisuse, AMaskMayNotNameLanesThatTheBlockLacks) {
  EXPECT_TRUE(contains(fault_of({}, {dim3(1), dim3(48)}, whole_warp), "lanes that the block does not have"));
}

}  // namespace
}  // namespace temper::emulated
