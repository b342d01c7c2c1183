#include "model/layers.h"

#include <string>

namespace temper {

void NormLayer::forward(Ops& ops, ConstTensorView x, const NormOutput& to) const {
  ops.layernorm_forward({.x = x, .gamma = weight, .beta = bias, .out = to.out, .mean = to.mean, .rstd = to.rstd});
}

void NormLayer::backward(Ops& ops, ConstTensorView dout, ConstTensorView x, const NormOutput& from, ConstTensorView dresidual,
                         TensorView dx, Write write) const {
  ops.layernorm_backward({.dout = dout,
                          .x = x,
                          .gamma = weight,
                          .mean = from.mean,
                          .rstd = from.rstd,
                          .dresidual = dresidual,
                          .dx = dx,
                          .dgamma = dweight,
                          .dbeta = dbias,
                          .write = write});
}

void LinearLayer::forward(Ops& ops, ConstTensorView x, TensorView y, ConstTensorView residual) const {
  const Epilogue epilogue = bias.present() ? Epilogue::bias : Epilogue::none;
  ops.linear_forward({.x = x, .weight = weight, .bias = bias, .residual = residual, .epilogue = epilogue, .y = y});
}

void LinearLayer::forward_gelu(Ops& ops, ConstTensorView x, TensorView pre, TensorView y, bool again) const {
  ops.linear_forward({.x = x, .weight = weight, .bias = bias, .epilogue = Epilogue::bias_gelu, .y = y, .pre = pre, .again = again});
}

void LinearLayer::backward_weight(Ops& ops, ConstTensorView dy, ConstTensorView x, Write write) const {
  ops.linear_backward_weight({.dy = dy, .x = x, .dw = dweight, .dbias = dbias, .write = write});
}

void LinearLayer::backward_input(Ops& ops, ConstTensorView dy, TensorView dx, ConstTensorView pre) const {
  ops.linear_backward_input({.dy = dy, .weight = weight, .pre = pre, .dx = dx});
}

Gpt2Layers::Gpt2Layers(const Weights& weights) {
  const ParameterLayout& layout = weights.layout();
  const auto fill = [&](auto& layer, const std::string& name) {
    layer.parameter = layout.find(name + ".weight");
    const Parameter* const bias = layout.find(name + ".bias");
    layer.weight = weights.weight(*layer.parameter);
    layer.dweight = weights.gradient(*layer.parameter);
    if (bias == nullptr) return;
    layer.bias = weights.weight(*bias);
    layer.dbias = weights.gradient(*bias);
  };
  blocks.resize(static_cast<std::size_t>(weights.config().n_layer));
  for (std::size_t layer = 0; layer < blocks.size(); ++layer) {
    const std::string name = "transformer.h." + std::to_string(layer);
    BlockLayers& block = blocks[layer];
    fill(block.ln_1, name + ".ln_1");
    fill(block.c_attn, name + ".attn.c_attn");
    fill(block.attn_proj, name + ".attn.c_proj");
    fill(block.ln_2, name + ".ln_2");
    fill(block.c_fc, name + ".mlp.c_fc");
    fill(block.mlp_proj, name + ".mlp.c_proj");
  }
  fill(ln_f, "transformer.ln_f");
  fill(head, "transformer.wte");
  const Parameter& positions = *layout.find("transformer.wpe.weight");
  wpe = weights.weight(positions);
  dwpe = weights.gradient(positions);
}

}  // namespace temper
