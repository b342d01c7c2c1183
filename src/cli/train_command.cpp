#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>

#include "cli/commands.h"
#include "cli/own_ranks.h"
#include "config/parse.h"
#include "config/resolved.h"
#include "config/validate.h"
#include "distributed/communicator.h"
#include "io/file.h"
#include "io/text.h"
#include "kernels/gpu_plan.h"
#include "sweep/metric.h"
#include "train/agreement.h"
#include "train/hook.h"
#include "train/trainer.h"

namespace temper {

namespace fs = std::filesystem;

namespace {

struct TrainArguments {
  std::string config;
  std::vector<std::string> overrides;
  std::string out;
  bool resume = false;
  bool start_over = false;
  bool dry_run = false;
  std::string planned_gpu;
  std::int64_t ranks = 0;
  double planned_rate = 0.0;
  std::vector<std::string> allowed_changes;
  std::string profiled;
  std::string stop_when;
  std::string hook;
};

std::string result_line(const TrainSummary& summary) {
  std::string out;
  if (summary.val_loss) {
    out += fmt::format("validation loss {:.4f} nats per token", *summary.val_loss);
    if (summary.bits_per_byte) out += fmt::format(", {:.4f} bits per byte", *summary.bits_per_byte);
    if (summary.first_val_loss) {
      const double change = 100.0 * (*summary.val_loss / *summary.first_val_loss - 1.0);
      out += fmt::format(" ({:.4f} before training, {:.1f} % {})", *summary.first_val_loss, std::abs(change),
                         change > 0.0 ? "higher" : "lower");
    }
    out += "\n";
  }
  if (summary.stopped_at)
    out +=
        fmt::format("stopped at step {} as --stop-when says; with --resume and without it the run goes on\n", *summary.stopped_at);
  return out + "checkpoint " + shown(summary.checkpoint.string()) + "\n";
}

/// "10:12" of --profile-steps, in a run of so many steps.
std::optional<StepRange> parse_profiled(const std::string& text, std::int64_t steps) {
  if (text.empty()) return std::nullopt;
  const std::size_t colon = text.find(':');
  const auto number = [](std::string_view digits) {
    std::int64_t value = 0;
    const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return failed == std::errc() && end == digits.data() + digits.size() ? value : 0;
  };
  StepRange range = {0, 0};
  if (colon != std::string::npos)
    range = {number(std::string_view(text).substr(0, colon)), number(std::string_view(text).substr(colon + 1))};
  if (range.first < 1 || range.first > range.last || range.last > steps)
    throw Error(ExitCode::usage, "--profile-steps " + text + ": expected A:B, the first and the last step, with 1 <= A <= B <= " +
                                     std::to_string(steps) + ", the steps of this run; give others, or raise train.steps");
  return range;
}

std::optional<StopCondition> read_stop_condition(const std::string& text, const RunConfig& config, const Launch& launch) {
  if (text.empty()) return std::nullopt;
  if (launch.size > 1)
    throw Error(ExitCode::usage,
                "--stop-when \"{}\": of {} ranks only one writes the lines that it is judged by; run with one, or without it", text,
                launch.size);
  const Formula formula = stop_condition(text, "--stop-when");
  for (const std::string& key : formula.keys())
    if (const std::string problem = metric_problem(find_metric(key), config, "in --stop-when"); !problem.empty())
      throw Error(ExitCode::usage, problem);
  const auto holds = [formula](const auto& latest) { return formula.holds_so_far(latest); };
  return StopCondition{text, holds};
}

/// The ranks that the launcher started, over NCCL on GPUs and MPI elsewhere; where it started one process, nobody.
std::unique_ptr<Communicator> join(const Launch& launch, const TrainOptions& options, Ops& ops) {
  const bool cpu = ops.device().backend == "cpu";
  if (options.config.parallel.deterministic && !cpu)
    throw Error(
        ExitCode::usage,
        "parallel.deterministic is true and the device is " + ops.device().backend +
            ": on a GPU, NCCL decides in which order ranks are added; use device=cpu, or set parallel.deterministic to false "
            "(the same number of ranks gives the same bits without it)");
  if (launch.size == 1) return make_self_communicator();
  CommunicatorSettings settings;
  settings.timeout = std::chrono::seconds(options.config.parallel.timeout_seconds);
  const std::string key = hash_bytes(config_to_json(options.config) + (options.resume       ? "resume"
                                                                       : options.start_over ? "start over"
                                                                                            : "start"));
  return cpu ? make_mpi_communicator(launch, key, settings) : make_nccl_communicator(launch, key, settings, ops);
}

/// Trains with the others, who are told when this rank alone has a reason to end.
TrainSummary train_together(const TrainOptions& options, Ops& ops, Communicator& ranks) {
  try {
    TrainSummary summary = train(options, ops, ranks);
    if (options.hook != nullptr) options.hook->finish("end", summary.interrupted ? ExitCode::saved : ExitCode::ok);
    ranks.meet("the command at the end (--hook)");
    return summary;
  } catch (const std::exception& error) {
    const bool of_all = dynamic_cast<const SharedError*>(&error) != nullptr;  // which each rank says itself
    const ExitCode code = exit_code_of(error);
    if (!of_all && code != ExitCode::distributed) ranks.fail(error.what());
    if (options.hook != nullptr) options.hook->finish("failure", code);
    throw;
  }
}

/// batch.micro_batch "auto": of a run that goes on what it began with, else the largest that fits, on the smallest GPU of all ranks.
std::int64_t decided_micro_batch(const TrainOptions& options, const Ops& ops, Communicator& ranks) {
  const fs::path saved = options.run_directory / "config.json";
  if (options.resume && fs::exists(saved)) return load_config(saved).batch.micro_batch;
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  for (const std::string& each :
       ranks.exchange(std::to_string(largest_micro_batch(options.config, ops, ranks)), "batch.micro_batch"))
    least = std::min<std::int64_t>(least, std::stoll(each));
  return std::max<std::int64_t>(least, 1);  // where not even one fits, check_machine says what would
}

/// --dry-run for a machine that this is not.
std::string plan_elsewhere(RunConfig config, const TrainArguments& arguments) {
  const std::unique_ptr<Ops> ops = arguments.planned_gpu.empty()
                                       ? open_device(config.device, config.precision, DeviceUse::training, config.device_check)
                                       : make_planned_gpu(gpu_model(arguments.planned_gpu));
  const std::unique_ptr<Communicator> ranks = make_planned_communicator(std::max<std::int64_t>(1, arguments.ranks));
  if (config.batch.micro_batch == 0)
    config.batch.micro_batch = std::max<std::int64_t>(1, largest_micro_batch(config, *ops, *ranks));
  return describe_run(config, *ops, describe_device(ops->device()), *ranks, arguments.planned_rate);
}

void run(const TrainArguments& arguments, ExitCode& exit_code) {
  TrainOptions options;
  std::vector<std::string> notes;
  options.config = load_config(arguments.config, arguments.overrides, &notes);
  options.run_directory = arguments.out.empty() ? "runs/" + options.config.name : arguments.out;
  options.resume = arguments.resume;
  options.start_over = arguments.start_over;
  options.allowed_changes = arguments.allowed_changes;
  options.program = version_and_build;
  options.profiled = parse_profiled(arguments.profiled, total_steps(resolved(options.config)));

  if (!arguments.planned_gpu.empty() || (arguments.dry_run && arguments.ranks > 0))
    return write_output(plan_elsewhere(options.config, arguments));
  const Launch launch = read_launch();
  if (arguments.ranks > 1) {
    if (launch.launcher != "none")
      throw Error(ExitCode::usage, "--ranks {}: {} has started this process, and with it all ranks; leave one of the two out",
                  arguments.ranks, launch.launcher);
    const DeviceChoice device = options.config.device;
    exit_code = static_cast<ExitCode>(run_own_ranks(
        arguments.ranks, device == DeviceChoice::cuda || (device == DeviceChoice::automatic && cuda_available(nullptr))));
    return;
  }
  options.stop_when = read_stop_condition(arguments.stop_when, options.config, launch);
  const std::unique_ptr<Ops> ops =
      open_device(options.config.device, options.config.precision, DeviceUse::training, options.config.device_check, launch);
  if (options.profiled && ops->device().backend == "cpu")
    throw Error(ExitCode::usage,
                "--profile-steps " + arguments.profiled +
                    ": it is for NVIDIA's profilers and needs device=cuda, and this run is on device cpu; leave it "
                    "out, and look at a CPU with: perf record -g temper train ...");
  const std::unique_ptr<Communicator> ranks = join(launch, options, *ops);
  if (options.config.batch.micro_batch == 0) options.config.batch.micro_batch = decided_micro_batch(options, *ops, *ranks);
  std::string plan = describe_run(options.config, *ops, describe_device(ops->device()), *ranks, arguments.planned_rate);
  for (const std::string& note : notes) plan += "warning     " + shown_message(note) + "\n";
  if (arguments.dry_run) {
    if (launch.rank == 0) write_output(plan);
    return;
  }
  if (launch.rank == 0) std::fputs(plan.c_str(), stderr);
  check_machine(options, *ops, *ranks);
  std::optional<Hook> hook;
  if (launch.rank == 0 && !arguments.hook.empty()) options.hook = &hook.emplace(arguments.hook, environment());
  const TrainSummary summary = train_together(options, *ops, *ranks);
  if (summary.interrupted) {
    exit_code = ExitCode::saved;
    return;
  }
  if (launch.rank == 0) tell_result(result_line(summary));
}

}  // namespace

void add_train_command(CLI::App& app, ExitCode& exit_code) {
  auto arguments = std::make_shared<TrainArguments>();
  CLI::App* command = app.add_subcommand("train", "Train a model as a configuration file says");
  command->add_option("config", arguments->config, "Configuration file (JSON)")->required();
  command->add_option("overrides", arguments->overrides, "section.key=value, over the file's values");
  command->add_option("--out", arguments->out, "Run directory (default: runs/NAME)");
  CLI::Option* resume = command->add_flag("--resume", arguments->resume, "Go on with the run in the run directory");
  command
      ->add_flag("--start-over", arguments->start_over,
                 "Begin at step 0; a run that the run directory holds stays there, its files under other names (metrics.jsonl.1)")
      ->excludes(resume);
  command->add_option("--allow-change", arguments->allowed_changes, "With --resume: a field that may differ from the saved run")
      ->allow_extra_args(false);
  CLI::Option* dry_run = command->add_flag("--dry-run", arguments->dry_run, "Print sizes, memory and operations, and stop");
  command
      ->add_option("--gpu", arguments->planned_gpu, "With --dry-run: as on this GPU, which need not be here: " + gpu_model_names())
      ->needs(dry_run);
  command
      ->add_option(
          "--ranks", arguments->ranks,
          "Train as so many ranks of this machine: GPUs over NCCL, CPUs under mpirun; with --dry-run: the plan of one of them")
      ->check(CLI::Range(1, 65536));
  command
      ->add_option("--tokens-per-second", arguments->planned_rate,
                   "With --dry-run: of all ranks together; says how long the run takes")
      ->needs(dry_run)
      ->check(CLI::PositiveNumber);
  command->add_option("--profile-steps", arguments->profiled,
                      "A:B, on a GPU: NVIDIA's profilers record from step A to step B (docs/profiling.md)");
  command->add_option(
      "--stop-when", arguments->stop_when,
      "A condition on a line of metrics.jsonl, such as \"loss > 9\": the run saves and ends where it holds (docs/sweeps.md)");
  command->add_option("--hook", arguments->hook,
                      "A shell command that is told of each checkpoint, of the end and of a failure (docs/reliability.md)");
  command->footer(
      "Examples:\n  temper train configs/quickstart.json\n"
      "  temper train configs/gpt2-124m.json optimizer.weight_decay=0.3 --out runs/decay-0.3\n"
      "  temper train configs/gpt2-124m.json --dry-run --gpu h100-80 --ranks 16 batch.micro_batch=auto\n"
      "  temper train configs/gpt2-124m.json --ranks 8   (the GPUs of one machine; of several: docs/distributed.md)\n"
      "Exit codes: 0 done, 2 configuration, 3 data, 4 checkpoint, 5 memory or threads, 6 loss not finite, 7 a rank is gone, 8 "
      "disk, 75 saved on a signal.");
  command->callback([arguments, &exit_code] { run(*arguments, exit_code); });
}

}  // namespace temper
