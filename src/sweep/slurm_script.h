// The batch script that Slurm runs for each trial, and the file in which it tells how the trial ended.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sweep/executor.h"

namespace temper {

struct ArrayJob {
  std::string name;
  std::vector<std::string> trials;       ///< ids; the place of each is the index of its task
  std::string command;                   ///< that submits it, for readers of the script
  std::filesystem::path sweep;           ///< the sweep's folder; absolute, as the nodes see it
  std::filesystem::path program;         ///< temper; absolute
  std::filesystem::path working_folder;  ///< that configurations' paths are relative to; absolute
  std::int64_t threads = 0;              ///< of each trial; 0: the processors that Slurm gives it
};

/// The script of all tasks of this job.
std::string batch_script(const ArrayJob& job);

struct TaskEnd {
  ProcessEnd end;
  ProcessTimes times;
};

/// What the script of this job wrote into a trial's folder when the trial had ended; none while it has not.
std::optional<TaskEnd> read_task_end(const std::filesystem::path& trial_folder, const std::string& job);

/// `text` as one word of a shell.
std::string shell_word(const std::string& text);

}  // namespace temper
