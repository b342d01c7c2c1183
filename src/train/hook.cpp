#include "train/hook.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <csignal>
#include <thread>
#include <utility>

#include "io/descriptor.h"
#include "io/process.h"
#include "io/text.h"

namespace temper {

namespace fs = std::filesystem;

Hook::Hook(std::string command, std::vector<std::string> environment)
    : command_(std::move(command)), environment_(std::move(environment)) {
  std::erase_if(environment_, [](const std::string& entry) {
    for (const char* name : {"EVENT=", "RUN_DIR=", "STEP=", "CHECKPOINT=", "EXIT_CODE="})
      if (entry.starts_with(std::string("TEMPER_") + name)) return true;
    return false;
  });
}

void Hook::begin(const fs::path& run_directory) { run_directory_ = fs::absolute(run_directory).lexically_normal(); }

void Hook::checkpoint(std::int64_t step, const fs::path& folder) {
  if (waiting_)
    tell(fmt::format("warning: --hook still runs for {}, so it is not told of the checkpoint of step {}", running_for_,
                     waiting_->step));
  waiting_ = Event{"checkpoint", step, ""};
  checkpoint_ = fs::absolute(folder).lexically_normal();
  poll(step);
}

void Hook::poll(std::int64_t step) {
  step_ = step;
  if (running_ != 0) {
    const std::optional<ProcessEnd> end = process_end(running_);
    if (!end) return;
    running_ = 0;
    if (end->signal != 0 || end->exit_code != 0)
      tell(fmt::format("warning: --hook, for {}: ended {} {}; what it said is in {}", running_for_,
                       end->signal != 0 ? "by signal" : "with exit code", end->signal != 0 ? end->signal : end->exit_code,
                       (run_directory_ / "hook.log").string()));
  }
  if (waiting_) start(*std::exchange(waiting_, std::nullopt));
}

void Hook::start(const Event& event) {
  running_for_ = event.name + " at step " + std::to_string(event.step);
  try {
    const fs::path log = run_directory_ / "hook.log";
    const Descriptor output = open_descriptor(log, O_WRONLY | O_CREAT | O_APPEND);
    if (!output) throw_failure("open", log, errno);
    Command command{.words = {"/bin/sh", "-c", command_}, .environment = environment_};
    command.output = command.errors = output.get();
    command.own_group = true;
    const std::pair<const char*, std::string> variables[] = {{"EVENT", event.name},
                                                             {"RUN_DIR", run_directory_.string()},
                                                             {"STEP", std::to_string(event.step)},
                                                             {"CHECKPOINT", checkpoint_.string()},
                                                             {"EXIT_CODE", event.exit_code}};
    for (const auto& [name, value] : variables) command.environment.push_back(fmt::format("TEMPER_{}={}", name, value));
    running_ = start_program(command);
  } catch (const Error& error) {
    tell("warning: --hook, for " + running_for_ + ": " + error.what());
  }
}

/// Until nothing runs and nothing waits, or time is up.
void Hook::drain(std::chrono::steady_clock::time_point end) {
  for (poll(step_); running_ != 0; poll(step_)) {
    if (std::chrono::steady_clock::now() > end) {
      waiting_.reset();
      ::kill(-running_, SIGKILL);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

void Hook::finish(const std::string& event, ExitCode code, std::chrono::milliseconds limit) {
  if (run_directory_.empty()) return;
  const auto end = std::chrono::steady_clock::now() + limit;
  drain(end);
  if (std::chrono::steady_clock::now() > end) return tell("warning: --hook took too long and is not told of the " + event);
  waiting_ = Event{event, step_, std::to_string(static_cast<int>(code))};
  drain(end);
}

}  // namespace temper
