#include <CLI/CLI.hpp>

#include "bench/kernel_bench.h"
#include "bench/report.h"
#include "bench/step_bench.h"
#include "cli/commands.h"
#include "io/file.h"
#include "train/progress.h"

namespace temper {

namespace {

// What both benchmarks are asked for; the settings hold the rest.
struct Arguments {
  std::string device = "auto";
  std::string precision = "fp32";
  std::string json;
};

struct StepArguments : Arguments {
  StepBenchSettings settings;
};

struct KernelArguments : Arguments {
  KernelBenchSettings settings;
  std::int64_t batch = 4;
  std::int64_t context = 256;
};

struct CompareArguments {
  std::string before, after;
};

void add_workload(CLI::App& command, Arguments& arguments, std::string& model, std::int64_t& batch, std::int64_t& context) {
  constexpr int largest = 65536;  // products of both with a model's sizes stay far below 2^63
  command.add_option("--model", model, named_models_text())->capture_default_str();
  command.add_option("--batch", batch, "Sequences")->capture_default_str()->check(CLI::Range(1, largest));
  command.add_option("--context", context, "Tokens of a sequence")->capture_default_str()->check(CLI::Range(1, largest));
  command.add_option("--precision", arguments.precision, "fp32, bf16 or tf32")->capture_default_str();
  command.add_option("--device", arguments.device, "auto, cpu or cuda")->capture_default_str();
  command.add_option("--json", arguments.json, "Also write the result to this file, in Google Benchmark's form");
}

void run_step(StepArguments arguments) {
  arguments.settings.precision = parse_precision(arguments.precision);
  const std::unique_ptr<Ops> ops = open_device(parse_device(arguments.device), arguments.settings.precision, DeviceUse::training);
  const StepBenchResult result = bench_step(arguments.settings, *ops);
  if (!arguments.json.empty()) write_file_atomically(arguments.json, to_json(result, commit));
  write_output(to_text(result));
}

void add_step(CLI::App& command) {
  auto arguments = std::make_shared<StepArguments>();
  StepBenchSettings& settings = arguments->settings;
  CLI::App* step = command.add_subcommand("step", "Time whole training steps: forward, backward, clip, update");
  add_workload(*step, *arguments, settings.model, settings.batch, settings.context);
  step->add_option("--warmup", settings.warmup, "Steps not counted")->capture_default_str()->check(CLI::NonNegativeNumber);
  step->add_option("--steps", settings.steps, "Steps counted")->capture_default_str()->check(CLI::PositiveNumber);
  step->callback([arguments] { run_step(*arguments); });
}

void run_kernels(KernelArguments arguments) {
  KernelBenchSettings& settings = arguments.settings;
  settings.precision = parse_precision(arguments.precision);
  if (settings.model == "tiny") settings.ceilings = {.copy_bytes = 1 << 16, .matmul_extent = 64};  // it is for tests of scripts
  settings.dimensions = dimensions_of(named_model(settings.model, arguments.context), arguments.batch, arguments.context);
  choose_cases(settings.dimensions, settings.ops);  // a wrong name is said before a device is opened
  const std::unique_ptr<Ops> ops = open_device(parse_device(arguments.device), settings.precision, DeviceUse::training);
  Progress progress(1, 1);
  // Each case is in the file as soon as it was measured: whatever ends this process leaves what it has.
  const auto on_case = [&](const std::string& name, double share, const KernelBenchResult& so_far) {
    if (!arguments.json.empty() && share > 0.0) write_file_atomically(arguments.json, to_json(so_far, commit));
    progress.activity(name, share);
  };
  const KernelBenchResult result = bench_kernels(settings, *ops, on_case);
  progress.clear();
  if (!arguments.json.empty()) write_file_atomically(arguments.json, to_json(result, commit));
  write_output(to_text(result));
}

void add_kernels(CLI::App& command) {
  auto arguments = std::make_shared<KernelArguments>();
  KernelBenchSettings& settings = arguments->settings;
  CLI::App* kernels = command.add_subcommand("kernels", "Time each operation beside what copies and matmuls reach on this machine");
  kernels->add_option("--op", settings.ops, "Only this operation; may be given several times (default: all)")
      ->allow_extra_args(false);
  add_workload(*kernels, *arguments, settings.model, arguments->batch, arguments->context);
  kernels->add_option("--repetitions", settings.repetitions, "Measurements of each case")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  kernels->add_option("--min-time", settings.min_seconds, "Seconds of each case, all repetitions together")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 3600.0));
  kernels->add_flag("--warm-cache", settings.warm_cache, "Use the same buffers again and again, so that caches hold small ones");
  kernels->callback([arguments] { run_kernels(*arguments); });
}

void add_compare(CLI::App& command) {
  auto arguments = std::make_shared<CompareArguments>();
  CLI::App* compare = command.add_subcommand("compare", "Show what changed between two results written with --json");
  compare->add_option("before", arguments->before, "Result to compare with")->required();
  compare->add_option("after", arguments->after, "Result that may be faster or slower")->required();
  compare->callback([arguments] {
    const auto read = [](const std::string& path) { return NamedReport{path, parse_report(read_file(path), path)}; };
    write_output(compare_reports(read(arguments->before), read(arguments->after)));
  });
}

}  // namespace

void add_bench_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("bench", "Measure how fast training steps and operations are");
  command->require_subcommand(1);
  add_step(*command);
  add_kernels(*command);
  add_compare(*command);
}

}  // namespace temper
