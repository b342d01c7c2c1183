// The run's record for machines: metrics.jsonl, one line a step, and TensorBoard events with the same numbers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "io/json_lines.h"
#include "io/tfevents.h"
#include "train/checkpoint.h"
#include "train/evaluation.h"
#include "train/progress.h"

namespace temper {

/// What belongs to a line beside the step's own numbers.
struct StepMeasurements {
  std::optional<double> val_loss;
  std::optional<MultipleChoiceScore> hellaswag;
  std::optional<double> tokens_per_second;
  std::optional<double> mfu;  ///< absent where the device's peak is not known
  double seconds = 0.0;       ///< time in steps since the run began
};

class Metrics {
 public:
  /// Keeps the first `keep_bytes` of an existing metrics.jsonl, so that no step appears twice after a resume; `first_step` is
  /// the first step still to be recorded.
  Metrics(const std::filesystem::path& run_directory, std::uint64_t keep_bytes, std::int64_t first_step, bool tensorboard);

  void write(const StepRecord& record, const StepMeasurements& measurements);
  /// Makes what was written durable, before a checkpoint records bytes().
  void sync() { lines_.sync(); }
  /// Bytes of metrics.jsonl so far.
  std::uint64_t bytes() const { return lines_.size(); }

 private:
  JsonLinesFile lines_;
  std::unique_ptr<EventFile> events_;
};

/// Training and validation loss over steps, as metrics.jsonl has them; unreadable lines are passed over.
std::vector<ChartSeries> read_loss_curves(const std::filesystem::path& metrics);

}  // namespace temper
