// Evaluation of a model on held-out data: mean token loss, and multiple-choice accuracy (HellaSwag).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/batches.h"
#include "data/multiple_choice.h"
#include "data/tokenizer.h"
#include "distributed/communicator.h"
#include "model/gpt2.h"

namespace temper {

/// Device room for one micro-batch of tokens and targets, and the ways to fill it.
class DeviceBatch {
 public:
  DeviceBatch(std::int64_t sequences, std::int64_t positions, Ops* ops, DeviceMemory& memory);

  /// Uploads `sequences` rows of `positions` tokens; `batch` must outlive the next synchronisation.
  void upload(const Batch& batch, std::int64_t sequences, std::int64_t positions);
  ConstTensorView tokens() const { return {tokens_.data, DType::i32, {sequences_, positions_}}; }
  ConstTensorView targets() const { return {targets_.data, DType::i32, {sequences_, positions_}}; }

 private:
  Ops* ops_;
  TensorView tokens_, targets_;
  std::int64_t sequences_ = 0, positions_ = 0;
};

/// Called between micro-batches with the share done; returning false abandons the evaluation, on all ranks.
using EvaluationProgress = std::function<bool(double share)>;

/// What a validation loss is the mean over. Losses of different samples are not to be compared.
struct ValidationSample {
  std::int64_t tokens = 0;
  std::string fingerprint;  ///< of the data that they are the first tokens of (BatchSource::fingerprint)
  bool operator==(const ValidationSample&) const = default;
};

/// The first windows of `source` that hold `tokens` tokens, the last window whole (0: all, once); at most what there is. Follows
/// from these alone: never from the micro-batch, the ranks, the precision or the device.
ValidationSample validation_sample(const BatchSource& source, std::int64_t n_ctx, std::int64_t tokens);

/// Mean loss in nats per token over the sample, `sequences` windows at a time, which the ranks share. Sums the losses of each
/// window, then the windows, in double and in order. Empty when abandoned. A shard that is lost meanwhile throws
/// Error(ExitCode::data) on the rank that met it, and is an abandoned evaluation to the others.
std::optional<double> validation_loss(Gpt2& model, const BatchSource& source, std::int64_t sequences, std::int64_t n_ctx,
                                      const ValidationSample& sample, DeviceBatch& device_batch, Ops& ops, Communicator& ranks,
                                      const EvaluationProgress& progress);

struct MultipleChoiceScore {
  std::int64_t items = 0;
  double accuracy = 0.0;             ///< the ending of smallest summed loss is the right one; NaN where a loss is not finite
  double accuracy_normalized = 0.0;  ///< of smallest mean loss per token, as llm.c prints
};

/// Scores the first `items` (0: all), which the ranks share. Endings are encoded with a leading space; an item longer than the
/// context loses the beginning of its context. Empty when abandoned.
std::optional<MultipleChoiceScore> multiple_choice_score(Gpt2& model, const std::vector<MultipleChoiceItem>& items,
                                                         std::int64_t limit, const Tokenizer& tokenizer, std::int64_t n_ctx,
                                                         std::int64_t max_sequences, DeviceBatch& device_batch, Ops& ops,
                                                         Communicator& ranks, const EvaluationProgress& progress);

}  // namespace temper
