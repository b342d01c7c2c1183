// Times each operation of kernels/ops.h on the shapes of a training step, beside the least time this machine could take for
// it: the floor, max(bytes / copy bandwidth, operations / matmul rate), with both rates measured in the same run (the roofline
// model: Williams, Waterman and Patterson, "Roofline: an insightful visual performance model", CACM 52(4), 2009).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "bench/report.h"
#include "config/run_config.h"
#include "kernels/cases/case_run.h"
#include "kernels/cases/op_case.h"
#include "kernels/device_memory.h"
#include "kernels/ops.h"

namespace temper {

/// Bytes that a run of the case reads or writes, each once.
double touched_bytes(const OpCase& op_case, DType activation);
/// Bytes of all the case's tensors.
double tensor_bytes(const OpCase& op_case, DType activation);

/// A case in several copies that take turns, so that a run finds caches cold.
class RotatingCase {
 public:
  /// Fills the first copy as the case declares and the others from it. As many copies as touch `cold_bytes` together, as long
  /// as those beyond the first take no more than `most_bytes`; at least one.
  RotatingCase(Ops& ops, const OpCase& op_case, DType activation, std::size_t cold_bytes, std::size_t most_bytes);

  std::int64_t copies() const { return static_cast<std::int64_t>(copies_.size()); }
  /// Runs that may follow each other before restore().
  std::int64_t most_runs() const { return pristine_.empty() ? INT64_MAX : copies(); }

  /// Runs the case on the next `count` copies.
  void run(std::int64_t count);
  /// Puts back the activations that runs since the last restore() have changed in place.
  void restore();

 private:
  /// A new tensor with the contents of `from`.
  TensorView copied(TensorView from);

  Ops& ops_;
  OpCase case_;
  CaseRun first_;
  DeviceMemory memory_;
  std::vector<Views> copies_;
  std::map<std::string, TensorView> pristine_;  // of activations that the case changes
  std::size_t next_ = 0;
  std::int64_t changed_ = 0;  // runs since restore()
};

/// Runs of a case take turns on copies of its buffers, so that caches do not hold what a run reads.
struct Rotation {
  std::size_t cold_bytes = 0;  ///< what the copies touch together, at least; 0: one copy, warm caches
  std::size_t most_bytes = 0;  ///< device memory that copies beyond the first may take
};

/// Twice the last-level cache, in at most an eighth of the device's memory.
Rotation cold_rotation(const DeviceInfo& device);

/// What the ceilings are measured with.
struct CeilingSizes {
  std::int64_t copy_bytes = 0;     ///< read by one copy, and as much written; 0: more than caches hold
  std::int64_t matmul_extent = 0;  ///< R = N = K; 0: enough to fill the device
};

struct KernelBenchSettings {
  std::string model = "124m";
  Dimensions dimensions;         ///< see dimensions_of()
  std::vector<std::string> ops;  ///< names of operations; empty: all
  Precision precision = Precision::fp32;
  std::int64_t repetitions = 10;  ///< at least 1
  double min_seconds = 0.2;       ///< of each case, all repetitions together
  bool warm_cache = false;
  CeilingSizes ceilings;
};

struct KernelResult {
  std::string op;
  std::string shape;
  double bytes = 0.0;  ///< OpCase::bytes
  double flops = 0.0;
  double floor_seconds = 0.0;  ///< 0 for the ceilings themselves
  bool warm = false;           ///< the copies fit into the caches all the same
  Measurement measurement;
};

struct KernelBenchResult {
  KernelBenchSettings settings;
  DeviceInfo device;
  double load_average = 0.0;  ///< of the minute before the start
  Rotation rotation;
  KernelResult copy;    ///< the ceiling of bytes
  KernelResult matmul;  ///< the ceiling of operations
  double bytes_per_second = 0.0;
  double flops_per_second = 0.0;
  std::vector<KernelResult> kernels;
  std::vector<std::string> skipped;  ///< cases that do not fit into memory, with the reason
  bool complete = false;             ///< every chosen case was measured, and the ceilings the second time
};

/// Hears of each case before it starts: its name, the share that is done, and what was measured so far. At the first call that is
/// nothing, at later ones a report can be made of it.
using CaseCallback = std::function<void(const std::string&, double, const KernelBenchResult&)>;

/// The sizes of a step of `model` with `batch` sequences of `context` tokens.
Dimensions dimensions_of(const ModelConfig& model, std::int64_t batch, std::int64_t context);

/// Throws Error(ExitCode::usage) with the nearest names for an operation that has no case.
std::vector<OpCase> choose_cases(const Dimensions& dimensions, const std::vector<std::string>& ops);

/// Times one case, without a floor. Activations that it changes in place are put back after each use, since a gradient in
/// the place of logits is other work; accumulators and optimizer states go on, as in training.
KernelResult bench_case(Ops& ops, const OpCase& op_case, const KernelBenchSettings& settings, const Rotation& rotation);

/// Ceilings, every chosen case, and the ceilings once more; a ceiling's rate is that of its fastest repetition.
KernelBenchResult bench_kernels(const KernelBenchSettings& settings, Ops& ops, const CaseCallback& on_case = nullptr);

/// What the device copies and multiplies, at best, with tensors of `precision`.
struct Ceilings {
  double bytes_per_second = 0.0;
  double flops_per_second = 0.0;
};
Ceilings bench_ceilings(Precision precision, Ops& ops);

/// A table for people; and JSON in Google Benchmark's form.
std::string to_text(const KernelBenchResult& result);
std::string to_json(const KernelBenchResult& result, const std::string& commit);

}  // namespace temper
