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
  std::string path = folder / "gpu_choices";
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
  const std::string both = read_file(path);
  record_gpu_check(path, key);  // once is enough
  EXPECT_EQ(read_file(path), both);
  EXPECT_TRUE(gpu_check_recorded(path, key));
  EXPECT_TRUE(gpu_check_recorded(path, other));
}

TEST_F(GpuCheckRecord, DamagedFilesSayNothing) {
  record_gpu_check(path, key);
  const std::string whole = read_file(path);
  std::string damaged = whole;
  damaged[damaged.find("H200")] = 'X';
  const std::string cut = whole.substr(0, whole.size() - 4);
  for (const std::string& text : {std::string(), "\n" + key + "\n", damaged, cut, std::string(3 << 20, '\n')}) {
    std::ofstream(path, std::ios::trunc) << text;
    EXPECT_FALSE(gpu_check_recorded(path, key)) << text.substr(0, 100);
  }
  std::ofstream(path, std::ios::trunc) << cut;
  record_gpu_check(path, key);
  EXPECT_TRUE(gpu_check_recorded(path, key));
  EXPECT_FALSE(gpu_check_recorded("", key));
  EXPECT_FALSE(gpu_check_recorded(folder / "", key));
}

TEST_F(GpuCheckRecord, CannotBeWritten) {
  EXPECT_THROW(record_gpu_check("", key), Error);
  EXPECT_THROW(record_gpu_check(folder / "missing/gpu_choices", key), Error);
  std::ofstream(path) << "somebody's\n";
  EXPECT_THROW(record_gpu_check(path, key), Error);
  EXPECT_EQ(read_file(path), "somebody's\n");
}

}  // namespace
}  // namespace temper
