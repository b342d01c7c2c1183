// Representation change: how much an update of the weights changed what linear layers make of the same inputs,
//   ||X dW^T|| / ||X W^T||, norms over all tokens and outputs.
// Kosson, Messmer & Jaggi, arXiv 2410.23922 (relative representational change).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/device_memory.h"
#include "model/gpt2.h"

namespace temper {

class RepresentationChange {
 public:
  struct Layer {
    std::string name;  ///< the weight's
    double change;
    /// Of that, what the weights' sizes give alone, ||dW||/||W||: change / relative_update is how well the update is aligned with
    /// the inputs, beside the weights themselves.
    double relative_update;
  };

  /// For sequences of up to `positions` tokens. With `ops` null only the plan is counted.
  RepresentationChange(const Weights& weights, std::int64_t positions, Ops* ops, DeviceMemory& memory);

  /// Waits. Inputs X are those of `tokens` (i32 [S,T], any S) in the model as it is now, W the weights in `before` (f32 flat),
  /// dW = now - before. One sequence at a time, so that the room the model has for others does not matter. The gradients' memory is
  /// used and left undefined. Matmuls are in f32 whatever the model's type. Biases do not count.
  std::vector<Layer> measure(Gpt2& model, ConstTensorView tokens, ConstTensorView before);

 private:
  const Weights& weights_;
  Ops* ops_;
  std::vector<const Parameter*> matrices_;
  TensorView input_;     // f32 [T, 4C], where the model's inputs are bf16
  TensorView output_;    // f32 [T, 4C]
  TensorView segments_;  // two ParameterSegments a matrix: its outputs, itself
  TensorView squares_;   // four TensorMoments a matrix: of X W^T, X dW^T, W, dW
  std::int64_t positions_;
};

}  // namespace temper
