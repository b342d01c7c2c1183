// Bulk copies and transaction barriers: a pipeline that is right gives the same bits lazy and eager, one with a planted fault does
// not.
#include <gtest/gtest.h>
#include <device/bulk_copy.cuh>

#include <cmath>
#include <vector>

#include "launching.h"

namespace temper::emulated {
namespace {

constexpr int tile = 96;
constexpr int stages = 2;
constexpr int tiles = 7;
constexpr int tile_bytes = tile * static_cast<int>(sizeof(float));

enum class Fault { none, no_wait, wrong_parity, no_wait_before_reuse, too_few_bytes, too_many_bytes };

// Warp 0 copies tiles into a ring, the other two warps write them out backwards.
template <Fault fault>
__global__ void reverse_tiles(const float* in, float* out) {
  TEMPER_SHARED(float, ring, [stages][tile]);
  TEMPER_SHARED(TransactionBarrier, full, [stages]);
  TEMPER_SHARED(TransactionBarrier, empty, [stages]);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) {
    for (int stage = 0; stage < stages; ++stage) {
      transaction_barrier_init(&full[stage], 1);
      transaction_barrier_init(&empty[stage], 64);
    }
  }
  __syncthreads();
  for (int t = 0; t < tiles; ++t) {
    const int stage = t % stages, phase = t / stages % 2;
    if (thread == 0) {
      if (fault != Fault::no_wait_before_reuse && t >= stages) transaction_barrier_wait(&empty[stage], 1 - phase);
      constexpr int wrong_by = fault == Fault::too_few_bytes ? 16 : fault == Fault::too_many_bytes ? -16 : 0;
      transaction_barrier_arrive_expecting(&full[stage], tile_bytes + wrong_by);
      bulk_copy(ring[stage], in + t * tile, tile_bytes, &full[stage]);
    } else if (thread >= 32) {
      if (fault != Fault::no_wait) transaction_barrier_wait(&full[stage], fault == Fault::wrong_parity ? 1 - phase : phase);
      for (int i = thread - 32; i < tile; i += 64) out[t * tile + i] = ring[stage][tile - 1 - i];
      if (fault != Fault::no_wait_before_reuse) transaction_barrier_arrive(&empty[stage]);
    }
  }
}

struct Outcome {
  std::vector<float> values;
  std::string fault;
};

template <Fault fault>
Outcome outcome_of(std::uint64_t seed, bool lazy) {
  std::vector<float> in(tile * tiles), out(tile * tiles);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i);
  std::string message = fault_of({seed, lazy, 1}, {dim3(1), dim3(96)}, reverse_tiles<fault>, in.data(), out.data());
  return {out, message};
}

template <Fault fault>
bool is_right(std::uint64_t seed, bool lazy) {
  const Outcome outcome = outcome_of<fault>(seed, lazy);
  for (int i = 0; i < tile * tiles; ++i)
    if (outcome.values[i] != static_cast<float>(i / tile * tile + tile - 1 - i % tile)) return false;
  return outcome.fault.empty();
}

TEST(BulkCopy, ACorrectPipelineGivesTheSameBitsLazyAndEager) {
  for (const std::uint64_t seed : seeds) {
    EXPECT_TRUE(is_right<Fault::none>(seed, true)) << seed << ": " << outcome_of<Fault::none>(seed, true).fault;
    EXPECT_TRUE(is_right<Fault::none>(seed, false)) << seed << ": " << outcome_of<Fault::none>(seed, false).fault;
  }
}

// Wrong under some seed in either mode, or an error that AddressSanitizer reports.
template <Fault fault>
void expect_found() {
  const auto right_seeds = [](bool lazy) {
    int right = 0;
    for (const std::uint64_t seed : seeds) right += is_right<fault>(seed, lazy) ? 1 : 0;
    return right;
  };
  if (address_sanitizer) {
    EXPECT_DEATH(right_seeds(true), "use-after-poison");
  } else {
    EXPECT_LT(right_seeds(true), static_cast<int>(std::size(seeds)));
  }
}

TEST(PlantedFaultDeathTest, AMissingWaitForABulkCopyIsFound) { expect_found<Fault::no_wait>(); }

TEST(PlantedFaultDeathTest, AWaitForTheWrongParityIsFound) { expect_found<Fault::wrong_parity>(); }

TEST(PlantedFault, ABulkCopyIntoAStageThatIsStillReadIsFoundWhenCopiesAreEager) {
  int wrong = 0;
  for (const std::uint64_t seed : seeds) wrong += is_right<Fault::no_wait_before_reuse>(seed, false) ? 0 : 1;
  EXPECT_GT(wrong, 0);
}

TEST(BulkCopy, WrongNumbersOfBytesAreReported) {
  for (const bool lazy : {true, false}) {
    EXPECT_TRUE(contains(outcome_of<Fault::too_few_bytes>(0, lazy).fault, "lacks 0 of 1 arrivals and 16 bytes"));
    EXPECT_TRUE(contains(outcome_of<Fault::too_many_bytes>(0, lazy).fault, "16 bytes more were copied than were expected"));
  }
}

enum class Misuse { none, not_initialised, initialised_twice, too_many_arrivals, never_waited_for, misaligned, odd_bytes };

constexpr int init_line = __LINE__ + 6;
template <Misuse misuse>
__global__ void one_copy(const float* in) {
  TEMPER_SHARED(float, buffer, [8]);
  TEMPER_SHARED(TransactionBarrier, barrier, [1]);
  for (int i = 0; i < (misuse == Misuse::not_initialised ? 0 : misuse == Misuse::initialised_twice ? 2 : 1); ++i)
    transaction_barrier_init(barrier, 1);
  transaction_barrier_arrive_expecting(barrier, 16);
  if (misuse == Misuse::too_many_arrivals) transaction_barrier_arrive(barrier);
  bulk_copy(buffer + (misuse == Misuse::misaligned ? 2 : 0), in, misuse == Misuse::odd_bytes ? 12 : 16, barrier);
  if (misuse != Misuse::never_waited_for) transaction_barrier_wait(barrier, 0);
}

TEST(BulkCopy, MisuseIsReported) {
  alignas(16) const float in[4] = {};
  const auto fault = [&](void (*kernel)(const float*)) { return fault_of({}, {dim3(1), dim3(1)}, kernel, in); };
  EXPECT_EQ(fault(one_copy<Misuse::none>), "");
  EXPECT_TRUE(contains(fault(one_copy<Misuse::not_initialised>), "was not initialised"));
  EXPECT_TRUE(contains(fault(one_copy<Misuse::initialised_twice>), "initialised twice"));
  EXPECT_TRUE(contains(fault(one_copy<Misuse::too_many_arrivals>), "another arrival in a phase that has had its 1"));
  EXPECT_TRUE(contains(fault(one_copy<Misuse::never_waited_for>), "bulk copies that nobody waited for"));
  EXPECT_TRUE(contains(fault(one_copy<Misuse::never_waited_for>), line(init_line)));
  EXPECT_TRUE(contains(fault(one_copy<Misuse::misaligned>), "is not a multiple of 16"));
  EXPECT_TRUE(contains(fault(one_copy<Misuse::odd_bytes>), "the number of bytes, 12, is not a multiple of 16"));
}

}  // namespace
}  // namespace temper::emulated
