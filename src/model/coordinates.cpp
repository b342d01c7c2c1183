#include "model/coordinates.h"

#include <cmath>
#include <iterator>

#include "kernels/check.h"
#include "kernels/device_memory.h"

namespace temper {

namespace {

struct Coordinates {
  std::string name;
  std::vector<float> values;
};

std::vector<Coordinates> coordinates_of(const ModelConfig& config, Gpt2& model, ConstTensorView tokens, Ops& ops) {
  std::vector<Coordinates> all;
  const auto keep = [&](const std::string& name, ConstTensorView x) {
    require(x.dtype == DType::f32, "coordinate_sizes: a model in f32");
    all.push_back({name, std::vector<float>(static_cast<std::size_t>(x.numel()))});
    ops.copy_to_host(all.back().values.data(), x.data, x.bytes());
  };
  const std::string prefix = "transformer.";
  model.forward_observed(tokens, [&](const Parameter& weight, ConstTensorView x) { keep(weight.name.substr(prefix.size()), x); });
  DeviceMemory memory(&ops);
  const TensorView logits = memory.add("logits", DType::f32, {tokens.numel(), padded_vocab_size(config)});
  model.forward_logits(tokens, logits);
  keep("logits", logits);  // those of the vocabulary's padding are 0 in both
  return all;
}

}  // namespace

std::vector<CoordinateSize> coordinate_sizes(const ModelConfig& config, Gpt2& model, Gpt2& before, ConstTensorView tokens,
                                             Ops& ops) {
  const std::vector<Coordinates> now = coordinates_of(config, model, tokens, ops),
                                 then = coordinates_of(config, before, tokens, ops);
  std::vector<CoordinateSize> sizes;
  for (std::size_t i = 0; i < now.size(); ++i) {
    double squares = 0.0, changes = 0.0;
    for (std::size_t j = 0; j < now[i].values.size(); ++j) {
      const double value = static_cast<double>(now[i].values[j]), change = value - static_cast<double>(then[i].values.at(j));
      squares += value * value;
      changes += change * change;
    }
    const bool padded = now[i].name == "logits";
    const auto count = static_cast<double>(padded ? tokens.numel() * config.vocab_size : std::ssize(now[i].values));
    sizes.push_back({now[i].name, std::sqrt(squares / count), std::sqrt(changes / count)});
  }
  return sizes;
}

}  // namespace temper
