#include <CLI/CLI.hpp>
#include <filesystem>

#include "cli/commands.h"
#include "io/file.h"
#include "train/progress.h"

namespace temper {

namespace {

std::string report() {
  const std::unique_ptr<Ops> cpu = make_cpu_ops();
  const DeviceInfo& info = cpu->device();
  std::string reason;
  const bool cuda = cuda_available(&reason);
  std::string text = "temper " TEMPER_VERSION ", " TEMPER_BUILD "\n";
  text += "cpu         " + info.name + ", " + std::to_string(info.threads) + " threads (OMP_NUM_THREADS changes that)\n";
  text += "            " + info.features + "\n";
  text += "            memory " + format_bytes(info.memory) + "\n";
  text += std::string("            precision bf16: ") + (info.bf16 ? "yes" : "no, this processor has neither AMX nor AVX512-BF16") +
          "\n";
  text += "cuda        " + (cuda ? describe_device(make_cuda_ops()->device()) : "not available: " + reason) + "\n";
  text += std::string("device=auto uses ") + (cuda ? "cuda" : "cpu") + "\n";
  text += "disk here   " + format_bytes(free_bytes(std::filesystem::current_path())) + " free\n";
  return text;
}

}  // namespace

void add_doctor_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("doctor", "Say what this machine has and what temper will use");
  command->callback([] { write_output(report()); });
}

}  // namespace temper
