#include <gtest/gtest.h>

#include <fstream>

#include "cli/commands.h"
#include "io/error.h"
#include "io/file.h"
#include "tests/io/temporary_folder.h"

namespace temper {
namespace {

class GpuCheckRecord : public testing::Test {
 protected:
  TemporaryFolder folder;
  std::string path = folder / "gpu_checks";
  DeviceInfo gpu;
  std::string key;

  GpuCheckRecord() {
    gpu.name = "NVIDIA H200";
    gpu.features = "compute capability 9.0, CUDA 13.0, driver for CUDA 13.0";
    key = gpu_check_key(gpu, "NVRM 580.1", "temper 0.1.0, commit abc");
  }
};

TEST_F(GpuCheckRecord, HoldsForThisGpuDriverAndBuildAlone) {
  EXPECT_FALSE(gpu_check_recorded(path, key));
  record_gpu_check(path, key);
  EXPECT_TRUE(gpu_check_recorded(path, key));
  EXPECT_FALSE(gpu_check_recorded(path, gpu_check_key(gpu, "NVRM 580.2", "temper 0.1.0, commit abc")));
  EXPECT_FALSE(gpu_check_recorded(path, gpu_check_key(gpu, "NVRM 580.1", "temper 0.1.0, commit abcd")));
  EXPECT_FALSE(gpu_check_recorded(path, gpu_check_key(gpu, "NVRM 580.1", "temper 0.1.0, commit ab"))) << "the start of a line";
  gpu.name = "NVIDIA H200 NVL";
  const std::string other = gpu_check_key(gpu, "NVRM 580.1", "temper 0.1.0, commit abc");
  EXPECT_FALSE(gpu_check_recorded(path, other));
  record_gpu_check(path, other);
  record_gpu_check(path, key);  // once is enough
  EXPECT_EQ(read_file(path), "temper gpu checks 1\n" + key + "\n" + other + "\n");
}

TEST_F(GpuCheckRecord, DamagedFilesSayNothing) {
  for (const std::string& text : {std::string(), "\n" + key + "\n", "temper gpu checks 1\n" + key, std::string(3 << 20, '\n')}) {
    std::ofstream(path, std::ios::trunc) << text;
    EXPECT_FALSE(gpu_check_recorded(path, key)) << text.substr(0, 100);
    record_gpu_check(path, key);
    EXPECT_TRUE(gpu_check_recorded(path, key)) << text.substr(0, 100);
  }
  EXPECT_FALSE(gpu_check_recorded("", key));
  EXPECT_FALSE(gpu_check_recorded(folder / "", key));
  EXPECT_THROW(record_gpu_check("", key), Error);
  EXPECT_THROW(record_gpu_check(folder / "missing/gpu_checks", key), Error);
}

}  // namespace
}  // namespace temper
