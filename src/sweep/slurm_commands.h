// Slurm's own programs, sbatch, squeue and scancel: which arguments they get, and what their output says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sweep/sweep_file.h"

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

}  // namespace temper
