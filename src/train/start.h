// How a run begins: its folder, its data, what must fit together (tokenizers, ranks, a checkpoint), and the weights and state it
// begins with.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/batches.h"
#include "data/multiple_choice.h"
#include "data/shard_sidecar.h"
#include "data/tokenizer.h"
#include "io/file.h"
#include "train/checkpoint.h"
#include "train/engine.h"
#include "train/progress.h"
#include "train/trainer.h"

namespace temper {

/// Makes (or with `resume` opens) the folder of a run and locks it against a second process. Refuses a folder that holds a run
/// unless resuming, and resuming where there is no run. `start_over`: a run's files get ".N" behind their names, the first N that
/// is free, and the folder holds none any more; what a kill left of that is finished.
[[nodiscard]] std::unique_ptr<FolderLock> open_run_directory(const std::filesystem::path& path, bool resume,
                                                             bool start_over = false);

/// Leaves a mark in the run directory that there were checkpoints: without any, start_run does not take the run for a new one.
void note_saved(const std::filesystem::path& run_directory);

/// Refuses to continue `saved` as `now` when data, tokenizer or configuration differ in a way that changes the run. Fields that
/// set the course (rates, batch, schedule) may differ when named in `allowed_changes`; model, seed and data may not.
/// Throws Error(ExitCode::checkpoint) listing every difference with both values. Returns those that were allowed, a line each.
std::vector<std::string> check_resumable(const TrainerState& saved, const TrainerState& now,
                                         const std::vector<std::string>& allowed_changes, const std::filesystem::path& checkpoint);

/// How a run reads data.train.
BatchSettings train_batches(const RunConfig& config);

/// What a run reads.
struct RunData {
  /// Throws Error with ExitCode::data or ExitCode::usage where something is missing or was made with another tokenizer.
  explicit RunData(const RunConfig& config);

  std::optional<Tokenizer> tokenizer;
  BatchSource train;
  std::optional<BatchSource> val;
  ValidationSample sample;  ///< of val
  std::vector<MultipleChoiceItem> hellaswag;
  TokenizerIdentity identity;  ///< of tokenizer, shards and the model to start from
  RunInputs inputs;            ///< all but the model to start from
};

/// The model that a run of this configuration would start from, if not from a new one.
RunInputs model_to_start_from(const TrainConfig& config);

struct StartedRun {
  TrainerState state;
  std::filesystem::path checkpoint;  ///< that the run goes on from; empty where it begins at step 0
};

/// Sets weights and optimizer: new ones, a model's (train.init_from), those of another run (train.branch_from) or, with
/// options.resume, those of the newest intact checkpoint; the held batch, where the representation change is measured; and what the
/// device chooses by time. Clears away what a killed save left behind. Ranks compare what they must have alike: SharedError(ExitCode::data) names what differs.
StartedRun start_run(const TrainOptions& options, const RunData& data, const CheckpointFolder& checkpoints, Engine& engine,
                     Progress& progress);

}  // namespace temper
