// Trials as tasks of array jobs in a Slurm cluster. The jobs live on when this process dies; started again, it finds them.
//
// In the sweep's folder: slurm.sh is the batch script as it was submitted last, slurm.log what that script itself writes,
// slurm.jsonl the record of the jobs (slurm.h).
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sweep/executor.h"
#include "sweep/slurm.h"
#include "sweep/sweep_file.h"

namespace temper {

/// What the command line knows of the place that jobs are submitted from.
struct SlurmSite {
  std::filesystem::path program;         ///< temper itself; the nodes find it there too
  std::filesystem::path working_folder;  ///< that data files are relative to
  std::vector<std::string> environment;  ///< NAME=VALUE
};

class SlurmExecutor : public Executor {
 public:
  /// Resources that Slurm cannot give: Error(ExitCode::usage). Touches neither `folder`, the sweep's, nor Slurm.
  SlurmExecutor(SlurmSite site, const SweepFile& sweep, const std::filesystem::path& folder);

  /// Where Slurm has to be asked for tasks of an earlier start and does not answer: Error(ExitCode::usage).
  std::vector<std::string> adopt(const std::vector<TrialLaunch>& launches) override;
  /// Up to slurm.queued_trials, or as many as may run at once where a budget of seconds may end the sweep. What is started together
  /// is one array job; while one is in the queue, the next one waits for it.
  bool has_room() const override;
  void start(const TrialLaunch& launch) override;
  bool waits(const std::string& id) const override;
  /// Submits what was started, as one job. Where sbatch refuses it: Error(ExitCode::usage).
  std::vector<EndedTrial> poll() override;
  void cancel() override;

 private:
  struct Task {
    std::filesystem::path folder;
    std::string job;
    std::int64_t number = 0;        ///< of the array job; 0: it is not known
    std::string state = "PENDING";  ///< when it was last seen in the queue
    double running_since = 0.0;     ///< seconds since 1970, as seen from here; 0: not yet
    int looks_missed = 0;           ///< in a row: it was not in the queue
    bool asked_to_stop = false;
  };
  using Queue = std::map<std::pair<std::string, std::string>, QueuedTask>;  ///< by trial and job

  std::set<std::int64_t> numbers() const;
  std::optional<Queue> look(const std::map<std::string, Task>& tasks, std::string& problem) const;
  std::vector<std::string> adopt_queued(std::map<std::string, Task>& missing);
  void submit();
  std::string stop(const Queue& queue);
  std::optional<EndedTrial> end_of(const std::string& trial, Task& task, const Queue* queue) const;
  void tell(const std::string& problem);

  SlurmCommands slurm_;
  std::filesystem::path program_, working_folder_, folder_;
  SweepResources resources_;
  SlurmSettings settings_;
  bool may_run_out_;  ///< of a budget of seconds

  std::optional<SlurmRecord> record_;
  std::vector<TrialLaunch> started_;   ///< and not submitted yet
  std::map<std::string, Task> tasks_;  ///< submitted and not ended, by trial
  bool stopping_ = false;
  std::string problem_;  ///< that was told last
  std::chrono::steady_clock::time_point next_look_{};
};

/// For sweeps that go on without Slurm: tasks that an earlier start left in its queue do nothing when their turn comes.
void disown_slurm_tasks(const std::filesystem::path& folder);

}  // namespace temper
