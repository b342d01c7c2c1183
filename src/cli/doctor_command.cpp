#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>

#include "bench/kernel_bench.h"
#include "cli/commands.h"
#include "distributed/communicator.h"
#include "io/file.h"
#include "io/text.h"
#include "train/device_peak.h"

namespace temper {

namespace {

constexpr std::size_t largest_file = std::size_t{1} << 20;  // thousands of checks
constexpr const char* first_line = "temper gpu checks 1\n";

// The file's lines, each with its end; only the first one where there is no such file yet.
std::string recorded(const std::string& path) {
  try {
    std::string text = read_file(path, largest_file);
    text.resize(text.rfind('\n') + 1);  // a line that was cut off is none
    return text.starts_with(first_line) ? text : first_line;
  } catch (const Error&) {
    return first_line;
  }
}

std::string rates(const char* source, double bf16, double f32, double bytes) {
  return fmt::format("peak ({}): bf16 {:.1f} TFLOP/s, fp32 {:.1f} TFLOP/s, memory {:.2f} TB/s", source, bf16 / 1e12, f32 / 1e12,
                     bytes / 1e12);
}

// What a GPU can do at best: as its maker says, or measured; never guessed from its properties.
std::string peak_of_gpu(Ops& gpu) {
  if (const std::optional<DevicePeak> peak = published_peak(gpu.device()))
    return rates("data sheet", peak->bf16_flops_per_second, peak->f32_flops_per_second, peak->bytes_per_second);
  const Ceilings bf16 = bench_ceilings(Precision::bf16, gpu);
  const Ceilings f32 = bench_ceilings(Precision::fp32, gpu);
  return rates("measured now, this GPU is not in the table", bf16.flops_per_second, f32.flops_per_second, bf16.bytes_per_second);
}

void remember_gpu_check() {
  std::string reason;
  if (!cuda_available(&reason)) throw Error(ExitCode::usage, "--gpu-checked: " + reason);
  const std::unique_ptr<Ops> gpu = make_cuda_ops({choices_file()});
  record_gpu_check(cache_file("gpu_checks"), gpu_check_key(gpu->device(), nvidia_driver(), version_and_build));
}

std::string report() {
  const std::unique_ptr<Ops> cpu = make_cpu_ops();
  const DeviceInfo& info = cpu->device();
  std::string reason;
  const bool cuda = cuda_available(&reason);
  std::string text = fmt::format("temper {}\n", version_and_build);
  text += fmt::format("cpu         {}, {} threads (OMP_NUM_THREADS changes that)\n", info.name, info.threads);
  text += fmt::format("            {}\n            memory {}\n", info.features, format_bytes(info.memory));
  text += fmt::format("            precision bf16: {}\n", info.bf16 ? "yes" : "no, this processor has neither AMX nor AVX512-BF16");
  if (cuda) {
    const std::unique_ptr<Ops> gpu = make_cuda_ops({choices_file()});
    text += fmt::format("cuda        {}, {} multiprocessors\n", gpu->device().name, gpu->device().threads);
    text += fmt::format("            {}\n            memory {}\n", gpu->device().features, format_bytes(gpu->device().memory));
    text += fmt::format("            {}\n", peak_of_gpu(*gpu));
    const bool checked =
        gpu_check_recorded(cache_file("gpu_checks"), gpu_check_key(gpu->device(), nvidia_driver(), version_and_build));
    text += checked ? "            scripts/gpu_check.sh found nothing wrong with this build here\n"
                    : "            this build has not been checked on this GPU and driver: run scripts/gpu_check.sh\n";
  } else {
    text += "cuda        not available: " + reason + "\n";
  }
  text += fmt::format("ranks       on CPUs over MPI: {}; on GPUs over NCCL: {}\n", mpi_is_built() ? "yes" : "no, built without MPI",
                      nccl_is_built() ? "yes" : "no, built without NCCL");
  text += fmt::format("device=auto uses {}\n", cuda ? "cuda" : "cpu");
  return text + fmt::format("disk here   {} free\n", format_bytes(free_bytes(std::filesystem::current_path())));
}

}  // namespace

std::string gpu_check_key(const DeviceInfo& gpu, const std::string& driver, const std::string& build) {
  std::string key = gpu.name + "; " + gpu.features + "; " + driver + "; " + build;
  std::replace(key.begin(), key.end(), '\n', ' ');
  return key;
}

std::string nvidia_driver() {
  std::ifstream file("/proc/driver/nvidia/version");
  std::string line;
  std::getline(file, line);
  return line;
}

bool gpu_check_recorded(const std::string& path, const std::string& key) {
  return recorded(path).find("\n" + key + "\n") != std::string::npos;
}

void record_gpu_check(const std::string& path, const std::string& key) {
  if (path.empty())
    throw Error(ExitCode::io,
                "there is no cache folder to remember the check in: set HOME or XDG_CACHE_HOME to a folder that can be written");
  if (!gpu_check_recorded(path, key)) write_file_atomically(path, recorded(path) + key + "\n");
}

void add_doctor_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("doctor", "Say what this machine has and what temper will use");
  auto checked = std::make_shared<bool>(false);
  command->add_flag("--gpu-checked", *checked)->group("");  // scripts/gpu_check.sh, where it found nothing wrong
  command->callback([checked] { *checked ? remember_gpu_check() : write_output(report()); });
}

}  // namespace temper
