// slurm.jsonl in a sweep's folder: which array jobs were submitted, and which of them may run a trial. A line is written before
// each submission; the last line that names a trial holds, and the batch script looks at it before it trains. So a trial never runs
// twice, whenever the sweep is killed: even a submission that Slurm takes only after another has been made does nothing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace temper {

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

}  // namespace temper
