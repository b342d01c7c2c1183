#include "optim/muon.h"

#include <algorithm>

namespace temper {

namespace {

constexpr float a = 3.4445f, b = -4.7750f, c = 2.0315f;

}  // namespace

NewtonSchulz::NewtonSchulz(const std::vector<Shape>& shapes, std::int64_t iterations, Ops* ops, DeviceMemory& memory)
    : iterations_(iterations), ops_(ops) {
  std::int64_t largest = 0, smaller_side = 0;
  for (const Shape& shape : shapes) {
    largest = std::max(largest, shape.numel());
    smaller_side = std::max(smaller_side, std::min(shape[0], shape[1]));
  }
  // Room for f32, so that a plan does not depend on the device.
  for (TensorView* view : {&x_, &product_}) *view = memory.add("muon", DType::f32, {largest});
  for (TensorView* view : {&gram_, &square_, &gram_f32_}) *view = memory.add("muon", DType::f32, {smaller_side * smaller_side});
}

void NewtonSchulz::orthogonalize(TensorView matrix) {
  const std::int64_t rows = matrix.shape[0], columns = matrix.shape[1], side = std::min(rows, columns);
  const DType type = ops_->device().fast_bf16 ? DType::bf16 : DType::f32;
  const TensorView x{x_.data, type, {rows, columns}}, product{product_.data, type, {rows, columns}};
  const TensorView gram{gram_.data, type, {side, side}}, square{square_.data, type, {side, side}};
  const TensorView gram_f32{gram_f32_.data, DType::f32, {side, side}};

  ops_->normalize({.x = matrix, .out = x});
  for (std::int64_t iteration = 0; iteration < iterations_; ++iteration) {
    // Gram matrices and their polynomials are symmetric, so that nothing needs to be transposed.
    if (rows <= columns) {
      ops_->linear_forward({.x = x, .weight = x, .y = gram});
    } else {
      ops_->linear_backward_weight({.dy = x, .x = x, .dw = gram_f32, .write = Write::overwrite});
      ops_->cast({.from = gram_f32, .to = gram});
    }
    ops_->linear_forward({.x = gram, .weight = gram, .y = square});
    ops_->linear_combination({.a = b, .x = gram, .b = c, .y = square, .out = square});
    if (rows <= columns)
      ops_->linear_backward_input({.dy = square, .weight = x, .dx = product});
    else
      ops_->linear_forward({.x = x, .weight = square, .y = product});
    ops_->linear_combination({.a = a, .x = x, .b = 1.0f, .y = product, .out = x});
  }
  ops_->cast({.from = x, .to = matrix});
}

}  // namespace temper
