#include <device/product.h>

namespace temper::emulated {

Product::Product(Device& /*device*/, Stream& stream) : stream_(stream), cpu_(make_cpu_ops()) {}

bool Product::supports(const ProductCall& call) {
  return call.epilogue == ProductEpilogue::none || call.epilogue == ProductEpilogue::bias;
}

void Product::run(const ProductCall& call) {
  const Write write = call.accumulate ? Write::accumulate : Write::overwrite;
  stream_.push({[call, write, cpu = cpu_] {
    if (call.a_transposed)
      cpu->linear_backward_weight(call.a, call.b, call.d, {}, write);
    else if (call.b_transposed)
      cpu->linear_forward(call.a, call.b, call.bias, call.epilogue == ProductEpilogue::bias ? Epilogue::bias : Epilogue::none,
                          call.d, {});
    else
      cpu->linear_backward_input(call.a, call.b, {}, call.d);
    cpu->synchronize();
  }});
}

}  // namespace temper::emulated
