#include "kernels/cuda/linear.h"

#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/row_sums.h"

namespace temper::TEMPER_BACKEND {

namespace {

TensorView read_only(ConstTensorView view) { return {const_cast<void*>(view.data), view.dtype, view.shape}; }

}  // namespace

void Linear::forward(ConstTensorView x, ConstTensorView weight, ConstTensorView bias, Epilogue epilogue, TensorView y,
                     TensorView pre) {
  ProductCall call;
  call.m = x.shape.rows();
  call.n = weight.shape[0];
  call.k = weight.shape[1];
  call.a = x;
  call.b = weight;
  call.b_transposed = true;
  call.d = y;
  call.bias = read_only(bias);
  if (epilogue == Epilogue::bias_gelu) {
    call.epilogue = ProductEpilogue::bias_gelu;
    call.aux = pre;
    if (product_.supports(call)) return product_.run(call);
    call.aux = {};
    call.d = pre;
  }
  call.epilogue = bias.present() ? ProductEpilogue::bias : ProductEpilogue::none;
  product_.run(call);
  if (epilogue == Epilogue::bias_gelu) gelu_forward(pre, y, stream_);
}

void Linear::backward_input(ConstTensorView dy, ConstTensorView weight, ConstTensorView pre, TensorView dx) {
  ProductCall call;
  call.m = dy.shape.rows();
  call.n = weight.shape[1];
  call.k = weight.shape[0];
  call.a = dy;
  call.b = weight;
  call.d = dx;
  if (pre.present()) {
    call.epilogue = ProductEpilogue::gelu_backward;
    call.aux = read_only(pre);
    if (product_.supports(call)) return product_.run(call);
    call.epilogue = ProductEpilogue::none;
    call.aux = {};
  }
  product_.run(call);
  if (pre.present()) gelu_backward(pre, dx, stream_);
}

void Linear::backward_weight(ConstTensorView dy, ConstTensorView x, TensorView dw, TensorView dbias, Write write) {
  ProductCall call;
  call.m = dw.shape[0];
  call.n = dw.shape[1];
  call.k = dy.shape.rows();
  call.a = dy;
  call.a_transposed = true;
  call.b = x;
  call.d = dw;
  call.accumulate = write == Write::accumulate;
  if (dbias.present() && write == Write::overwrite) {
    call.epilogue = ProductEpilogue::bias_gradient;
    call.bias = dbias;
    if (product_.supports(call)) return product_.run(call);
    call.epilogue = ProductEpilogue::none;
    call.bias = {};
  }
  product_.run(call);
  if (dbias.present()) bias_gradient(dy, dbias, write, workspace_, stream_);
}

}  // namespace temper::TEMPER_BACKEND
