// The audit itself: each fault is found where it is planted, with both places, and nothing is found where there is none.
#include <gtest/gtest.h>

#include <memory>

#include "audited_kernels.h"
#include "emulated/launching.h"
#include "kernels/emulated/audit/audit.h"
#include "kernels/emulated/emulated_ops.h"

namespace temper::emulated {
namespace {

constexpr Execution one_after_the_other = {.seed = 1, .lazy_copies = true, .os_threads = 1};
constexpr unsigned threads = 64;

// 1,024 bytes of device memory that hold 256 ones, or nothing.
class Memory {
 public:
  explicit Memory(audit::Holds holds = audit::Holds::what_it_was_given) : ops_(make_emulated_ops(one_after_the_other)) {
    memory_ = ops_->allocate(1024);
    const std::vector<float> ones(256, 1.0f);
    ops_->copy_to_device(memory_, ones.data(), 1024);
    ops_->synchronize();
    audit::describe(memory_, 1024, "out", holds);
  }
  ~Memory() { ops_->release(memory_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  template <typename T>
  T* as() const {
    return static_cast<T*>(memory_);
  }

 private:
  std::unique_ptr<Ops> ops_;
  void* memory_;
};

template <typename T>
std::string faults_of(void (*kernel)(T*, bool), bool right, const Memory& memory, unsigned blocks = 1) {
  audit::start();
  run(one_after_the_other, {dim3(blocks), dim3(threads)}, kernel, memory.as<T>(), right);
  return audit::finish(1e9).faults();
}

template <typename T>
void expect_found(void (*kernel)(T*, bool), const std::vector<std::string>& said, unsigned blocks = 1,
                  audit::Holds holds = audit::Holds::what_it_was_given) {
  const Memory memory(holds);
  EXPECT_EQ(faults_of(kernel, true, memory, blocks), "");
  const std::string faults = faults_of(kernel, false, Memory(holds), blocks);
  for (const std::string& part : said) EXPECT_TRUE(contains(faults, part));
}

TEST(Audit, RacesBetweenWarps) {
  expect_found(exchange_by_warps,
               {"kernel tested: race: thread (31,0,0) of block (0,0,0) reads shared array of 256 bytes + 128 at "
                "audited_kernels.cpp:17, the other is thread (32,0,0) of block (0,0,0) at audited_kernels.cpp:15"});
  expect_found(reuse_shared, {"race: ", "audited_kernels.cpp:39, the other is ", "at audited_kernels.cpp:41"});
}

TEST(Audit, RacesWithinAWarp) {
  expect_found(exchange_by_lanes, {"race: ", "audited_kernels.cpp:24, the other is ", "at audited_kernels.cpp:22"});
  expect_found(exchange_by_votes, {"race: ", "audited_kernels.cpp:32, the other is ", "at audited_kernels.cpp:29"});
}

TEST(Audit, RacesOnGlobalMemory) {
  expect_found(change_together, {"race: ", "out (1024 bytes) + 0 at audited_kernels.cpp:48"});
  expect_found(change_between_blocks,
               {"thread (0,0,0) of block (1,0,0) reads out (1024 bytes) + 0 at audited_kernels.cpp:52, "
                "the other is thread (0,0,0) of block (0,0,0) at audited_kernels.cpp:52"},
               2);
}

TEST(Audit, AsynchronousCopies) {
  expect_found(copy_and_read, {"touched while an asynchronous copy is under way", "audited_kernels.cpp:87, the other is ",
                               "at audited_kernels.cpp:83"});
  expect_found(copy_over_read, {"race: ", "audited_kernels.cpp:97", "audited_kernels.cpp:99"});
}

TEST(Audit, StrayAccesses) {
  expect_found(read_misaligned,
               {"misaligned: thread (0,0,0) of block (0,0,0) reads out (1024 bytes) + 4 at audited_kernels.cpp:57"});
  expect_found(read_outside_shared, {"out of bounds: ", "reads shared array of 20 bytes + 20 at audited_kernels.cpp:67"});
  Memory memory;
  audit::describe(memory.as<void>(), 128, "out", audit::Holds::what_it_was_given);
  EXPECT_EQ(faults_of(read_outside, true, memory), "");
  EXPECT_TRUE(contains(faults_of(read_outside, false, memory),
                       "out of bounds: thread (0,0,0) of block (0,0,0) reads out (128 bytes) + 128 at audited_kernels.cpp:61"));
}

TEST(Audit, ReleasedMemory) {
  auto memory = std::make_unique<Memory>();
  float* const released = memory->as<float>();
  memory.reset();
  audit::start();
  run(one_after_the_other, {dim3(1), dim3(threads)}, read_outside, released, true);
  EXPECT_TRUE(
      contains(audit::finish(1e9).faults(), "out of bounds: thread (0,0,0) of block (0,0,0) reads out (released, 1024 bytes) + "));
}

TEST(Audit, WhatNobodyWrote) {
  expect_found(read_unwritten, {"read, but nobody wrote it: ", "audited_kernels.cpp:72"}, 1, audit::Holds::nothing);
  expect_found(read_unwritten_shared, {"read, but nobody wrote it: thread (7,0,0)"});
}

// Requests, lanes, cost and least of a kernel's one access to this memory.
using Numbers = std::vector<std::uint64_t>;
Numbers traffic_of(void (*kernel)(float*, int), int stride, bool shared) {
  const Memory memory;
  audit::start();
  run(one_after_the_other, {dim3(1), dim3(32)}, kernel, memory.as<float>(), stride);
  for (const audit::Traffic& each : audit::finish().traffic)
    if (each.shared == shared) return {each.requests, each.lanes, each.cost, each.least};
  return {};
}

TEST(Audit, SectorsOfGlobalMemory) {
  EXPECT_EQ(traffic_of(read_strided, 1, false), (Numbers{1, 32, 4, 4}));
  EXPECT_EQ(traffic_of(read_strided, 2, false), (Numbers{1, 32, 8, 4}));
  EXPECT_EQ(traffic_of(read_strided, 8, false), (Numbers{1, 32, 32, 4}));
  EXPECT_EQ(traffic_of(read_strided, 0, false), (Numbers{1, 32, 1, 1}));
  EXPECT_EQ(traffic_of(read_vectors, 4, false), (Numbers{1, 32, 16, 16}));
  EXPECT_EQ(traffic_of(read_vectors, 8, false), (Numbers{1, 32, 32, 16}));
}

TEST(Audit, WavefrontsOfSharedMemory) {
  EXPECT_EQ(traffic_of(write_strided_shared, 1, true), (Numbers{1, 32, 1, 1}));
  EXPECT_EQ(traffic_of(write_strided_shared, 2, true), (Numbers{1, 32, 2, 1}));
  EXPECT_EQ(traffic_of(write_strided_shared, 32, true), (Numbers{1, 32, 32, 1}));
  EXPECT_EQ(traffic_of(write_strided_shared, 33, true), (Numbers{1, 32, 1, 1}));
  EXPECT_EQ(traffic_of(write_shared_vectors, 4, true), (Numbers{1, 32, 4, 4}));
  EXPECT_EQ(traffic_of(write_shared_vectors, 8, true), (Numbers{1, 32, 8, 4}));
  EXPECT_EQ(traffic_of(write_shared_vectors, 32, true), (Numbers{1, 32, 32, 4}));
  EXPECT_EQ(traffic_of(write_shared_vectors, 36, true), (Numbers{1, 32, 4, 4}));
}

}  // namespace
}  // namespace temper::emulated
