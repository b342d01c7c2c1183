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

class Representation : public testing::TestWithParam<Recompute> {};

TEST_P(Representation, AgreesWithMatmulsOnTheHost) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    const ModelConfig config = small_config(true);
    SmallModel small(config, precision, 2, GetParam());
    small.randomize(5);
    RepresentationChange change(small.weights, config.n_ctx, small.ops.get(), small.memory);

    // Weights before: those now, each moved by some noise.
    const std::vector<float> now = small.read(small.weights.master());
    std::vector<float> earlier = now;
    for (std::size_t i = 0; i < earlier.size(); ++i) earlier[i] -= 1e-2f * normal(99, i);
    const TensorView before = small.memory.add("test", DType::f32, small.weights.master().shape);
    small.ops->copy_to_device(before.data, earlier.data(), earlier.size() * sizeof(float));
    const Tokens tokens = random_tokens(2 * config.n_ctx, config.vocab_size, 3);
    const ConstTensorView batch = small.upload(tokens, 2);

    std::map<std::string, double> expected;
    small.model.forward_observed(batch, [&](const Parameter& weight, ConstTensorView x) {
      const std::vector<float> inputs = small.read(x);
      std::vector<float> difference(static_cast<std::size_t>(weight.numel()));
      for (std::size_t i = 0; i < difference.size(); ++i) {
        const std::size_t at = static_cast<std::size_t>(weight.offset) + i;
        difference[i] = now[at] - earlier[at];
      }
      expected[weight.name] = std::sqrt(output_squares(inputs, difference.data(), weight.shape[1], weight.shape[0]) /
                                        output_squares(inputs, earlier.data() + weight.offset, weight.shape[1], weight.shape[0]));
    });
    const std::vector<RepresentationChange::Layer> measured = change.measure(small.model, batch, before);
    ASSERT_EQ(measured.size(), static_cast<std::size_t>(4 * config.n_layer));
    for (const RepresentationChange::Layer& layer : measured)
      EXPECT_NEAR(layer.change / expected.at(layer.name), 1.0, 1e-5) << layer.name;  // sums of up to 128 products in f32
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
  for (const RepresentationChange::Layer& layer : change.measure(small.model, batch, before)) {
    EXPECT_NEAR(layer.change, 1.0, 1e-6) << layer.name;
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
