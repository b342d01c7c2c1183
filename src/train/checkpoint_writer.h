// A run's checkpoints as it makes them: training stands still for a copy to host memory, which a thread writes while training goes
// on. One at a time: the next save waits for the one before.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <utility>

#include "distributed/communicator.h"
#include "kernels/machine.h"
#include "train/checkpoint.h"
#include "train/hook.h"
#include "train/progress.h"
#include "train/step_record.h"

namespace temper {

class CheckpointWriter {
 public:
  /// In `run_directory`/checkpoints. `hook`: rank 0's, is told of each; null: none.
  CheckpointWriter(const std::filesystem::path& run_directory, const CheckpointConfig& config, SavedParts parts,
                   Communicator& ranks, Progress& progress, Hook* hook, std::size_t (*free_memory)() = memory_available);
  /// Waits for the one that is being written; what became of it is told.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  const CheckpointFolder& folder() const { return folder_; }
  /// The one that the run would go back to: loaded or begun to be saved last, and whole behind settle(). Empty: none yet.
  const std::filesystem::path& last() const { return last_; }
  void set_last(std::filesystem::path checkpoint) { last_ = std::move(checkpoint); }
  /// What an error message says of it. All ranks ask together.
  std::string standing();

  // What save() fails with, CheckpointFolder's errors, is thrown by whichever of these is called next.

  /// Waits for the one before. From here on training stands still.
  void wait();
  /// Behind wait(), all ranks together. `goes_on`: training does, while the checkpoint is written, if there is host memory for the
  /// copy; else it is written before this returns.
  void save(const TrainerState& state, bool goes_on);
  /// Says what was written meanwhile. Once a step.
  void poll(std::int64_t step);
  /// Waits until all that was begun is written, on every rank.
  void settle();

  /// Into the line of a step, what is new since the last one.
  void take_times(StepRecord& record);

 private:
  bool has_room();
  double timed(const std::function<void()>& write) const;
  void finish();

  const std::filesystem::path run_directory_;
  CheckpointFolder folder_;
  const SavedParts parts_;
  const CheckpointBytes bytes_;
  Communicator& ranks_;
  Progress& progress_;
  Hook* hook_;
  std::size_t (*free_memory_)();

  std::filesystem::path last_;
  std::int64_t step_ = 0;  // of the last save
  std::chrono::steady_clock::time_point standing_since_;
  double pause_ = 0.0;  // of the last save, in seconds
  std::optional<double> told_pause_, told_seconds_, told_rate_;
  bool told_no_room_ = false;
  CheckpointCopy copy_;
  std::future<double> written_;  // the seconds it took; last, so that the thread ends before what it uses
};

}  // namespace temper
