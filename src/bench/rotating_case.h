// A benchmark case in several copies that take turns, so that a run finds caches cold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/cases/case_run.h"
#include "kernels/device_memory.h"

namespace temper {

/// Bytes that a run of the case reads or writes, each once.
double touched_bytes(const OpCase& op_case, DType activation);
/// Bytes of all the case's tensors.
double tensor_bytes(const OpCase& op_case, DType activation);

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

}  // namespace temper
