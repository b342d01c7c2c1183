// Linear layers of the CPU backend: the three matmuls, their epilogues and the packed weights behind register_weight.
// Two implementations, one of which is built: linear_onednn.cpp and linear_no_onednn.cpp (plain loops).
//
// Bits do not depend on the number of threads: every product is cut into blocks whose sizes depend on the shape alone, each
// block is computed whole (all of the reduction axis) by one thread, and threads only share out the blocks.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "kernels/ops.h"

namespace temper::cpu {

class Linear {
 public:
  virtual ~Linear() = default;

  /// "oneDNN 2.6.3" or "plain loops": shown by doctor.
  virtual std::string description() const = 0;

  /// See Ops::register_weight.
  virtual std::size_t register_weight(ConstTensorView weight) = 0;
  /// Memory [begin, begin + bytes) was written: packed copies of weights that overlap it are stale.
  virtual void written(const void* begin, std::size_t bytes) = 0;

  /// As the methods of Ops with these names; arguments are checked already.
  virtual void forward(ConstTensorView x, ConstTensorView weight, ConstTensorView bias, Epilogue epilogue, TensorView y,
                       TensorView pre) = 0;
  virtual void backward_input(ConstTensorView dy, ConstTensorView weight, ConstTensorView pre, TensorView dx) = 0;
  virtual void backward_weight(ConstTensorView dy, ConstTensorView x, TensorView dw, TensorView dbias, Write write) = 0;
};

std::unique_ptr<Linear> make_linear();

}  // namespace temper::cpu
