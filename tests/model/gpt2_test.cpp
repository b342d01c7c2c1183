// What must hold of the model whatever its weights: gradients are those of the loss, and neither the cut into micro-batches
// nor the number of threads matters.
#include "model/gpt2.h"

#include <gtest/gtest.h>
#include <omp.h>

#include "kernels/check.h"
#include "small_model.h"

namespace temper {
namespace {

struct Batch {
  std::int64_t B;
  Tokens inputs, targets;

  Batch(const ModelConfig& config, std::int64_t sequences, std::int64_t positions)
      : B(sequences),
        inputs(random_tokens(sequences * positions, config.vocab_size, 11)),
        targets(random_tokens(sequences * positions, config.vocab_size, 12)) {}

  /// Sequences [first, first + count).
  Batch part(std::int64_t first, std::int64_t count) const {
    const std::int64_t T = static_cast<std::int64_t>(inputs.size()) / B;
    Batch cut = *this;
    cut.B = count;
    cut.inputs.assign(inputs.begin() + first * T, inputs.begin() + (first + count) * T);
    cut.targets.assign(targets.begin() + first * T, targets.begin() + (first + count) * T);
    return cut;
  }
};

class Gpt2Biases : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(All, Gpt2Biases, testing::Values(true, false),
                         [](const auto& instance) { return instance.param ? "bias" : "nobias"; });

/// Adds `step` times a direction to one parameter.
void move(SmallModel& small, const std::vector<std::vector<float>>& base, const Parameter& moved,
          const std::vector<double>& direction, double step) {
  std::size_t index = 0;
  small.weights.upload([&](const Parameter& parameter, std::span<float> values) {
    const std::vector<float>& from = base[index++];
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = parameter.name == moved.name ? static_cast<float>(from[i] + step * direction[i]) : from[i];
  });
}

void normalize(std::vector<double>& values) {
  double squares = 0.0;
  for (const double value : values) squares += value * value;
  for (double& value : values) value /= std::sqrt(squares);
}

/// Halfway between the gradient, along which a wrong size shows, and a random direction, along which a wrong direction does.
std::vector<double> probe_direction(const std::vector<float>& gradient, const Parameter& parameter) {
  std::vector<double> along(gradient.begin(), gradient.end());
  std::vector<double> across(gradient.size());
  for (std::size_t i = 0; i < across.size(); ++i)
    across[i] = gradient[i] == 0.0f ? 0.0 : normal(99, static_cast<std::uint64_t>(parameter.offset) + i);
  normalize(along);
  normalize(across);
  for (std::size_t i = 0; i < along.size(); ++i) along[i] += across[i];
  normalize(along);
  return along;
}

TEST_P(Gpt2Biases, GradientsAreThoseOfTheLoss) {
  const ModelConfig config = small_config(GetParam());
  SmallModel small(config, Precision::fp32, 2);
  small.randomize(5);
  const Batch batch(config, 2, config.n_ctx);
  small.forward_backward(batch.inputs, batch.targets, batch.B);

  std::vector<std::vector<float>> base, gradients;
  for (const Parameter& parameter : small.weights.layout().parameters()) {
    base.push_back(small.weights.download(parameter));
    gradients.push_back(small.gradient(parameter));
  }
  std::size_t index = 0;
  for (const Parameter& parameter : small.weights.layout().parameters()) {
    const std::vector<float>& gradient = gradients[index++];
    const std::vector<double> direction = probe_direction(gradient, parameter);
    double slope = 0.0;
    for (std::size_t i = 0; i < gradient.size(); ++i) slope += gradient[i] * direction[i];

    const auto difference = [&](double step) {
      move(small, base, parameter, direction, step);
      const double above = small.mean_loss(batch.inputs, batch.targets, batch.B);
      move(small, base, parameter, direction, -step);
      return (above - small.mean_loss(batch.inputs, batch.targets, batch.B)) / (2.0 * step);
    };
    // The mean of 48 f32 losses near 5 is known to about 1e-7, so a step of 0.02 leaves 5e-6 to rounding; Richardson's
    // combination of two steps removes the error of third order, and the next is below that.
    const double measured = (4.0 * difference(0.02) - difference(0.04)) / 3.0;
    EXPECT_NEAR(measured, slope, 5e-6 + 2e-4 * std::abs(slope)) << parameter.name;
  }
}

TEST_P(Gpt2Biases, TwoHalfMicroBatchesEqualOne) {
  const ModelConfig config = small_config(GetParam());
  SmallModel small(config, Precision::fp32, 4);
  small.randomize(5);
  const Batch batch(config, 4, config.n_ctx);
  const float whole_loss = small.forward_backward(batch.inputs, batch.targets, 4);
  std::vector<std::vector<float>> whole;
  for (const Parameter& parameter : small.weights.layout().parameters()) whole.push_back(small.gradient(parameter));

  const Batch first = batch.part(0, 2), second = batch.part(2, 2);
  small.forward_backward(first.inputs, first.targets, 2, 0.5f);
  const float loss = small.forward_backward(second.inputs, second.targets, 2, 0.5f, Write::accumulate);
  // Both are sums of the same f32 products in another order.
  EXPECT_NEAR(loss, whole_loss, 1e-6 * whole_loss);
  std::size_t index = 0;
  for (const Parameter& parameter : small.weights.layout().parameters()) {
    const std::vector<float>& expected = whole[index++];
    EXPECT_LT(relative_error(small.gradient(parameter), expected), 1e-6) << parameter.name;
  }
}

TEST(Gpt2, OverwriteForgetsTheGradientsBefore) {
  const ModelConfig config = small_config(true);
  SmallModel small(config, Precision::fp32, 2);
  small.randomize(5);
  const Batch batch(config, 2, config.n_ctx);
  small.forward_backward(batch.inputs, batch.targets, 2);
  const std::vector<float> once = small.all_gradients();
  small.forward_backward(batch.inputs, batch.targets, 2);
  EXPECT_EQ(small.all_gradients(), once);
}

/// The head's logits do not fit in one chunk of rows here, but do for half the batch.
TEST(Gpt2, ChunksOfTheHeadAddUp) {
  ModelConfig config;
  config.n_layer = 1;
  config.n_head = 1;
  config.n_embd = 16;
  config.n_ctx = 128;
  config.vocab_size = 65536;
  const std::int64_t rows = 10 * config.n_ctx;
  ASSERT_LT(head_chunk_rows(config, DType::f32, rows), rows);
  ASSERT_GE(head_chunk_rows(config, DType::f32, rows), rows / 2);

  SmallModel small(config, Precision::fp32, 10);
  small.randomize(5);
  const Batch batch(config, 10, config.n_ctx);
  const float whole_loss = small.forward_backward(batch.inputs, batch.targets, 10);
  const std::vector<float> whole = small.all_gradients();
  const Batch first = batch.part(0, 5), second = batch.part(5, 5);
  small.forward_backward(first.inputs, first.targets, 5, 0.5f);
  EXPECT_NEAR(small.forward_backward(second.inputs, second.targets, 5, 0.5f, Write::accumulate), whole_loss, 1e-6 * whole_loss);
  EXPECT_LT(relative_error(small.all_gradients(), whole), 2e-6);  // sums of 65,536 terms
}

TEST(Gpt2, AShorterBatchSeesTheSameModel) {
  const ModelConfig config = small_config(true);
  SmallModel small(config, Precision::fp32, 3);
  small.randomize(5);
  const Batch batch(config, 1, config.n_ctx);
  const std::vector<float> whole = small.logits(batch.inputs, 1);
  // A prefix: what comes later must not matter (causality), nor what earlier batches left in memory.
  const Tokens prefix(batch.inputs.begin(), batch.inputs.begin() + 7);
  const std::vector<float> expected(whole.begin(), whole.begin() + 7 * config.vocab_size);
  EXPECT_LT(relative_error(small.logits(prefix, 1), expected), 1e-6);
}

// The same operations on the same numbers, so the same bits; but for bf16's GELU, which is computed again from rounded inputs.
TEST(Gpt2, ComputingActivationsAgainChangesNothing) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    ModelConfig config = small_config(true);
    config.n_layer = 3;
    const Batch batch(config, 2, config.n_ctx);
    const auto gradients = [&](Recompute recompute, std::size_t* bytes) {
      SmallModel small(config, precision, 2, recompute);
      small.randomize(5);
      small.forward_backward(batch.inputs, batch.targets, 2);
      for (const MemoryGroup& group : small.memory.plan())
        if (group.name == "activations") *bytes = group.bytes;
      return small.all_gradients();
    };
    std::size_t kept = 0, cheap = 0, block = 0;
    const std::vector<float> expected = gradients(Recompute::none, &kept);
    const std::vector<float> cheap_gradients = gradients(Recompute::gelu_layernorm, &cheap);
    EXPECT_EQ(gradients(Recompute::block, &block), expected);
    if (precision == Precision::fp32)
      EXPECT_EQ(cheap_gradients, expected);
    else
      EXPECT_LT(relative_error(cheap_gradients, expected), 4e-3);  // one more rounding to bf16
    EXPECT_LT(cheap, kept);
    EXPECT_LT(block, cheap);
  }
}

