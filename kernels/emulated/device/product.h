// The counterpart of kernels/cuda/device/product.h: the CPU backend multiplies, and carries no epilogue but a bias, so that every
// kernel that stands in for one is executed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <device/runtime.h>
#include "kernels/tensor.h"

namespace temper::emulated {

enum class ProductEpilogue : std::uint8_t { none, bias, bias_gelu, gelu_backward, bias_gradient };

struct ProductCall {
  std::int64_t m = 0, n = 0, k = 0;
  ConstTensorView a, b;
  bool a_transposed = false;
  bool b_transposed = false;
  TensorView d;
  bool accumulate = false;
  ProductEpilogue epilogue = ProductEpilogue::none;
  TensorView bias;
  TensorView aux;
};

class Product {
 public:
  Product(Device& device, Stream& stream);
  bool supports(const ProductCall& call);
  void run(const ProductCall& call);
  std::size_t workspace_bytes() const { return 0; }
  std::string description() const { return "products on the CPU backend"; }

 private:
  Stream& stream_;
  std::shared_ptr<Ops> cpu_;
};

}  // namespace temper::emulated
