#include "train/device_peak.h"

#include <gtest/gtest.h>

namespace temper {
namespace {

std::optional<DevicePeak> peak_of(const std::string& name) {
  DeviceInfo device;
  device.backend = "cuda";
  device.name = name;
  return published_peak(device);
}

TEST(DevicePeak, KnowsTheNamesThatDriversGive) {
  EXPECT_EQ(peak_of("NVIDIA H200")->bytes_per_second, 4.8e12);
  EXPECT_EQ(peak_of("NVIDIA H100 80GB HBM3")->bf16_flops_per_second, 989.4e12);
  EXPECT_EQ(peak_of("NVIDIA H100 PCIe")->bf16_flops_per_second, 756e12);
  EXPECT_DOUBLE_EQ(peak_of("NVIDIA A100-SXM4-80GB")->bytes_per_second, 2.039e12);
  EXPECT_DOUBLE_EQ(peak_of("NVIDIA A100-SXM4-40GB")->bytes_per_second, 1.555e12);
  EXPECT_DOUBLE_EQ(peak_of("NVIDIA GeForce RTX 4090")->bf16_flops_per_second, 165.2e12);
  EXPECT_EQ(peak_of("NVIDIA L4")->bf16_flops_per_second, 121e12);
  EXPECT_EQ(peak_of("NVIDIA B200")->bytes_per_second, 8e12);
}

TEST(DevicePeak, GuessesNothing) {
  EXPECT_FALSE(peak_of("NVIDIA L40S"));
  EXPECT_FALSE(peak_of("NVIDIA GB200"));
  EXPECT_FALSE(peak_of("NVIDIA GeForce RTX 4060"));
  DeviceInfo cpu;
  cpu.backend = "cpu";
  cpu.name = "H200";
  EXPECT_FALSE(published_peak(cpu));
  EXPECT_FALSE(model_flops_utilisation(cpu, DType::bf16, 1e12));
}

TEST(DevicePeak, UtilisationIsAShareOfTheTypesPeak) {
  DeviceInfo device;
  device.backend = "cuda";
  device.name = "NVIDIA H200";
  EXPECT_DOUBLE_EQ(*model_flops_utilisation(device, DType::bf16, 494.7e12), 0.5);
  EXPECT_DOUBLE_EQ(*model_flops_utilisation(device, DType::f32, 33.45e12), 0.5);
  DeviceInfo tf32 = device;
  tf32.tf32 = true;
  EXPECT_DOUBLE_EQ(*model_flops_utilisation(tf32, DType::f32, 494.7e12), 1.0);
}

TEST(TrainingFlops, OperationsOfARunKnowHowLongSequencesAre) {
  RunConfig config;
  config.model = {.n_layer = 12, .n_head = 12, .n_embd = 768, .n_ctx = 1024, .vocab_size = 50257};
  config.batch = {524288, 4};
  config.train.steps = 30;
  const double tokens = 524288, per_position = 6.0 * 12 * 768, weights = 6.0 * 124'475'904.0;
  EXPECT_DOUBLE_EQ(training_flops(config), 30 * tokens * (weights + 1024 * per_position));
  config.schedule.context_warmup_steps = 16;
  config.schedule.context_start = 256;  // 512 from a third of the way on
  EXPECT_DOUBLE_EQ(training_flops(config), tokens * (30 * weights + (6 * 256 + 10 * 512 + 14 * 1024) * per_position));
}

}  // namespace
}  // namespace temper