TEST(Gpt2, IgnoredTargetsHaveNoLossAndNoGradient) {
  const ModelConfig config = small_config(true);
  SmallModel small(config, Precision::fp32, 2);
  small.randomize(5);
  Batch batch(config, 2, config.n_ctx);
  const Batch first = batch.part(0, 1);
  small.forward_backward(first.inputs, first.targets, 1);
  const std::vector<float> expected = small.all_gradients();
  // The second sequence is ignored; the mean is over all tokens, so the first counts half.
  std::fill(batch.targets.begin() + config.n_ctx, batch.targets.end(), -1);
  small.forward_backward(batch.inputs, batch.targets, 2, 2.0f);
  EXPECT_LT(relative_error(small.all_gradients(), expected), 1e-6);
}

TEST(Gpt2, RefusesBatchesItHasNoMemoryFor) {
  const ModelConfig config = small_config(true);
  SmallModel small(config, Precision::fp32, 1);
  small.randomize(5);
  const TensorView loss = small.memory.add("test", DType::f32, {1});
  const TensorView tokens = small.memory.add("test", DType::i32, {2, config.n_ctx});
  small.ops->zero(tokens.data, tokens.bytes());
  EXPECT_THROW(small.model.forward_loss(tokens, tokens, 1.0f, Write::overwrite, loss), ContractViolation);
  const TensorView one = tokens.reshaped({1, config.n_ctx});
  EXPECT_THROW(small.model.forward_loss(tokens.row_range(0, 1), tokens, 1.0f, Write::overwrite, loss), ContractViolation);
  EXPECT_NO_THROW(small.model.forward_loss({one.data, one.dtype, {1, config.n_ctx}}, {one.data, one.dtype, {1, config.n_ctx}}, 1.0f,
                                           Write::overwrite, loss));
}

