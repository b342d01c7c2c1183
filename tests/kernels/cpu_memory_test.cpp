// Allocation, and what the CPU backend says about its machine.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "kernels/check.h"
#include "kernels/support/backends.h"

namespace temper {
namespace {

TEST(CpuMemory, IsAligned) {
  const auto ops = make_cpu_ops();
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{1000}, std::size_t{5} << 20}) {
    void* memory = ops->allocate(bytes);
    ASSERT_NE(memory, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory) % 256, 0u) << bytes;
    ops->release(memory);
  }
  ops->release(nullptr);
}

TEST(CpuMemory, RefusesMoreThanTheMachineHas) {
  const auto ops = make_cpu_ops();
  const std::size_t half = ops->device().memory / 2 + 1;
  void* first = ops->allocate(half);  // granted, never touched
  try {
    ops->allocate(half);
    FAIL() << "two halves and a bit were granted";
  } catch (const OutOfMemory& error) {
    EXPECT_NE(std::string(error.what()).find(std::to_string(half)), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find(std::to_string(ops->device().memory)), std::string::npos) << error.what();
  }
  ops->release(first);
  ops->release(ops->allocate(half));
  EXPECT_THROW(ops->allocate(SIZE_MAX), OutOfMemory);
}

TEST(CpuDevice, DescribesTheMachine) {
  const auto ops = make_cpu_ops();
  const DeviceInfo& device = ops->device();
  EXPECT_EQ(device.backend, "cpu");
  EXPECT_FALSE(device.name.empty());
  EXPECT_NE(device.features.find(cpu::name_of(cpu::best_isa())), std::string::npos) << device.features;
  EXPECT_GE(device.threads, 1);
  EXPECT_GT(device.memory, std::size_t{1} << 26);
  EXPECT_TRUE(device.bf16);
  EXPECT_EQ(device.fast_bf16, cpu::best_isa() >= cpu::Isa::avx512);
}

}  // namespace
}  // namespace temper
