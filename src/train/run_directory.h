// The folder of one run, and the rules for going on in one that exists.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "io/file.h"
#include "train/checkpoint.h"

namespace temper {

class RunDirectory {
 public:
  /// Makes (or with `resume` opens) the folder and locks it against a second process. Refuses a folder that holds a run unless
  /// resuming, and resuming where there is no run.
  RunDirectory(std::filesystem::path path, bool resume);
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::unique_ptr<FolderLock> lock_;
};

/// Refuses to continue `saved` as `now` when data, tokenizer or configuration differ in a way that changes the run. Fields that
/// set the course (rates, batch, schedule) may differ when named in `allowed_changes`; model, seed and data may not.
/// Throws Error(ExitCode::checkpoint) listing every difference with both values.
void check_resumable(const TrainerState& saved, const TrainerState& now, const std::vector<std::string>& allowed_changes,
                     const std::filesystem::path& checkpoint);

}  // namespace temper
