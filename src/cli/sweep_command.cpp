#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>

#include "cli/commands.h"
#include "config/validate.h"
#include "io/file.h"
#include "io/text.h"
#include "kernels/machine.h"
#include "sweep/executor.h"
#include "sweep/ranking_table.h"
#include "sweep/scheduler.h"
#include "sweep/slurm_executor.h"
#include "sweep/tables.h"
#include "train/start.h"
#include "train/trainer.h"

namespace temper {

namespace {

namespace fs = std::filesystem;

struct SweepArguments {
  std::string sweep;
  std::string out;
  std::string executor = "local";
  bool dry_run = false;
  bool status = false;
  bool retry_failed = false;
};

/// The GPUs a process started now would see.
std::vector<std::string> visible_gpus() {
  std::vector<std::string> gpus;
  if (const char* listed = std::getenv("CUDA_VISIBLE_DEVICES")) {
    std::istringstream names(listed);
    for (std::string name; std::getline(names, name, ',');)
      if (!name.empty()) gpus.push_back(name);
    return gpus;
  }
  while (fs::exists("/dev/nvidia" + std::to_string(gpus.size()))) gpus.push_back(std::to_string(gpus.size()));
  return gpus;
}

LocalMachine this_machine() {
  LocalMachine machine;
  machine.program = "/proc/self/exe";  // which stays this program when the file is replaced by a newer one
  machine.environment = environment();
  machine.cores = usable_processors();
  machine.threads_per_process = usable_threads();
  machine.gpus = visible_gpus();
  return machine;
}

std::unique_ptr<Executor> make_executor(const SweepArguments& arguments, const Sweep& sweep) {
  if (arguments.executor == "local") return std::make_unique<LocalExecutor>(this_machine(), sweep.file.resources);
  const SlurmSite site{fs::read_symlink("/proc/self/exe"), fs::current_path(), environment()};
  return std::make_unique<SlurmExecutor>(site, sweep.file, sweep.folder);
}

/// Refuses trials to come without data, or with other data than the finished ones had under the same names.
void check_data(const SweepPlan& plan) {
  SeenInputs seen = inputs_of(plan);
  std::set<std::string> looked_at;
  for (const PlannedTrial* planned : plan.trials()) {
    const RunConfig& config = planned->trial->config;
    std::string reads;  // all that opening it depends on
    for (const Field& field : config_fields())
      if (field.path.starts_with("data.") || field.path.starts_with("model.") || field.path.starts_with("eval.") ||
          field.path == "train.init_from" || field.path == "train.branch_from" || field.path == "schedule.name" ||
          field.path == "schedule.file")
        reads += to_text(get_field(field, config)) + "\n";
    if (planned->ended() || !looked_at.insert(reads).second) continue;
    seen.add(*planned->trial, RunData(config).inputs, "now there is");
    seen.add(*planned->trial, model_to_start_from(config.train), "now there is");
  }
}

/// Refuses trials whose file of rates does not hold their run, where nobody plans them (Needs).
void check_rates(const Sweep& sweep) {
  for (const Trial& trial : sweep.rungs.back())
    Schedule(trial.config.schedule, total_steps(trial.config), trial.config.batch.tokens_per_step);
}

/// Trials that have the memory of a device to themselves together.
std::int64_t sharing_a_device(const SweepResources& resources, const Ops& ops) {
  if (ops.device().backend == "cpu" || resources.gpus_per_trial == 0) return resources.trials_at_once;
  return std::clamp(static_cast<std::int64_t>(1.0 / resources.gpus_per_trial), std::int64_t{1}, resources.trials_at_once);
}

/// What the trials need of this machine's devices, which are opened to ask them, and given back.
class Needs {
 public:
  std::size_t memory_of(const RunConfig& config) { return planned_bytes(config, device(config), *alone_); }

  /// Refuses trials without their device, or without room side by side.
  void check(const Sweep& sweep) {
    for (const Trial& trial : sweep.rungs.back()) {
      const RunConfig& config = trial.config;
      const std::size_t room = device(config).device().memory;
      const auto together = static_cast<std::size_t>(sharing_a_device(sweep.file.resources, device(config)));
      const std::size_t memory = memory_of(config);
      if (room == 0 || memory * together <= room) continue;
      throw Error(ExitCode::usage,
                  "{}: a trial takes {}, {} of them side by side do not fit into {} of {}; lower resources.trials_at_once or "
                  "batch.micro_batch",
                  describe(sweep.file, sweep.configurations[trial.configuration]), format_bytes(memory), together,
                  format_bytes(room), device(config).device().name);
    }
  }

 private:
  const Ops& device(const RunConfig& config) {
    std::unique_ptr<Ops>& ops = devices_[{config.device, config.precision}];
    if (!ops) ops = open_device(config.device, config.precision, DeviceUse::training, config.device_check);
    return *ops;
  }

