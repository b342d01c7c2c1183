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
      cpu->linear_backward_weight({.dy = call.a, .x = call.b, .dw = call.d, .write = write});
    else if (call.b_transposed)
      cpu->linear_forward({.x = call.a,
                           .weight = call.b,
                           .bias = call.bias,
                           .epilogue = call.epilogue == ProductEpilogue::bias ? Epilogue::bias : Epilogue::none,
                           .y = call.d});
    else
      cpu->linear_backward_input({.dy = call.a, .weight = call.b, .dx = call.d});
    cpu->synchronize();
  }});
}

}  // namespace temper::emulated