class Gpt2Threads : public testing::TestWithParam<Precision> {};
INSTANTIATE_TEST_SUITE_P(All, Gpt2Threads, testing::Values(Precision::fp32, Precision::bf16),
                         [](const auto& instance) { return instance.param == Precision::fp32 ? "fp32" : "bf16"; });

TEST_P(Gpt2Threads, NumberOfThreadsDoesNotChangeABit) {
  // Large enough that every operation has work for three threads, and no multiple of them.
  ModelConfig config;
  config.n_layer = 2;
  config.n_head = 5;
  config.n_embd = 160;
  config.n_ctx = 70;
  config.vocab_size = 1500;
  const Batch batch(config, 4, config.n_ctx);

  struct Restore {
    int threads = omp_get_max_threads();
    ~Restore() { omp_set_num_threads(threads); }
  } restore;
  std::vector<float> expected_gradients;
  float expected_loss = 0.0f;
  for (const int threads : {1, 2, 3}) {
    omp_set_num_threads(threads);
    SmallModel small(config, GetParam(), 4);
    small.weights.initialize(3);
    const float loss = small.forward_backward(batch.inputs, batch.targets, batch.B);
    const std::vector<float> gradients = small.all_gradients();
    if (threads == 1) {
      expected_loss = loss;
      expected_gradients = gradients;
    }
    EXPECT_EQ(loss, expected_loss) << threads << " threads";
    EXPECT_TRUE(gradients == expected_gradients) << threads << " threads";
  }
}

}  // namespace
}  // namespace temper
