// Checkpoints: a folder that Hugging Face loads as it is (config.json, model.safetensors, tokenizer files) with
// optimizer.safetensors and trainer.json beside it. Committed by rename, so that a folder named step-NNNNNNNN is always whole;
// trainer.json holds a hash of every file and of itself, so that damage never goes unnoticed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "data/tokenizer.h"
#include "model/weights.h"
#include "optim/diagnostics.h"
#include "optim/optimizer.h"
#include "train/evaluation.h"
#include "train/recent_losses.h"
#include "train/step_record.h"

namespace temper {

/// Of a checkpoint's files the one with the hashes of the others.
constexpr const char* state_file_name = "trainer.json";

/// The weights' average (eval.weight_average), with the tensors of the model's own file.
constexpr const char* average_file_name = "average.safetensors";

/// What a run's result depends on beside its configuration: the keys that name files, each with a fingerprint of what it found there.
using RunInputs = std::map<std::string, std::string>;

/// All of a run's state that is not a tensor.
struct TrainerState {
  std::int64_t step = 0;             ///< updates made
  std::int64_t next_window = 0;      ///< the first training window not yet used
  LogBytes log_bytes;                ///< at the save
  std::int64_t earlier_updates = 0;  ///< that the optimizer's moments saw before the run's step 0 (train.branch_from)
  NoiseAverages noise;
  RecentLosses recent_losses;
  std::int64_t incidents = 0;   ///< steps that were skipped or rolled back
  double train_seconds = 0.0;   ///< time in steps so far, over all sessions of the run
  ValidationSample val_sample;  ///< of the losses, which are all of one
  std::optional<double> first_val_loss;
  std::optional<double> best_val_loss;
  std::optional<double> last_val_loss;
  std::optional<double> last_val_loss_average;
  std::optional<StepRecord> pending;  ///< a step whose evaluation was interrupted: done again before anything else
  std::string config_json;            ///< resolved configuration
  std::string data_fingerprint;
  RunInputs inputs;            ///< of what was measured so far
  std::string choices;         ///< that the device made by time (Ops::choices)
  std::string tokenizer_hash;  ///< of data.tokenizer, or as the shards' sidecars have it; empty where neither is known
};

/// All of a buffer of states, or of the master weights, f32 in device memory, until it is asked for the next. With several ranks it
/// collects their parts.
using WholeState = std::function<ConstTensorView(const Optimizer::StateBuffer&)>;
/// For one rank, whose part is the whole.
inline ConstTensorView own_state(const Optimizer::StateBuffer& buffer) { return buffer.values; }

/// What of a run is saved beside its TrainerState. The model saved is the one that Optimizer::average() shows, and stays shown.
struct SavedParts {
  const Weights& weights;
  Optimizer& optimizer;
  Ops& ops;
  const Tokenizer* tokenizer;
  WholeState whole = own_state;
  const MovingAverage* average = nullptr;  ///< saved beside the model, as average_file_name; null: there is none
};

/// All that a checkpoint is written from, on the host. Made again it uses the memory that it has.
struct CheckpointCopy {
  TrainerState state;
  std::unique_ptr<float[]> values;   ///< the buffers one after the other
  std::vector<std::int64_t> begins;  ///< of each among the values, and the end of the last; empty on ranks that write nothing
};

/// What the files of a checkpoint will take, and its CheckpointCopy.
struct CheckpointBytes {
  std::uint64_t weights, states, average, copy;
  std::uint64_t tensors() const { return weights + states + average; }
  std::uint64_t all() const { return tensors() + (std::uint64_t{8} << 20); }  ///< with tokenizer and headers
};
CheckpointBytes checkpoint_bytes(const Weights& weights, const Optimizer& optimizer, bool with_average);

class CheckpointFolder {
 public:
  /// `folder` is the run's checkpoints/ folder. The `keep` newest ones stay and, if `keep_every` is not 0, those whose step is a
  /// multiple of it, which do not count among them. Of several ranks one `writes`.
  CheckpointFolder(std::filesystem::path folder, const CheckpointConfig& config, bool writes = true);

  /// Writes step-NNNNNNNN.tmp, makes it durable, renames it, then removes the oldest that is not to stay. Any failure leaves every
  /// committed checkpoint as it was and throws Error(ExitCode::io), a value that is not finite Error(ExitCode::numeric). Checks
  /// free space first, and clears away what a killed save left behind, so only one process may save into a folder. Returns the
  /// checkpoint's folder. All ranks call it together: each calls `whole` for the same buffers in the same order, and what is saved
  /// does not tell how many there were.
  std::filesystem::path save(const TrainerState& state, const SavedParts& parts);

  // The same bits in two steps, of which only the first needs the run to stand still.

  /// All ranks call it together.
  void copy(const TrainerState& state, const SavedParts& parts, CheckpointCopy& copy) const;
  /// On the rank that writes, on any thread: of `parts` it reads only what no step changes.
  std::filesystem::path write(const CheckpointCopy& copy, const SavedParts& parts);
  /// The folder of a step's checkpoint.
  std::filesystem::path place_of(std::int64_t step) const;

  /// Committed checkpoints, oldest first.
  std::vector<std::filesystem::path> list() const;

  /// The newest checkpoint whose files all verify; the others are named on stderr with what is wrong. Empty when there are no
  /// checkpoints at all; none of several good: Error(ExitCode::checkpoint).
  std::optional<std::filesystem::path> newest_good() const;

  /// Clears away what a killed save left behind. Not while another process saves.
  void remove_leftovers() const;

 private:
  template <typename Fill>
  std::filesystem::path commit(const TrainerState& state, const SavedParts& parts, Fill fill) const;
  void remove_old(const std::filesystem::path& newest) const;

  std::filesystem::path folder_;
  std::int64_t keep_, keep_every_;
  bool writes_;
};

/// Checks every file of a checkpoint against trainer.json and returns the state. Throws Error(ExitCode::checkpoint) naming the
/// file and what is wrong. Not `with_files`: trainer.json alone is checked, where the others were before.
TrainerState verify_checkpoint(const std::filesystem::path& checkpoint, bool with_files = true);

/// The hash of the tokenizer that the model in a folder (a checkpoint, or as Hugging Face has them) goes with: that of its
/// training, where trainer.json knows it, else of the tokenizer files beside it. Empty where there is neither, or not one that
/// temper reads.
std::string tokenizer_of_model(const std::filesystem::path& folder);

/// Sets weights, optimizer states, of which this rank's part, and the average, where there is one, from a verified checkpoint.
void load_checkpoint(const std::filesystem::path& checkpoint, Weights& weights, Optimizer& optimizer, Ops& ops,
                     MovingAverage* average = nullptr);

}  // namespace temper
