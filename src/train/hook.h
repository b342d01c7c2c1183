// A command of the user's that is told what becomes of a run (temper train --hook). It comes from the command line alone: a
// configuration, which may be somebody else's, names no program.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/error.h"

namespace temper {

/// Runs the command with /bin/sh beside the run, never two at once, with what it prints added to hook.log in the run directory.
/// It finds in its environment
///   TEMPER_EVENT       checkpoint (one was committed), end (of the run, also after a signal) or failure
///   TEMPER_RUN_DIR     the run directory, absolute
///   TEMPER_STEP        of the checkpoint or, at the end, of the run
///   TEMPER_CHECKPOINT  the newest committed one's folder, absolute; empty: none in this session
///   TEMPER_EXIT_CODE   that the run ends with; empty where it goes on
/// What goes wrong with it is told on stderr and changes nothing.
class Hook {
 public:
  /// `environment`: NAME=VALUE, what the command is to have beside that.
  Hook(std::string command, std::vector<std::string> environment);

  /// From here on there is a run to tell of.
  void begin(const std::filesystem::path& run_directory);
  /// While the command still runs for an earlier one this waits; of several that wait it is told of the newest.
  void checkpoint(std::int64_t step, const std::filesystem::path& folder);
  /// Once a step. Waits for nothing.
  void poll(std::int64_t step);
  /// The run's last event, `end` or `failure`. Waits for what runs and for this, in all as long as `limit`, after which the command
  /// is killed.
  void finish(const std::string& event, ExitCode code, std::chrono::milliseconds limit = std::chrono::minutes(5));

 private:
  struct Event {
    std::string name;
    std::int64_t step;
    std::string exit_code;
  };
  void start(const Event& event);
  void drain(std::chrono::steady_clock::time_point end);

  std::string command_;
  std::vector<std::string> environment_;
  std::filesystem::path run_directory_;  // empty: no run yet
  std::filesystem::path checkpoint_;
  std::int64_t step_ = 0;
  pid_t running_ = 0;  // 0: none
  std::string running_for_;
  std::optional<Event> waiting_;
};

}  // namespace temper
