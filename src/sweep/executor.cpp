#include "sweep/executor.h"

#include <fcntl.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <optional>

#include "io/descriptor.h"
#include "io/error.h"

namespace temper {
namespace {

/// `environment` with NAME=VALUE in place of what it says of NAME.
std::vector<std::string> with(std::vector<std::string> environment, const std::string& name, const std::string& value) {
  std::erase_if(environment, [&](const std::string& entry) { return entry.starts_with(name + "="); });
  environment.push_back(name + "=" + value);
  return environment;
}

/// The GPUs of slot `index`, as CUDA_VISIBLE_DEVICES lists them.
std::string gpus_of(std::size_t index, double each, const std::vector<std::string>& gpus) {
  if (each < 1.0) return gpus[index / static_cast<std::size_t>(std::llround(1.0 / each))];
  const auto many = static_cast<std::size_t>(each);
  std::string list;
  for (std::size_t i = index * many; i < (index + 1) * many; ++i) list += (list.empty() ? "" : ",") + gpus[i];
  return list;
}

void check(const LocalMachine& machine, const SweepResources& resources) {
  const std::string start = "resources: " + std::to_string(resources.trials_at_once) + " trials at once with ";
  const std::int64_t threads = resources.trials_at_once * resources.threads_per_trial;
  if (threads > machine.cores) {
    throw Error(ExitCode::usage, start + std::to_string(resources.threads_per_trial) + " threads each want " +
                                     std::to_string(threads) + " processors, this machine has " + std::to_string(machine.cores) +
                                     "; lower one of them, or leave threads_per_trial out");
  }
  const double gpus = static_cast<double>(resources.trials_at_once) * resources.gpus_per_trial;
  if (std::ceil(gpus - 1e-9) > static_cast<double>(machine.gpus.size())) {
    throw Error(ExitCode::usage, start + "gpus_per_trial " + std::to_string(resources.gpus_per_trial) + " want " +
                                     std::to_string(gpus) + " GPUs, this machine has " + std::to_string(machine.gpus.size()) +
                                     "; lower one of them (0.5 lets two trials share a GPU), or leave gpus_per_trial out");
  }
}

}  // namespace

std::vector<std::string> trial_options(const SweepResources& resources, const std::string& stop_when) {
  std::vector<std::string> words;
  if (resources.ranks() > 1) words = {"--ranks", std::to_string(resources.ranks())};
  if (!stop_when.empty()) words.insert(words.end(), {"--stop-when", stop_when});
  return words;
}

LocalExecutor::LocalExecutor(LocalMachine machine, const SweepResources& resources)
    : program_(std::move(machine.program)), resources_(resources) {
  check(machine, resources);
  const std::int64_t threads = resources.threads_per_trial > 0 ? resources.threads_per_trial
                                                               : std::clamp<std::int64_t>(machine.cores / resources.trials_at_once,
                                                                                          1, machine.threads_per_process);
  for (std::size_t i = 0; i < static_cast<std::size_t>(resources.trials_at_once); ++i) {
    Slot slot;
    slot.environment = with(machine.environment, "OMP_NUM_THREADS", std::to_string(threads));
    if (resources.gpus_per_trial > 0) {
      slot.environment =
          with(std::move(slot.environment), "CUDA_VISIBLE_DEVICES", gpus_of(i, resources.gpus_per_trial, machine.gpus));
    }
    slots_.push_back(std::move(slot));
  }
}

LocalExecutor::~LocalExecutor() {
  cancel();
  for (const Slot& slot : slots_)
    while (slot.process != 0 && ::waitpid(slot.process, nullptr, 0) < 0 && errno == EINTR) continue;
}

bool LocalExecutor::has_room() const {
  return std::any_of(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.process == 0; });
}

void LocalExecutor::start(const TrialLaunch& launch) {
  Slot& slot = *std::find_if(slots_.begin(), slots_.end(), [](const Slot& each) { return each.process == 0; });
  const Descriptor log = open_descriptor(launch.folder / "trial.log", O_WRONLY | O_CREAT | O_APPEND);
  if (!log) throw_failure("open the log", launch.folder / "trial.log", errno);
  Command command{.words = {program_, "train", launch.folder / "config.json", "--out", launch.folder, "--resume"},
                  .environment = slot.environment,
                  .output = log.get(),
                  .errors = log.get(),
                  .own_group = true,  // Ctrl-C at the terminal reaches the sweep, which passes it on once
                  .called = "temper",
                  .ends_with_us = true};
  for (const std::string& word : trial_options(resources_, launch.stop_when)) command.words.push_back(word);
  slot.process = start_program(command);
  slot.trial = launch.id;
  slot.started = seconds_since_1970();
  slot.stopping = false;
}

std::vector<EndedTrial> LocalExecutor::poll() {
  std::vector<EndedTrial> ended;
  for (Slot& slot : slots_) {
    if (slot.process == 0) continue;
    const std::optional<ProcessEnd> end = process_end(slot.process);
    if (!end) continue;
    ended.push_back({slot.trial, *end, {slot.started, seconds_since_1970()}});
    slot.process = 0;
  }
  return ended;
}

void LocalExecutor::cancel() {
  for (Slot& slot : slots_) {
    if (slot.process != 0 && !slot.stopping) ::kill(slot.process, SIGTERM);
    slot.stopping = true;
  }
}

}  // namespace temper
