// A model small enough for a test, on the CPU, with everything it needs.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernels/device_memory.h"
#include "kernels/ops.h"
#include "kernels/philox.h"
#include "model/gpt2.h"
#include "model/weights.h"

namespace temper {

using Tokens = std::vector<std::int32_t>;

inline ModelConfig small_config(bool bias) {
  ModelConfig config;
  config.n_layer = 2;
  config.n_head = 2;
  config.n_embd = 32;
  config.n_ctx = 24;
  config.vocab_size = 131;  // padded to 256
  config.bias = bias;
  return config;
}

/// Number i of a stream of normal numbers.
inline float normal(std::uint64_t stream, std::uint64_t i) {
  const PhiloxBlock block = random_block(stream, RandomPurpose::benchmark, 0, i);
  return static_cast<float>(std::sqrt(-2.0 * std::log(static_cast<double>(uniform_open(block.word[0])))) *
                            std::cos(2.0 * 3.141592653589793 * uniform_open(block.word[1])));
}

inline Tokens random_tokens(std::int64_t count, std::int64_t vocab_size, std::uint64_t stream) {
  Tokens tokens(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<std::int32_t>(random_block(stream, RandomPurpose::benchmark, 1, i).word[0] %
                                          static_cast<std::uint32_t>(vocab_size));
  return tokens;
}

class SmallModel {
 public:
  SmallModel(const ModelConfig& config, Precision precision, std::int64_t sequences, Recompute recompute = Recompute::none,
             std::unique_ptr<Ops> backend = make_cpu_ops())
      : ops(std::move(backend)),
        memory(ops.get()),
        weights(config, precision, Weights::Use::training, ops.get(), memory),
        model(weights, Weights::Use::training, recompute, sequences, config.n_ctx, ops.get(), memory),
        rows_(sequences * config.n_ctx),
        tokens_(memory.add("test", DType::i32, {rows_})),
        targets_(memory.add("test", DType::i32, {rows_})),
        loss_(memory.add("test", DType::f32, {1})) {}

  /// Weights, gains and biases so wide that every part of the model matters.
  void randomize(std::uint64_t stream) {
    weights.upload([&](const Parameter& parameter, std::span<float> values) {
      const bool gain = parameter.kind == ParameterKind::layernorm && parameter.name.ends_with(".weight");
      const std::int64_t columns = parameter.shape.back();
      const std::int64_t count =
          parameter.name == "transformer.wte.weight" ? weights.config().vocab_size * columns : parameter.numel();
      for (std::int64_t i = 0; i < count; ++i)
        values[static_cast<std::size_t>(i)] =
            (gain ? 1.0f : 0.0f) + 0.1f * normal(stream, static_cast<std::uint64_t>(parameter.offset + i));
    });
  }

  /// Mean loss of [B,T] tokens times `share`, and its gradient; returns the loss so far.
  float forward_backward(const Tokens& tokens, const Tokens& targets, std::int64_t B, float share = 1.0f,
                         Write write = Write::overwrite) {
    const Shape shape = batch(tokens, targets, B);
    model.forward_backward(tokens_.reshaped(shape), targets_.reshaped(shape), share / static_cast<float>(tokens.size()), write,
                           loss_);
    return read(loss_)[0];
  }

  /// Mean loss in double precision, from the losses of the tokens.
  double mean_loss(const Tokens& tokens, const Tokens& targets, std::int64_t B) {
    const Shape shape = batch(tokens, targets, B);
    model.forward_loss(tokens_.reshaped(shape), targets_.reshaped(shape), 1.0f, Write::overwrite, loss_);
    double sum = 0.0;
    const std::vector<float> losses = read(model.token_losses());
    for (std::size_t i = 0; i < tokens.size(); ++i) sum += losses[i];
    return sum / static_cast<double>(tokens.size());
  }

  /// [B*T, vocab]
  std::vector<float> logits(const Tokens& tokens, std::int64_t B) {
    const Shape shape = batch(tokens, tokens, B);
    const auto rows = static_cast<std::int64_t>(tokens.size());
    const std::int64_t padded = padded_vocab_size(weights.config());
    DeviceMemory own(ops.get());
    const TensorView device = own.add("logits", weights.activation_type(), {rows, padded});
    model.forward_logits(tokens_.reshaped(shape), device);
    const std::vector<float> full = read(device);
    std::vector<float> cut;
    for (std::int64_t row = 0; row < rows; ++row) {
      const auto begin = full.begin() + row * padded;
      cut.insert(cut.end(), begin, begin + weights.config().vocab_size);
    }
    return cut;
  }

  /// Tokens on the device as [B,T].
  ConstTensorView upload(const Tokens& tokens, std::int64_t B) { return tokens_.reshaped(batch(tokens, tokens, B)); }

  std::vector<float> gradient(const Parameter& parameter) { return read(weights.gradient(parameter)); }
  std::vector<float> all_gradients() { return read(weights.gradients()); }

  /// f32 or bf16 on the device.
  std::vector<float> read(ConstTensorView tensor) {
    std::vector<float> values(static_cast<std::size_t>(tensor.numel()));
    if (tensor.dtype == DType::bf16) {
      std::vector<bfloat16> low(values.size());
      ops->copy_to_host(low.data(), tensor.data, tensor.bytes());
      for (std::size_t i = 0; i < low.size(); ++i) values[i] = to_float(low[i]);
    } else {
      ops->copy_to_host(values.data(), tensor.data, tensor.bytes());
    }
    return values;
  }

  std::unique_ptr<Ops> ops;
  DeviceMemory memory;
  Weights weights;
  Gpt2 model;

 private:
  Shape batch(const Tokens& tokens, const Tokens& targets, std::int64_t B) {
    ops->copy_to_device(tokens_.data, tokens.data(), tokens.size() * sizeof(std::int32_t));
    ops->copy_to_device(targets_.data, targets.data(), targets.size() * sizeof(std::int32_t));
    ops->synchronize();
    return {B, static_cast<std::int64_t>(tokens.size()) / B};
  }

  std::int64_t rows_;
  TensorView tokens_, targets_, loss_;
};

/// norm(a - b) / norm(b)
inline double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0.0, norm = 0.0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double d = static_cast<double>(a.at(i)) - b[i];
    difference += d * d;
    norm += static_cast<double>(b[i]) * b[i];
  }
  return norm == 0.0 && difference == 0.0 ? 0.0 : std::sqrt(difference / norm);
}

}  // namespace temper
