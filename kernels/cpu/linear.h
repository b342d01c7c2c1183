// Linear layers of the CPU backend: the three matmuls, their epilogues and the packed weights behind register_weight.
//
// Bits do not depend on the number of threads, nor those of a row on how many rows there are: the terms of an element are
// added in an order that depends on the reduction axis alone, by one thread; threads only share out blocks of elements.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "kernels/ops.h"

namespace temper::cpu {

class Linear {
 public:
  virtual ~Linear() = default;

  /// What the products run on, for doctor.
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
