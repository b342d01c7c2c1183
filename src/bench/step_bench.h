// Times whole training steps: batch upload, forward, backward, clip, update.
#pragma once

#include <cstdint>
#include <string>

#include "bench/report.h"
#include "config/run_config.h"
#include "kernels/ops.h"

namespace temper {

struct StepBenchSettings {
  std::string model = "124m";  ///< see named_models_text
  std::int64_t batch = 4;      ///< sequences
  std::int64_t context = 256;  ///< tokens of a sequence
  Precision precision = Precision::fp32;
  std::int64_t warmup = 2;
  std::int64_t steps = 10;
};

struct StepBenchResult {
  StepBenchSettings settings;
  DeviceInfo device;
  Measurement measurement;         ///< one sample a timed step
  double tokens_per_second = 0.0;  ///< at the median step
  double flops_per_second = 0.0;   ///< 6 N + 6 L C T at the median step
  std::size_t planned_bytes = 0;
  std::size_t peak_rss_bytes = 0;  ///< of the process, 0 where it is not known
};

/// The models that have a name: GPT-2's sizes, smaller ones with a vocabulary of 2,048, and tiny, to try a command.
std::string named_models_text();
/// Unknown: Error(ExitCode::usage) with the names.
ModelConfig named_model(const std::string& name, std::int64_t context);

/// Random tokens (never zeros), a new batch every step; the loss must stay finite.
StepBenchResult bench_step(const StepBenchSettings& settings, Ops& ops);

/// A line for people; and JSON in Google Benchmark's form with the median, p10 and p90.
std::string to_text(const StepBenchResult& result);
std::string to_json(const StepBenchResult& result, const std::string& commit);

}  // namespace temper
