// A training run from configuration to final checkpoint: data, model, optimizer, evaluation, metrics, checkpoints, signals.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "distributed/communicator.h"
#include "kernels/ops.h"

namespace temper {

/// Numbers as the log has them, from 1.
struct StepRange {
  std::int64_t first = 1, last = 1;
};

/// What ends a run early. It is asked at each line of metrics.jsonl with the latest number of each key so far, those of lines before
/// a resume too: where a run ends follows from its lines, not from who looks at them or when.
struct StopCondition {
  std::string text;  ///< as summary.json quotes it
  std::function<bool(const std::map<std::string, double>& latest)> holds;
};

class Hook;

struct TrainOptions {
  RunConfig config;
  std::filesystem::path run_directory;
  bool resume = false;
  std::vector<std::string> allowed_changes = {};  ///< configuration fields that may differ from the resumed run's
  std::string program = {};                       ///< version and build, for ranks to compare
  bool start_over = false;                        ///< a run that the directory holds is moved aside first
  std::optional<StepRange> profiled = {};         ///< NVIDIA's profilers record these steps, which have the same bits
  std::optional<StopCondition> stop_when = {};    ///< of a single rank
  Hook* hook = nullptr;                           ///< rank 0's; its end is the caller's to tell
};

struct TrainSummary {
  bool interrupted = false;  ///< stopped by a signal after a committed checkpoint
  std::int64_t steps = 0;
  std::optional<std::int64_t> stopped_at;  ///< the step whose line TrainOptions::stop_when held for
  std::optional<double> first_val_loss;
  std::optional<double> val_loss;
  std::optional<double> bits_per_byte;  ///< where the data's bytes per token are known
  std::filesystem::path checkpoint;
};

/// Trains, together with the other ranks, which call it with the same options. Rank 0 writes the run directory (config.json,
/// metrics.jsonl, tensorboard/, checkpoints/, summary.json) and tells the progress on stderr; of several ranks each has a log of
/// its own there (logs/rank-N.log). Before step 0 they compare what must be the same (files by their fingerprints, options,
/// weights). Training data that is lost on the way ends the run as a signal does, saved, and then throws. Throws Error with the
/// exit code of what went wrong; committed checkpoints stay intact whatever happens.
TrainSummary train(const TrainOptions& options, Ops& ops, Communicator& ranks);

/// Bytes of device memory that a rank's part of a run takes; nothing is allocated.
std::size_t planned_bytes(const RunConfig& config, const Ops& ops, Communicator& ranks);
/// The largest batch.micro_batch with which all ranks have equally many in each step, or where none does that with which a step can
/// be made at all, that a GPU has memory for, a GiB of it left to the driver and NCCL; of a CPU at most 4. 0: not even one sequence.
std::int64_t largest_micro_batch(const RunConfig& config, const Ops& ops, Communicator& ranks);
/// Bytes of host memory beside the plan: what the process has by now, and buffers that come and go while it works.
std::size_t program_bytes();

/// Refuses a run that does not fit on this machine, before it takes or writes anything: memory (OutOfMemory, with the changes that
/// would make it fit), disk and size of files (Error, ExitCode::io).
void check_machine(const TrainOptions& options, const Ops& ops, Communicator& ranks);

/// What of so many ranks' time a step leaves unused, and the batch.micro_batch that would not, in a sentence; empty: nothing.
std::string idle_ranks(const RunConfig& config, std::int64_t ranks);

/// Sizes, parameters, operations and memory of a rank's part of a run on `ops`, which is called `device`, as text, and the hours of the
/// run where a rate in tokens per second is given. Nothing is allocated, and of data nothing is read but the length of an epoch, where optimizer.decay_timescale counts in it.
std::string describe_run(const RunConfig& config, const Ops& ops, const std::string& device, Communicator& ranks,
                         double rate = 0.0);

}  // namespace temper
