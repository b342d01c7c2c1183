// Linear layers: the three products through device/product.h, then whatever the product cannot carry in its epilogue as kernels of
// our own.
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/families.h"

namespace temper::TEMPER_BACKEND {

namespace {

TensorView read_only(ConstTensorView view) { return {const_cast<void*>(view.data), view.dtype, view.shape}; }

}  // namespace

// Each operation is one product with its epilogue or, where that is not allowed, not known to the library or slower, a product with a
// simpler one and the rest as a kernel of its own: `fused` and `apart`.

void CudaOps::queue(const op::LinearForward& args) {
  ProductCall plain;
  plain.m = args.x.shape.rows();
  plain.n = args.weight.shape[0];
  plain.k = args.weight.shape[1];
  plain.a = args.x;
  plain.b = args.weight;
  plain.b_transposed = true;
  plain.bias = read_only(args.bias);
  plain.epilogue = args.bias.present() ? ProductEpilogue::bias : ProductEpilogue::none;
  plain.d = args.y;
  const bool gelu = args.epilogue == Epilogue::bias_gelu;
  if (!gelu && !args.residual.present()) return product_.run(plain);

  ProductCall fused = plain;
  if (gelu) {
    fused.epilogue = ProductEpilogue::bias_gelu;
    fused.aux = args.pre;
    plain.d = args.pre;
  } else {
    fused.residual = args.residual;
  }
  const Way apart = [&] {
    product_.run(plain);
    if (gelu)
      gelu_forward(args.pre, args.y, stream_);
    else
      queue(op::LinearCombination{.a = 1, .x = args.y, .b = 1, .y = args.residual, .out = args.y});
    return true;
  };
  // The library's GELU and ours differ in the last bits.
  if (!args.again && allowed(gelu ? Fast::gelu : Fast::residual) && product_.fuses(fused, apart))
    product_.run(fused);
  else
    apart();
}

void CudaOps::queue(const op::LinearBackwardInput& args) {
  ProductCall plain;
  plain.m = args.dy.shape.rows();
  plain.n = args.weight.shape[1];
  plain.k = args.weight.shape[0];
  plain.a = args.dy;
  plain.b = args.weight;
  plain.d = args.dx;
  if (!args.pre.present()) return product_.run(plain);

  ProductCall fused = plain;
  fused.epilogue = ProductEpilogue::gelu_backward;
  fused.aux = read_only(args.pre);
  const Way apart = [&] {
    product_.run(plain);
    gelu_backward(args.pre, args.dx, stream_);
    return true;
  };
  if (allowed(Fast::gelu_gradient) && product_.fuses(fused, apart))
    product_.run(fused);
  else
    apart();
}

void CudaOps::queue(const op::LinearBackwardWeight& args) {
  ProductCall plain;
  plain.m = args.dw.shape[0];
  plain.n = args.dw.shape[1];
  plain.k = args.dy.shape.rows();
  plain.a = args.dy;
  plain.a_transposed = true;
  plain.b = args.x;
  plain.d = args.dw;
  plain.accumulate = args.write == Write::accumulate;
  if (!args.dbias.present()) return product_.run(plain);

  const Way apart = [&] {
    product_.run(plain);
    bias_gradient(args.dy, args.dbias, args.write, workspace_, stream_);
    return true;
  };
  if (args.write == Write::overwrite && allowed(Fast::bias_gradient)) {
    ProductCall fused = plain;
    fused.epilogue = ProductEpilogue::bias_gradient;
    fused.bias = args.dbias;
    if (product_.fuses(fused, apart)) return product_.run(fused);
  }
  apart();
}

}  // namespace temper::TEMPER_BACKEND
