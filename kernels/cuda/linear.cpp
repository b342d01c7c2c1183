// Linear layers: the three products through device/product.h, then whatever the product cannot carry in its epilogue as kernels of
// our own.
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/families.h"

namespace temper::TEMPER_BACKEND {

namespace {

TensorView read_only(ConstTensorView view) { return {const_cast<void*>(view.data), view.dtype, view.shape}; }

}  // namespace

void CudaOps::queue(const op::LinearForward& args) {
  ProductCall call;
  call.m = args.x.shape.rows();
  call.n = args.weight.shape[0];
  call.k = args.weight.shape[1];
  call.a = args.x;
  call.b = args.weight;
  call.b_transposed = true;
  call.d = args.y;
  call.bias = read_only(args.bias);
  if (args.epilogue == Epilogue::bias_gelu) {
    call.epilogue = ProductEpilogue::bias_gelu;
    call.aux = args.pre;
    if (product_.supports(call)) return product_.run(call);
    call.aux = {};
    call.d = args.pre;
  }
  call.epilogue = args.bias.present() ? ProductEpilogue::bias : ProductEpilogue::none;
  product_.run(call);
  if (args.epilogue == Epilogue::bias_gelu) gelu_forward(args.pre, args.y, stream_);
}

void CudaOps::queue(const op::LinearBackwardInput& args) {
  ProductCall call;
  call.m = args.dy.shape.rows();
  call.n = args.weight.shape[1];
  call.k = args.weight.shape[0];
  call.a = args.dy;
  call.b = args.weight;
  call.d = args.dx;
  if (args.pre.present()) {
    call.epilogue = ProductEpilogue::gelu_backward;
    call.aux = read_only(args.pre);
    if (product_.supports(call)) return product_.run(call);
    call.epilogue = ProductEpilogue::none;
    call.aux = {};
  }
  product_.run(call);
  if (args.pre.present()) gelu_backward(args.pre, args.dx, stream_);
}

void CudaOps::queue(const op::LinearBackwardWeight& args) {
  ProductCall call;
  call.m = args.dw.shape[0];
  call.n = args.dw.shape[1];
  call.k = args.dy.shape.rows();
  call.a = args.dy;
  call.a_transposed = true;
  call.b = args.x;
  call.d = args.dw;
  call.accumulate = args.write == Write::accumulate;
  if (args.dbias.present() && args.write == Write::overwrite) {
    call.epilogue = ProductEpilogue::bias_gradient;
    call.bias = args.dbias;
    if (product_.supports(call)) return product_.run(call);
    call.epilogue = ProductEpilogue::none;
    call.bias = {};
  }
  product_.run(call);
  if (args.dbias.present()) bias_gradient(args.dy, args.dbias, args.write, workspace_, stream_);
}

}  // namespace temper::TEMPER_BACKEND
