// Muon's orthogonalisation: a matrix becomes one with nearly the same singular vectors and singular values near 1.
// github.com/KellerJordan/Muon.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/device_memory.h"
#include "kernels/ops.h"

namespace temper {

class NewtonSchulz {
 public:
  /// Takes the memory that matrices of these shapes need; with `ops` null only the plan is counted.
  NewtonSchulz(const std::vector<Shape>& shapes, std::int64_t iterations, Ops* ops, DeviceMemory& memory);

  /// matrix f32 [rows, columns], in place: X = G/(||G|| + 1e-7), then `iterations` times X = a X + (b A + c A A) X with A = X X^T,
  /// or the same of the transposed where there are more rows than columns. In bf16 where the device has it, else in f32.
  void orthogonalize(TensorView matrix);

 private:
  std::int64_t iterations_;
  Ops* ops_;
  TensorView x_, product_;               // as large as the largest matrix
  TensorView gram_, square_, gram_f32_;  // smaller side x smaller side
};

}  // namespace temper
