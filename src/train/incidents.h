// Losses that are not finite and losses that jump: what the configuration says is done about them. All ranks have the same numbers,
// ask together, and get the same answer.
#pragma once

#include <cstdint>
#include <string>

#include "config/run_config.h"
#include "distributed/communicator.h"
#include "train/checkpoint.h"
#include "train/checkpoint_writer.h"
#include "train/progress.h"

namespace temper {

class Incidents {
 public:
  /// `steps` of the run. They outlive it.
  Incidents(const TrainConfig& config, std::int64_t steps, Communicator& ranks, Progress& progress, CheckpointWriter& checkpoints)
      : config_(config), steps_(steps), ranks_(ranks), progress_(progress), checkpoints_(checkpoints) {}

  /// Of a loss that is not finite; `skipped`: what it means to go on. Counts it in `state`. Whether to go on from here; else back to
  /// the checkpoint. A run that ends with it: SharedError(ExitCode::numeric).
  [[nodiscard]] bool survive_nonfinite(TrainerState& state, const StepRecord& record, const std::string& what, const char* skipped);
  /// Notes in the record where the loss is a spike. Whether to go on from here, as above.
  [[nodiscard]] bool pass_spike(TrainerState& state, StepRecord& record);

 private:
  void count(TrainerState& state, const StepRecord& record, const std::string& what, const char* then);

  const TrainConfig& config_;
  const std::int64_t steps_;
  Communicator& ranks_;
  Progress& progress_;
  CheckpointWriter& checkpoints_;
};

}  // namespace temper
