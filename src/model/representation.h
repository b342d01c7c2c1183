// Representation change: how much an update of the weights changed what linear layers make of the same inputs,
//   ||X dW^T|| / ||X W^T||, norms over all tokens and outputs,
// of the whole update and of the step alone, without the decay.
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
  /// A matrix; queries, keys and values are three.
  struct Layer {
    std::string name;  ///< the weight's, with ".q", ".k" or ".v" where it is one of three
    double change = 0.0, step_change = 0.0;
    /// Of that, what the weights' sizes give alone, ||dW||/||W||: change / relative_update is how well the update is aligned with
    /// the inputs, beside the weights themselves.
    double relative_update = 0.0, relative_step = 0.0;
  };

  /// For sequences of up to `positions` tokens. With `ops` null only the plan is counted.
  RepresentationChange(const Weights& weights, std::int64_t positions, Ops* ops, DeviceMemory& memory);

  /// Waits. Inputs X are those of `tokens` (i32 [S,T], any S) in the model as it is now, W the weights in `before`, dW = now - before,
  /// or `step`; both f32 flat. One sequence at a time, so that the room the model has for others does not matter, and for each a
  /// forward pass and three times its matmuls. Those are in f32 whatever the model's type. Biases do not count.
  std::vector<Layer> measure(Gpt2& model, ConstTensorView tokens, ConstTensorView before, ConstTensorView step);

 private:
  struct Matrix {
    const Parameter* owner;
    std::string name;
    std::int64_t offset;
    Shape shape;
  };
  void add_squares(const Matrix& matrix, ConstTensorView x, ConstTensorView before, ConstTensorView step, std::size_t number);

  const Weights& weights_;
  Ops* ops_;
  std::vector<Matrix> matrices_;
  TensorView input_;     // f32 [T, 4C], where the model's inputs are bf16
  TensorView output_;    // f32 [T, 4C]
  TensorView change_;    // f32, of a matrix
  TensorView segments_;  // two ParameterSegments a matrix: its outputs, itself
  TensorView squares_;   // six TensorMoments a matrix: of the outputs of W, dW and step, of themselves
  std::int64_t positions_;
};

}  // namespace temper
