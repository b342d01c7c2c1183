// The representation change against matmuls on the host.
#include "model/representation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "small_model.h"

namespace temper {
namespace {

/// ||X W^T||^2 in double.
double output_squares(const std::vector<float>& x, const float* weight, std::int64_t inputs, std::int64_t outputs) {
  double squares = 0.0;
  const auto rows = static_cast<std::int64_t>(x.size()) / inputs;
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t out = 0; out < outputs; ++out) {
      double y = 0.0;
      for (std::int64_t in = 0; in < inputs; ++in)
        y += static_cast<double>(x[static_cast<std::size_t>(row * inputs + in)]) * static_cast<double>(weight[out * inputs + in]);
      squares += y * y;
    }
  return squares;
}

/// The change of what a matrix makes of x, and its share of the matrix.
std::pair<double, double> expected_change(const std::vector<float>& x, const std::vector<float>& before,
                                          const std::vector<float>& change, std::size_t offset, Shape shape) {
  double squares = 0.0, changes = 0.0;
  for (std::size_t i = offset; i < offset + static_cast<std::size_t>(shape.numel()); ++i) {
    squares += std::pow(static_cast<double>(before[i]), 2);
    changes += std::pow(static_cast<double>(change[i]), 2);
  }
  return {std::sqrt(output_squares(x, change.data() + offset, shape[1], shape[0]) /
                    output_squares(x, before.data() + offset, shape[1], shape[0])),
          std::sqrt(changes / squares)};
}

class Representation : public testing::TestWithParam<Recompute> {};

TEST_P(Representation, AgreesWithMatmulsOnTheHost) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    const ModelConfig config = small_config(true);
    SmallModel small(config, precision, 2, GetParam());
    small.randomize(5);
    RepresentationChange change(small.weights, config.n_ctx, small.ops.get(), small.memory);

    // Weights before: those now, each moved by some noise.
    const std::vector<float> now = small.read(small.weights.master());
    std::vector<float> earlier = now, update(now.size()), step(now.size());
    for (std::size_t i = 0; i < earlier.size(); ++i) {
      earlier[i] -= 1e-2f * normal(99, i);
      update[i] = now[i] - earlier[i];
      step[i] = 3e-2f * normal(98, i);
    }
    const TensorView before = small.memory.add("test", DType::f32, small.weights.master().shape);
    small.ops->copy_to_device(before.data, earlier.data(), earlier.size() * sizeof(float));
    const TensorView step_alone = small.weights.gradients();  // where diagnostics leave it
    small.ops->copy_to_device(step_alone.data, step.data(), step.size() * sizeof(float));
    const Tokens tokens = random_tokens(2 * config.n_ctx, config.vocab_size, 3);
    const ConstTensorView batch = small.upload(tokens, 2);

    std::map<std::string, RepresentationChange::Layer> expected;
    small.model.forward_observed(batch, [&](const Parameter& weight, ConstTensorView x) {
      const std::vector<float> inputs = small.read(x);
      const bool qkv = weight.name.ends_with("attn.c_attn.weight");
      const Shape shape = {qkv ? config.n_embd : weight.shape[0],
                           config.n_embd * (weight.name.ends_with("mlp.c_proj.weight") ? 4 : 1)};
      for (std::size_t part = 0; part < (qkv ? 3 : 1); ++part) {
        const std::size_t offset = static_cast<std::size_t>(weight.offset) + part * static_cast<std::size_t>(shape.numel());
        const auto [of_update, relative_update] = expected_change(inputs, earlier, update, offset, shape);
        const auto [of_step, relative_step] = expected_change(inputs, earlier, step, offset, shape);
        const std::string name = weight.name + (qkv ? std::string(".") + "qkv"[part] : "");
        expected[name] = {name, of_update, of_step, relative_update, relative_step};
      }
    });
    const std::vector<RepresentationChange::Layer> measured = change.measure(small.model, batch, before, step_alone);
    ASSERT_EQ(measured.size(), static_cast<std::size_t>(6 * config.n_layer));
    for (const RepresentationChange::Layer& layer : measured) {
      const RepresentationChange::Layer& wanted = expected.at(layer.name);
      // Sums of up to 128 products in f32.
      EXPECT_NEAR(layer.change / wanted.change, 1.0, 1e-5) << layer.name;
      EXPECT_NEAR(layer.step_change / wanted.step_change, 1.0, 1e-5) << layer.name;
      EXPECT_NEAR(layer.relative_update / wanted.relative_update, 1.0, 1e-5) << layer.name;
      EXPECT_NEAR(layer.relative_step / wanted.relative_step, 1.0, 1e-5) << layer.name;
    }
  }
}

// The share of W that dW is, whatever the inputs are.
TEST_P(Representation, OfWeightsThatGrewIsTheirGrowth) {
  const ModelConfig config = small_config(false);
  SmallModel small(config, Precision::fp32, 1, GetParam());
  small.randomize(6);
  RepresentationChange change(small.weights, config.n_ctx, small.ops.get(), small.memory);
  const TensorView before = small.memory.add("test", DType::f32, small.weights.master().shape);
  small.ops->linear_combination({.a = 0.5f, .x = small.weights.master(), .b = 0.0f, .y = small.weights.master(), .out = before});
  const ConstTensorView batch = small.upload(random_tokens(config.n_ctx, config.vocab_size, 4), 1);
  small.ops->linear_combination(
      {.a = 0.25f, .x = small.weights.master(), .b = 0.0f, .y = small.weights.master(), .out = small.weights.gradients()});
  for (const RepresentationChange::Layer& layer : change.measure(small.model, batch, before, small.weights.gradients())) {
    EXPECT_NEAR(layer.change, 1.0, 1e-6) << layer.name;
    EXPECT_NEAR(layer.step_change, 0.5, 1e-6) << layer.name;
    EXPECT_NEAR(layer.relative_step, 0.5, 1e-6) << layer.name;
    EXPECT_NEAR(layer.relative_update, 1.0, 1e-6) << layer.name;
  }
}

std::string name_of(const testing::TestParamInfo<Recompute>& instance) {
  constexpr const char* names[] = {"none", "gelu_layernorm", "block"};
  return names[static_cast<std::size_t>(instance.param)];
}
INSTANTIATE_TEST_SUITE_P(All, Representation, testing::Values(Recompute::none, Recompute::gelu_layernorm, Recompute::block),
                         name_of);

}  // namespace
}  // namespace temper
