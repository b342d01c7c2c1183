#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <filesystem>
#include <fstream>
#include <optional>

#include "bench/kernel_bench.h"
#include "cli/commands.h"
#include "cli/device_check.h"
#include "cli/ranks_check.h"
#include "distributed/communicator.h"
#include "io/file.h"
#include "io/text.h"
#include "train/device_peak.h"

namespace temper {

namespace {

constexpr const char* whole_check = "scripts/gpu_check.sh";

std::string rates(const char* source, double bf16, double f32, double bytes) {
  return fmt::format("peak ({}): bf16 {:.1f} TFLOP/s, fp32 {:.1f} TFLOP/s, memory {:.2f} TB/s", source, bf16 / 1e12, f32 / 1e12,
                     bytes / 1e12);
}

// What a GPU can do at best: as its maker says, or measured; never guessed from its properties.
std::string peak_of_gpu(Ops& gpu) {
  if (const std::optional<DevicePeak> peak = published_peak(cuda_device()))
    return rates("data sheet", peak->bf16_flops_per_second, peak->f32_flops_per_second, peak->bytes_per_second);
  const Ceilings bf16 = bench_ceilings(Precision::bf16, gpu);
  const Ceilings f32 = bench_ceilings(Precision::fp32, gpu);
  return rates("measured now, this GPU is not in the table", bf16.flops_per_second, f32.flops_per_second, bf16.bytes_per_second);
}

struct DoctorArguments {
  bool gpu_checked = false, check = false, ranks = false;
  std::string device = "auto";
  std::int64_t mebibytes = 64;
  std::string precision;
  std::int64_t gpu = 0;
  std::vector<std::string> operations;
  std::vector<std::size_t> without;
};

void need_gpu(const char* option) {
  std::string reason;
  if (!cuda_available(&reason)) throw Error(ExitCode::usage, std::string(option) + ": " + reason);
}

std::string machine_key(const DeviceInfo& gpu) { return gpu_check_key(gpu, nvidia_driver(), version_and_build); }

void check_each_precision(const DoctorArguments& arguments) {
  need_gpu("--check");
  if (!arguments.precision.empty()) return check_gpu_now({parse_precision(arguments.precision), arguments.gpu});
  std::exception_ptr first;
  for (const Precision each : {Precision::fp32, Precision::tf32, Precision::bf16}) {
    try {
      check_gpu_now({each, arguments.gpu});
    } catch (const Error&) {
      if (!first) first = std::current_exception();
    }
  }
  if (first) std::rethrow_exception(first);
}

std::string report() {
  const std::unique_ptr<Ops> cpu = make_cpu_ops();
  const DeviceInfo& info = cpu->device();
  std::string reason;
  const bool cuda = cuda_available(&reason);
  std::string text = fmt::format("temper {}\n", version_and_build);
  text += fmt::format("cpu         {}, {} threads (OMP_NUM_THREADS changes that)\n", info.name, info.threads);
  text += fmt::format("            {}\n            memory {}\n", info.features, format_bytes(info.memory));
  text += fmt::format(
      "            precision bf16: {}\n",
      info.fast_bf16 ? "yes" : "yes, but no faster than fp32 without AMX or AVX512-BF16; activations take half the memory");
  if (cuda) {
    const std::unique_ptr<Ops> gpu = make_cuda_ops({.choices_file = choices_file()});
    text += fmt::format("cuda        {}, {} multiprocessors\n", gpu->device().name, gpu->device().threads);
    text += fmt::format("            {}\n            memory {}\n", gpu->device().features, format_bytes(gpu->device().memory));
    text += fmt::format("            {}\n", peak_of_gpu(*gpu));
    text += known_of_gpu(0);
    text += gpu_check_recorded(choices_file(), machine_key(cuda_device()))
                ? "            scripts/gpu_check.sh found nothing wrong with this build here\n"
                : "            scripts/gpu_check.sh, which looks closer, has not been run with this build here\n";
  } else {
    text += "cuda        not available: " + reason + "\n";
    if (const std::string driver = nvidia_driver(); !driver.empty()) text += "            the driver: " + driver + "\n";
  }
  text += fmt::format("ranks       on CPUs over MPI: {}; on GPUs over NCCL: {}\n", mpi_is_built() ? "yes" : "no, built without MPI",
                      nccl_is_built() ? "yes" : "no, built without NCCL");
  text += fmt::format("device=auto uses {}\n", cuda ? "cuda" : "cpu");
  return text + fmt::format("disk here   {} free\n", format_bytes(free_bytes(std::filesystem::current_path())));
}

}  // namespace

std::string gpu_check_key(const DeviceInfo& gpu, const std::string& driver, const std::string& build) {
  return gpu.name + "; " + gpu.features + "; " + driver + "; " + build;
}

std::string nvidia_driver() {
  std::ifstream file("/proc/driver/nvidia/version");
  std::string line;
  std::getline(file, line);
  return line;
}

bool gpu_check_recorded(const std::string& path, const std::string& key) {
  return ChoiceCache(path, key).find(whole_check).has_value();
}

void record_gpu_check(const std::string& path, const std::string& key) {
  if (path.empty())
    throw Error(ExitCode::io,
                "there is no cache folder to remember the check in: set HOME or XDG_CACHE_HOME to a folder that can be written");
  ChoiceCache(path, key).put(whole_check, "nothing wrong");
  if (!gpu_check_recorded(path, key))
    throw Error(ExitCode::io, "{}: the check cannot be remembered there; it is no file of temper's, or cannot be written", path);
}

void add_doctor_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("doctor", "Say what this machine has and what temper will use");
  auto arguments = std::make_shared<DoctorArguments>();
  command->add_flag("--check", arguments->check,
                    "Hold every operation of the GPU against a reference now; runs go by what is found");
  command->add_option("--precision", arguments->precision, "With --check: fp32, bf16 or tf32 alone");
  command->add_option("--gpu", arguments->gpu, "With --check: which of the GPUs")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  CLI::Option* ranks = command->add_flag("--ranks", arguments->ranks,
                                         "Under mpirun, srun or torchrun: who the ranks are, and how fast they reach one another");
  command->add_option("--device", arguments->device, "With --ranks: auto, cpu or cuda")->capture_default_str()->needs(ranks);
  command->add_option("--mib", arguments->mebibytes, "With --ranks: size of the all-reduce")
      ->capture_default_str()
      ->needs(ranks)
      ->check(CLI::Range(1, 4096));
  command->add_flag("--gpu-checked", arguments->gpu_checked)->group("");  // scripts/gpu_check.sh, where it found nothing wrong
  // What starts this program to check (cli/device_check.cpp).
  command->add_option("--operation", arguments->operations)->group("");
  command->add_option("--without", arguments->without)->group("")->check(CLI::Range(std::size_t{0}, fast_ways.size() - 1));
  command->callback([arguments] {
    if (!arguments->operations.empty()) {
      std::vector<Fast> without;
      for (const std::size_t way : arguments->without) without.push_back(static_cast<Fast>(way));
      check_operations_here(arguments->operations, {parse_precision(arguments->precision), arguments->gpu}, without);
    }
    if (arguments->ranks) return write_output(check_ranks(arguments->mebibytes, parse_device(arguments->device)));
    if (arguments->check) return check_each_precision(*arguments);
    if (!arguments->gpu_checked) return write_output(report());
    need_gpu("--gpu-checked");
    record_gpu_check(choices_file(), machine_key(cuda_device()));
  });
}

}  // namespace temper
