// The run's record for machines: metrics.jsonl, one line a step; diagnostics.jsonl, one line for each step that was measured more
// closely; and TensorBoard events with the same numbers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/json_lines.h"
#include "io/tfevents.h"
#include "optim/diagnostics.h"
#include "train/progress.h"
#include "train/step_record.h"

namespace temper {

/// What was measured of an update, as far as it was due.
struct Diagnosed {
  std::optional<StepDiagnostics> update;
  std::vector<RepresentationDiagnostics> representation;
  std::int64_t representation_sequences = 0,
               batch_representation_sequences = 0;  ///< that it was measured on, held out and of the batch
  WeightHistograms histograms;
};
/// The few numbers of it that stand in the step's own line.
std::vector<std::pair<std::string, double>> summary_of(const Diagnosed& diagnosed);

class Metrics {
 public:
  /// Keeps the first bytes of existing files, so that no step appears twice after a resume; `first_step` is the first step still to
  /// be recorded. diagnostics.jsonl is there once something was measured for it.
  Metrics(const std::filesystem::path& run_directory, LogBytes keep, std::int64_t first_step, bool tensorboard);

  /// Returns the line.
  nlohmann::ordered_json write(const StepRecord& record);
  void write_diagnostics(const StepRecord& record, const Diagnosed& diagnosed);
  /// Makes what was written durable, before a checkpoint records bytes().
  void sync();
  LogBytes bytes() const;

 private:
  std::filesystem::path run_directory_;
  JsonLinesFile lines_;
  std::optional<JsonLinesFile> diagnostics_;
  std::unique_ptr<EventFile> events_;
};

/// Training and validation loss over steps, as metrics.jsonl has them; unreadable lines are passed over.
std::vector<ChartSeries> read_loss_curves(const std::filesystem::path& metrics);

}  // namespace temper
