// What passes between a sweep and Slurm: its programs sbatch, squeue and scancel; slurm.jsonl, the record of the jobs; slurm.sh,
// the batch script, and the file in which it tells how a trial ended.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sweep/executor.h"

namespace temper {

/// Why an option of the sweep file cannot go to sbatch: it is not of the form --name or --name=value, or temper sets it itself or
/// relies on its default. Empty: it can.
std::string why_refused(std::string_view option);

/// A task of an array job that waits or runs. What has ended is not in the queue.
struct QueuedTask {
  std::string job;        ///< the array job's name
  std::int64_t number;    ///< of the array job
  std::size_t index = 0;  ///< of the task in it
  std::string state;      ///< as squeue writes it: "PENDING", "RUNNING", "COMPLETING"
};

class SlurmCommands {
 public:
  /// `environment`: NAME=VALUE. Variables that change what squeue and scancel do are left out; sbatch gets all, as sites set
  /// accounts and partitions in them.
  explicit SlurmCommands(std::vector<std::string> environment) : environment_(std::move(environment)) {}

  /// Submits; returns the job's number. Error(ExitCode::usage) with what sbatch said.
  std::int64_t submit(const std::vector<std::string>& arguments) const;

  /// The tasks of these jobs of this user that are in the queue, in one call. None when Slurm does not answer; `problem` says why.
  std::optional<std::vector<QueuedTask>> queue(const std::vector<std::string>& jobs, std::string& problem) const;

  /// Takes the tasks that wait out of the queue, then sends `signal` to the batch scripts of those that run. Empty, or what
  /// scancel said.
  std::string cancel(const std::vector<std::int64_t>& waiting, const std::vector<std::int64_t>& running,
                     std::string_view signal) const;

 private:
  std::vector<std::string> environment_;
};

/// slurm.jsonl in a sweep's folder: which array jobs were submitted, and which of them may run a trial. A line is written before
/// each submission; the last line that names a trial holds, and the batch script looks at it before it trains. So a trial never
/// runs twice, whenever the sweep is killed: even a submission that Slurm takes only after another has been made does nothing.
class SlurmRecord {
 public:
  /// Reads the file, where there is one. Lines that this class did not write for this folder (it was copied, or moved) are passed
  /// over.
  explicit SlurmRecord(const std::filesystem::path& folder);

  /// A name for the next array job. It follows from the folder and from the number of jobs before.
  std::string next_job() const;
  /// From now on this job alone may run these trials, the task of each being its place here. Durable when it returns.
  void assign(const std::string& job, const std::vector<std::string>& trials);
  /// No job may run them.
  void disown(const std::vector<std::string>& trials) { assign("", trials); }

  /// The job that may run it; empty: none.
  std::string job_of(const std::string& trial) const;
  /// The trial of a job's task; empty: it has no such task.
  std::string trial_of(const std::string& job, std::size_t task) const;
  /// All that some job may run.
  std::vector<std::string> assigned() const;

 private:
  void take(const std::string& job, const std::vector<std::string>& trials);

  std::filesystem::path path_;
  std::string prefix_;  ///< of the names of this folder's jobs
  std::int64_t jobs_ = 0;
  std::map<std::string, std::vector<std::string>> trials_of_;
  std::map<std::string, std::string> job_of_;
};

struct ArrayJob {
  std::string name;
  std::vector<std::string> trials;        ///< ids; the place of each is the index of its task
  std::string command;                    ///< that submits it, for readers of the script
  std::filesystem::path sweep;            ///< the sweep's folder; absolute, as the nodes see it
  std::filesystem::path program;          ///< temper; absolute
  std::filesystem::path working_folder;   ///< that configurations' paths are relative to; absolute
  std::int64_t threads = 0;               ///< of each trial; 0: the processors that Slurm gives it
  std::vector<std::string> options = {};  ///< of each trial (trial_options)
};

/// The script of all tasks of this job.
std::string batch_script(const ArrayJob& job);

/// What the script of this job wrote into a trial's folder when the trial had ended; none while it has not.
std::optional<EndedTrial> read_task_end(const std::filesystem::path& trial_folder, const std::string& job);

}  // namespace temper