  const std::unique_ptr<Communicator> alone_ = make_self_communicator();  // a trial has no other ranks
  std::map<std::pair<DeviceChoice, Precision>, std::unique_ptr<Ops>> devices_;
};

void report_end(const Sweep& sweep, const SweepOutcome& outcome, ExitCode& exit_code) {
  const SweepPlan plan = read_plan(sweep);
  write_tables(sweep, plan, sweep.folder);
  write_output(RankingTable(sweep, plan).markdown());
  std::fprintf(stderr, "%s%stables%s in %s\n", status_text(sweep, plan).c_str(), timing_text(sweep, plan).c_str(),
               fs::exists(sweep.folder / "best.json") ? " and best.json" : "", shown(sweep.folder.string()).c_str());
  if (outcome.interrupted) {
    std::fputs("stopped by a signal, the trials have saved; run the same command to go on\n", stderr);
    exit_code = ExitCode::saved;
    return;
  }
  if (outcome.out_of_seconds)
    throw Error(ExitCode::usage, "budget.seconds is spent and " + std::to_string(outcome.left) +
                                     " trials are left; raise the budget and run the same command to go on");
  if (outcome.failed > 0)
    throw Error(ExitCode::unexpected, std::to_string(outcome.failed) + " trials failed; failure.json in their folders says how, " +
                                          "--retry-failed runs them again");
}

/// Folders of trials that the sweep file no longer asks for, or never did.
std::size_t others(const Sweep& sweep) {
  std::set<std::string> known;
  for (const auto& rung : sweep.rungs)
    for (const Trial& trial : rung) known.insert(trial.id);
  std::size_t count = 0;
  std::error_code absent;
  for (const fs::directory_entry& entry : fs::directory_iterator(sweep.folder / "trials", absent))
    count += !known.contains(entry.path().filename().string());
  return count;
}

void run(const SweepArguments& arguments, ExitCode& exit_code) {
  const bool folder_given = fs::is_directory(arguments.sweep);
  const fs::path given = arguments.sweep;
  fs::path out = arguments.out;
  if (out.empty()) out = folder_given ? given : "sweeps" / given.stem();
  if (fs::exists(out / "sweep.json")) check_sweep_format(out);
  const Sweep sweep = make_sweep(folder_given ? open_sweep(given) : load_sweep(given), out);
  for (const std::string& note : sweep.notes) tell("note: " + note);
  if (arguments.status) {
    const SweepPlan plan = read_plan(sweep);  // a question: nothing is written
    write_output(RankingTable(sweep, plan).markdown() + status_text(sweep, plan));
    return;
  }
  // Trials of a cluster run on other machines than this one, whose devices say nothing about theirs.
  const bool here = arguments.executor == "local";
  {
    Needs needs;
    if (arguments.dry_run) {
      write_output(cost_text(sweep, read_plan(sweep), [&](const RunConfig& config) {
        std::string reason;  // a plan of trials for a GPU can be looked at without one
        const bool known = here && (config.device != DeviceChoice::cuda || cuda_available(&reason));
        return known ? std::optional(needs.memory_of(config)) : std::nullopt;
      }));
      return;
    }
    check_data(read_plan(sweep));
    here ? needs.check(sweep) : check_rates(sweep);
  }
  const std::unique_ptr<Executor> executor = make_executor(arguments, sweep);
  if (fs::exists(out / "config.json") && !fs::exists(out / "sweep.json"))
    throw Error(ExitCode::usage, out.string() + ": holds a run or a model and no sweep; name another folder with --out");
  make_folder(out);
  make_inner_folder(out / "trials");
  const FolderLock lock(out);
  write_file_atomically(out / "sweep.json", sweep_to_json(sweep.file));
  if (const std::size_t count = others(sweep)) {
    std::fprintf(stderr, "%zu folders in %s are of trials that this sweep does not ask for; they stay and are in no table\n", count,
                 shown((out / "trials").string()).c_str());
  }
  if (here) disown_slurm_tasks(out);
  const SweepOutcome outcome = run_sweep(sweep, *executor, arguments.retry_failed);
  lock.check();
  report_end(sweep, outcome, exit_code);
}

}  // namespace

void add_sweep_command(CLI::App& app, ExitCode& exit_code) {
  auto arguments = std::make_shared<SweepArguments>();
  CLI::App* command = app.add_subcommand("sweep", "Train every configuration a sweep file asks for, and rank them");
  command->add_option("sweep", arguments->sweep, "Sweep file (JSON), or the folder of a sweep")->required();
  command->add_option("--out", arguments->out, "Folder of the sweep (default: sweeps/NAME of the file)");
  command->add_option("--executor", arguments->executor, "Where trials run: local (this machine) or slurm (a cluster)")
      ->check(CLI::IsMember({"local", "slurm"}))
      ->capture_default_str();
  command->add_flag("--dry-run", arguments->dry_run, "List the trials and what they cost, and stop");
  command->add_flag("--status", arguments->status, "Print how far the sweep is and its table so far, and stop");
  command->add_flag("--retry-failed", arguments->retry_failed, "Run trials again that have failed");
  command->footer(
      "Examples:\n  temper sweep configs/sweeps/quickstart-decay-warmup.json --dry-run\n"
      "  temper sweep configs/sweeps/quickstart-decay-warmup.json --out sweeps/decay\n"
      "  temper sweep sweeps/decay --status\n"
      "  temper sweep configs/sweeps/quickstart-decay-warmup.json --executor slurm\n"
      "The same command goes on with a sweep that was stopped or whose file has grown. docs/sweeps.md has the format.\n"
      "Exit codes: 0 all trials finished or were stopped by stop_when, 1 some failed, 2 sweep file or budget, 3 data, 8 disk, 75 stopped by a signal, run again to go "
      "on.");
  command->callback([arguments, &exit_code] { run(*arguments, exit_code); });
}

}  // namespace temper
