#include <CLI/CLI.hpp>

#include "bench/step_bench.h"
#include "cli/commands.h"
#include "io/file.h"

namespace temper {

namespace {

struct StepArguments {
  StepBenchSettings settings;
  std::string device = "auto";
  std::string precision = "fp32";
  std::string json;
};

void run_step(StepArguments arguments) {
  arguments.settings.precision = parse_precision(arguments.precision);
  const std::unique_ptr<Ops> ops = open_device(parse_device(arguments.device), arguments.settings.precision);
  const StepBenchResult result = bench_step(arguments.settings, *ops);
  if (!arguments.json.empty()) write_file_atomically(arguments.json, to_json(result));
  write_output(to_text(result));
}

void add_step(CLI::App& command) {
  auto arguments = std::make_shared<StepArguments>();
  CLI::App* step = command.add_subcommand("step", "Time whole training steps: forward, backward, clip, update");
  step->add_option("--model", arguments->settings.model, "124m, 350m, 774m or 1558m")->capture_default_str();
  step->add_option("--batch", arguments->settings.batch, "Sequences")->capture_default_str()->check(CLI::PositiveNumber);
  step->add_option("--context", arguments->settings.context, "Tokens of a sequence")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  step->add_option("--precision", arguments->precision, "fp32 or bf16")->capture_default_str();
  step->add_option("--device", arguments->device, "auto, cpu or cuda")->capture_default_str();
  step->add_option("--warmup", arguments->settings.warmup, "Steps not counted")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  step->add_option("--steps", arguments->settings.steps, "Steps counted")->capture_default_str()->check(CLI::PositiveNumber);
  step->add_option("--json", arguments->json, "Also write the result to this file, in Google Benchmark's form");
  step->callback([arguments] { run_step(*arguments); });
}

}  // namespace

void add_bench_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("bench", "Measure throughput");
  command->require_subcommand(1);
  add_step(*command);
}

}  // namespace temper
