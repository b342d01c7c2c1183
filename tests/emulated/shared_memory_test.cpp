// Shared memory: whose it is, what it holds at first, and what happens at its ends.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "launching.h"

namespace temper::emulated {
namespace {

struct Addresses {
  std::uintptr_t first, second, table, dynamic;
};

__global__ void take_addresses(Addresses* out) {
  TEMPER_SHARED(float, first, [3]);
  TEMPER_SHARED(char, second, [5]);
  TEMPER_SHARED(float, table, [4][7]);
  static_assert(sizeof(first) == 12 && sizeof(second) == 5 && sizeof(table) == 112);
  out[threadIdx.x] = {reinterpret_cast<std::uintptr_t>(first), reinterpret_cast<std::uintptr_t>(second),
                      reinterpret_cast<std::uintptr_t>(table), reinterpret_cast<std::uintptr_t>(dynamic_shared<float>())};
}

TEST(SharedMemory, ADeclaredArrayIsOneForAllThreadsAndAligned) {
  std::vector<Addresses> all(64);
  run({}, {dim3(1), dim3(64), 100}, take_addresses, all.data());
  for (const Addresses& one : all) {
    EXPECT_EQ(one.first, all[0].first);
    EXPECT_EQ(one.second, all[0].second);
    EXPECT_EQ(one.table, all[0].table);
    EXPECT_EQ(one.dynamic, all[0].dynamic);
  }
  EXPECT_EQ(all[0].first % 16 + all[0].second % 16 + all[0].table % 16, 0u);
  EXPECT_EQ(all[0].dynamic % 256, 128u) << "on its boundary, and on no larger one that a kernel could rely on";
  EXPECT_GE(all[0].first, all[0].dynamic + 100);
  EXPECT_GE(all[0].second, all[0].first + 12);
  EXPECT_GE(all[0].table, all[0].second + 5);
}

// Every block reads before it writes.
__global__ void read_then_write(float* declared, float* dynamic) {
  TEMPER_SHARED(float, values, [32]);
  declared[blockIdx.x * 32 + threadIdx.x] = values[threadIdx.x];
  dynamic[blockIdx.x * 32 + threadIdx.x] = dynamic_shared<float>()[threadIdx.x];
  values[threadIdx.x] = 1.0f;
  dynamic_shared<float>()[threadIdx.x] = 1.0f;
}

TEST(SharedMemory, UnwrittenReadsAsNanInEveryBlock) {
  std::vector<float> declared(4 * 32), dynamic(4 * 32);
  run({.os_threads = 1}, {dim3(4), dim3(32), 32 * sizeof(float)}, read_then_write, declared.data(), dynamic.data());
  for (std::size_t i = 0; i < declared.size(); ++i) EXPECT_TRUE(std::isnan(declared[i]) && std::isnan(dynamic[i])) << i;
}

constexpr int too_large_line = __LINE__;
__global__ void declare_much() {
  TEMPER_SHARED(float, first, [57 * 1024]);
  first[0] = 1.0f;
}

TEST(SharedMemory, MoreThanThereIsIsReported) {
  const std::string fault = fault_of({}, {dim3(1), dim3(32)}, declare_much);
  EXPECT_TRUE(contains(fault, "more than the 232448 bytes that there are"));
  EXPECT_TRUE(contains(fault, line(too_large_line + 2)));
}

// Half of what there is without asking.
__global__ void declare_some() {
  TEMPER_SHARED(float, some, [6 * 1024]);
  some[threadIdx.x] = 1.0f;
}

TEST(SharedMemory, DynamicAndDeclaredCountTogether) {
  const auto with_dynamic = [](std::size_t bytes) { return fault_of({}, {dim3(1), dim3(32), bytes}, declare_some); };
  EXPECT_EQ(with_dynamic(203 * 1024), "");
  EXPECT_TRUE(contains(with_dynamic(203 * 1024 + 16), "more than the 232448 bytes"));
}

TEST(SharedMemory, TogetherTheyAreAskedForWhenTheyAreMoreThanThereIs) {
  for (const std::size_t bytes : {24 * 1024, 24 * 1024 + 16, 48 * 1024}) {
    Device device(fresh_gpu());
    Stream stream(device);
    for (int again = 0; again < 2; ++again) {  // before it is known what the kernel declares, and after
      launch("some", declare_some, {dim3(1), dim3(32), bytes}, stream);
      stream.synchronize();
    }
  }
}

// As launch() without asking.
std::string launch_directly(std::size_t bytes) {
  Device device(fresh_gpu());
  Stream stream(device);
  const Range range("direct");
  const cudaLaunchConfig_t config = {dim3(1), dim3(32), bytes, stream.get(), nullptr, 0};
  try {
    check(cudaLaunchKernelEx(&config, declare_some), "launch");
    stream.synchronize();
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "";
}

TEST(SharedMemory, WhatIsNotAskedForIsRefused) {
  EXPECT_EQ(launch_directly(24 * 1024), "");
  EXPECT_TRUE(contains(launch_directly(24 * 1024 + 16), "kernel direct: cannot be launched: it declares 24576 bytes"));
  EXPECT_TRUE(contains(launch_directly(48 * 1024 + 16), "49168 bytes of dynamic shared memory, 49152 are there"));
}

__global__ void write_declared(int index) {
  TEMPER_SHARED(float, values, [5]);
  TEMPER_SHARED(float, others, [5]);
  others[0] = 0.0f;
  values[0] = 0.0f;
  float* pointer = values;
  pointer[index] = 1.0f;
}

__global__ void write_dynamic(int index) { dynamic_shared<float>()[index] = 1.0f; }

// With AddressSanitizer the write itself is reported, without it the end of the block.
void expect_found(void (*kernel)(int), std::size_t dynamic_bytes, int index) {
  const LaunchShape shape{dim3(1), dim3(1), dynamic_bytes};
  EXPECT_EQ(fault_of({.os_threads = 1}, shape, kernel, 4), "");
  if (address_sanitizer)
    EXPECT_DEATH(run({.os_threads = 1}, shape, kernel, index), "use-after-poison");
  else
    EXPECT_TRUE(contains(fault_of({}, shape, kernel, index), "wrote behind the end of an array in shared memory"));
}

TEST(SharedMemoryDeathTest, AWriteBehindAnArrayIsFound) {
  expect_found(write_declared, 0, 5);
  expect_found(write_declared, 0, -1);
  expect_found(write_dynamic, 5 * sizeof(float), 5);
}

}  // namespace
}  // namespace temper::emulated
