// Linear layers: the three products through device/product.h, with whatever the product cannot carry in its epilogue as kernels of
// our own behind it (gelu.h, bias.h).
#pragma once

#include <device/product.h>
#include <device/runtime.h>
#include "kernels/cuda/workspace.h"
#include "kernels/ops.h"

namespace temper::TEMPER_BACKEND {

class Linear {
 public:
  Linear(Device& device, Stream& stream, Workspace& workspace) : stream_(stream), workspace_(workspace), product_(device, stream) {}

  /// As the methods of Ops with these names; arguments are checked already.
  void forward(ConstTensorView x, ConstTensorView weight, ConstTensorView bias, Epilogue epilogue, TensorView y, TensorView pre);
  void backward_input(ConstTensorView dy, ConstTensorView weight, ConstTensorView pre, TensorView dx);
  void backward_weight(ConstTensorView dy, ConstTensorView x, TensorView dw, TensorView dbias, Write write);

  /// Memory that the products hold for themselves.
  std::size_t product_bytes() const { return product_.workspace_bytes(); }
  /// What products run on, for doctor.
  std::string description() const { return product_.description(); }

 private:
  Stream& stream_;
  Workspace& workspace_;
  Product product_;
};

}  // namespace temper::TEMPER_BACKEND
