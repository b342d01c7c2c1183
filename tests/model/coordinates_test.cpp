// Sizes of activations and how far they moved, against the logits of two models and what is known of one that changed in one place.
#include "model/coordinates.h"

#include <gtest/gtest.h>

#include "small_model.h"

namespace temper {
namespace {

TEST(Coordinates, AreThoseOfBothModels) {
  const ModelConfig config = small_config(true);
  SmallModel model(config, Precision::fp32, 2);
  model.randomize(5);
  DeviceMemory memory(model.ops.get());
  Weights others(config, Precision::fp32, Weights::Use::inference, model.ops.get(), memory);
  // The last norm alone differs: twice the gain, twice the bias.
  others.upload([&](const Parameter& parameter, std::span<float> values) {
    const std::vector<float> own = model.weights.download(parameter);
    const float factor = parameter.name.starts_with("transformer.ln_f") ? 2.0f : 1.0f;
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = factor * own[i];
  });
  Gpt2 other(others, Weights::Use::inference, Recompute::none, 2, config.n_ctx, model.ops.get(), memory);
  const Tokens tokens = random_tokens(2 * config.n_ctx, config.vocab_size, 3);
  const std::vector<CoordinateSize> sizes = coordinate_sizes(config, model.model, other, model.upload(tokens, 2), *model.ops);

  ASSERT_EQ(sizes.size(), 4u * 2u + 1u);
  EXPECT_EQ(sizes[0].name, "h.0.attn.c_attn.weight");
  for (std::size_t i = 0; i + 1 < sizes.size(); ++i) {
    EXPECT_GT(sizes[i].size, 0.0) << sizes[i].name;
    EXPECT_EQ(sizes[i].change, 0.0) << sizes[i].name;
  }
  double squares = 0.0;
  const std::vector<float> logits = model.logits(tokens, 2);
  for (const float logit : logits) squares += static_cast<double>(logit) * static_cast<double>(logit);
  const double size = std::sqrt(squares / static_cast<double>(logits.size()));
  EXPECT_EQ(sizes.back().name, "logits");
  EXPECT_NEAR(sizes.back().size, size, 1e-6 * size);  // sums of the same numbers in another order
  EXPECT_NEAR(sizes.back().change, size, 1e-5 * size) << "twice as large, to f32's rounding of 32 products";
}

}  // namespace
}  // namespace temper
