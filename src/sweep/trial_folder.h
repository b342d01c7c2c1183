// What the folder of a trial says about it. There is no other record: a sweep that was killed is read back from these.
//
// A trial's folder is an ordinary run directory. The sweep writes into it, before the run starts, config.json (resolved, as the run
// will write it again) and trial.json (what the trial varies); the run's output goes to trial.log; failure.json says why a trial
// failed, and processes.jsonl has a line for each process that ended.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sweep/executor.h"
#include "sweep/sweep_file.h"
#include "sweep/trials.h"

namespace temper {

enum class TrialState {
  waiting,      ///< never started
  interrupted,  ///< began, and goes on from its last checkpoint
  finished,
  stopped,  ///< ended itself before its last step, as the sweep's stop_when asks
  failed,
};
std::string_view to_string(TrialState state);

struct TrialStatus {
  TrialState state = TrialState::waiting;
  std::int64_t steps = 0;        ///< done, as far as metrics.jsonl tells
  double train_seconds = 0.0;    ///< spent on them
  std::optional<double> metric;  ///< of a finished trial
  std::string failure;           ///< of a failed one: "exit code 6"; of a stopped one: "step 120: loss > 9"
  /// Of a finished or stopped one: the keys that name files, each with a fingerprint of what the run found there.
  std::map<std::string, std::string> inputs;
};

/// DIR/trials/ID
std::filesystem::path trial_folder(const std::filesystem::path& sweep_folder, const Trial& trial);

/// What another condition than the sweep's stop_when has stopped is interrupted, and may go on.
TrialStatus read_trial(const std::filesystem::path& folder, const Trial& trial, const SweepFile& sweep);

/// Refuses a folder whose config.json or summary.json is of another configuration, Error(ExitCode::usage): it was renamed, or
/// something else was trained in it.
void check_trial_folder(const std::filesystem::path& folder, const Trial& trial);

/// Makes the folder ready for a process to start in, and forgets an earlier failure.
void prepare_trial(const std::filesystem::path& folder, const Trial& trial, const SweepFile& sweep,
                   const Configuration& configuration);

/// Whether a process still works in it: one that an earlier, killed sweep left and that is saving.
bool is_in_use(const std::filesystem::path& folder);

/// failure.json: how the process ended and the last lines of its log.
void record_failure(const std::filesystem::path& folder, const ProcessEnd& end);

/// A line of processes.jsonl: a process that worked in a trial's folder.
void record_process(const std::filesystem::path& folder, const ProcessTimes& times, const ProcessEnd& end);
std::vector<ProcessTimes> read_processes(const std::filesystem::path& folder);

}  // namespace temper
