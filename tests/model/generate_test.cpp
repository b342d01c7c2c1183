#include "model/generate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "io/error.h"
#include "small_model.h"

namespace temper {
namespace {

using Ids = std::vector<std::uint32_t>;

/// Logits whose softmax is `probabilities`, up to a constant.
std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p) + 3.0));
  return logits;
}

std::map<std::uint32_t, int> draw(const std::vector<float>& logits, const SamplingSettings& settings, std::uint32_t draws) {
  std::map<std::uint32_t, int> counts;
  for (std::uint32_t i = 0; i < draws; ++i) ++counts[sample_token(logits, settings, i)];
  return counts;
}

Ids kept(const std::vector<float>& logits, const SamplingSettings& settings) {
  Ids ids;
  for (const auto& [id, count] : draw(logits, settings, 4000)) ids.push_back(id);
  return ids;
}

const std::vector<double> four = {0.1, 0.4, 0.2, 0.3};

TEST(SampleToken, TemperatureZeroTakesTheLikeliestAndTheSmallerIdOfTwo) {
  SamplingSettings settings;
  settings.temperature = 0.0;
  EXPECT_EQ(sample_token(logits_of(four), settings, 0), 1u);
  EXPECT_EQ(sample_token(std::vector<float>{1.0f, 2.0f, 5.0f, 5.0f}, settings, 3), 2u);
}

TEST(SampleToken, FollowsTheProbabilities) {
  constexpr int draws = 40000;
  for (const double temperature : {1.0, 0.5, 2.0}) {
    SamplingSettings settings;
    settings.temperature = temperature;
    const std::map<std::uint32_t, int> counts = draw(logits_of(four), settings, draws);
    double total = 0.0;
    for (const double p : four) total += std::pow(p, 1.0 / temperature);
    for (std::uint32_t id = 0; id < 4; ++id) {
      const double p = std::pow(four[id], 1.0 / temperature) / total;
      // Five standard deviations of a binomial count.
      EXPECT_NEAR(counts.at(id), p * draws, 5.0 * std::sqrt(p * (1.0 - p) * draws)) << "id " << id << " at " << temperature;
    }
  }
}

TEST(SampleToken, TopKKeepsTheKLikeliest) {
  SamplingSettings settings;
  settings.top_k = 1;
  EXPECT_EQ(kept(logits_of(four), settings), (Ids{1}));
  settings.top_k = 2;
  EXPECT_EQ(kept(logits_of(four), settings), (Ids{1, 3}));
  settings.top_k = 3;
  EXPECT_EQ(kept(logits_of(four), settings), (Ids{1, 2, 3}));
  settings.top_k = 100;
  EXPECT_EQ(kept(logits_of(four), settings), (Ids{0, 1, 2, 3}));
}

TEST(SampleToken, TopPKeepsTheFewestThatReachP) {
  SamplingSettings settings;
  const auto with = [&](double p) {
    settings.top_p = p;
    return kept(logits_of(four), settings);
  };
  EXPECT_EQ(with(0.0), (Ids{1}));
  EXPECT_EQ(with(0.39), (Ids{1}));
  EXPECT_EQ(with(0.41), (Ids{1, 3}));
  EXPECT_EQ(with(0.69), (Ids{1, 3}));
  EXPECT_EQ(with(0.71), (Ids{1, 2, 3}));
  EXPECT_EQ(with(0.91), (Ids{0, 1, 2, 3}));
}

TEST(SampleToken, TopPCountsWhatTopKLeft) {
  SamplingSettings settings;
  settings.top_k = 2;  // 0.4 and 0.3 become 0.57 and 0.43
  settings.top_p = 0.5;
  EXPECT_EQ(kept(logits_of(four), settings), (Ids{1}));
  settings.top_p = 0.6;
  EXPECT_EQ(kept(logits_of(four), settings), (Ids{1, 3}));
}

TEST(SampleToken, RefusesLogitsThatAreNotFinite) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    try {
      sample_token(std::vector<float>{0.0f, bad, 1.0f}, {}, 0);
      FAIL() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::numeric);
    }
  }
}

struct GeneratingModel {
  explicit GeneratingModel(const ModelConfig& config, Precision precision = Precision::fp32)
      : small(config, precision, 1), generator(small.weights, *small.ops, small.memory) {
    small.randomize(21);
  }

  Ids generate(const Ids& prompt, const SamplingSettings& settings) {
    Ids text;
    generator.generate(prompt, settings, [&](std::uint32_t token) {
      text.push_back(token);
      return true;
    });
    return text;
  }

  /// Logits after the last of `tokens`, without a cache.
  std::vector<float> last_logits(const Ids& tokens) {
    const std::vector<float> all = small.logits(Tokens(tokens.begin(), tokens.end()), 1);
    return {all.end() - small.weights.config().vocab_size, all.end()};
  }

  SmallModel small;
  Generator generator;
};

Ids some_tokens(std::int64_t count, std::uint64_t stream = 31) {
  const Tokens tokens = random_tokens(count, 131, stream);
  return {tokens.begin(), tokens.end()};
}

class GeneratorBiases : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(All, GeneratorBiases, testing::Values(true, false),
                         [](const auto& instance) { return instance.param ? "bias" : "nobias"; });

TEST_P(GeneratorBiases, CachedLogitsEqualThoseOfTheWholeSequence) {
  const ModelConfig config = small_config(GetParam());
  GeneratingModel made(config);
  const Ids text = some_tokens(config.n_ctx);
  const std::vector<float> whole = made.small.logits(Tokens(text.begin(), text.end()), 1);
  const auto expected = [&](std::int64_t position) {
    const auto row = whole.begin() + position * config.vocab_size;
    return std::vector<float>(row, row + config.vocab_size);
  };
  // One token after the other, then in pieces that begin and end anywhere.
  for (const std::int64_t piece : {1, 5, 7, 24}) {
    for (std::int64_t start = 0; start < config.n_ctx; start += piece) {
      const std::int64_t count = std::min(piece, config.n_ctx - start);
      const std::span<const float> logits =
          made.generator.advance(std::span(text).subspan(static_cast<std::size_t>(start), static_cast<std::size_t>(count)), start);
      const std::vector<float> found(logits.begin(), logits.end());
      // Other kernels sum the same products in another order.
      EXPECT_LT(relative_error(found, expected(start + count - 1)), 1e-5)
          << "position " << start + count - 1 << ", pieces of " << piece;
    }
  }
}

TEST_P(GeneratorBiases, FullContextDropsItsOlderHalf) {
  const ModelConfig config = small_config(GetParam());
  GeneratingModel made(config);
  SamplingSettings settings;
  settings.temperature = 3.0;  // flat, so that a slightly other context gives other tokens
  settings.tokens = 3 * config.n_ctx;
  const Ids prompt = some_tokens(5);

  Ids context = prompt, expected;
  while (expected.size() < static_cast<std::size_t>(settings.tokens)) {
    if (context.size() > static_cast<std::size_t>(config.n_ctx)) context.erase(context.begin(), context.end() - config.n_ctx / 2);
    expected.push_back(sample_token(made.last_logits(context), settings, static_cast<std::uint32_t>(expected.size())));
    context.push_back(expected.back());
  }
  EXPECT_EQ(made.generate(prompt, settings), expected);
}

TEST(Generator, ALongPromptCountsWithItsEnd) {
  const ModelConfig config = small_config(true);
  GeneratingModel made(config);
  SamplingSettings settings;
  settings.temperature = 3.0;  // flat, so that a slightly other prompt gives other tokens
  settings.tokens = 1;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    settings.seed = seed;
    const Ids prompt = some_tokens(3 * config.n_ctx, 50 + seed);
    const Ids end(prompt.end() - config.n_ctx, prompt.end());
    EXPECT_EQ(made.generate(prompt, settings), Ids{sample_token(made.last_logits(end), settings, 0)}) << "seed " << seed;
  }
}

TEST(Generator, SeedDecidesTheText) {
  GeneratingModel made(small_config(true));
  SamplingSettings settings;
  settings.tokens = 40;
  settings.seed = 5;
  const Ids text = made.generate(some_tokens(3), settings);
  EXPECT_EQ(text.size(), 40u);
  EXPECT_EQ(made.generate(some_tokens(3), settings), text);
  settings.seed = 6;
  EXPECT_NE(made.generate(some_tokens(3), settings), text);
}

TEST(Generator, StopsWhenTold) {
  GeneratingModel made(small_config(true));
  int emitted = 0;
  made.generator.generate(some_tokens(3), {}, [&](std::uint32_t) { return ++emitted < 4; });
  EXPECT_EQ(emitted, 4);
}

TEST(Generator, RefusesTokensOutsideTheVocabulary) {
  GeneratingModel made(small_config(true));
  for (const std::uint32_t token : {131u, 255u, 4'000'000'000u}) {  // the second has a padded row
    try {
      made.generate({3, token}, {});
      FAIL() << token;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::data);
      EXPECT_NE(std::string(error.what()).find(std::to_string(token)), std::string::npos) << error.what();
    }
  }
}

TEST(Generator, Bf16CachedLogitsAreCloseToThoseOfTheWholeSequence) {
  const ModelConfig config = small_config(true);
  GeneratingModel made(config, Precision::bf16);
  const Ids text = some_tokens(config.n_ctx);
  const std::span<const float> logits = made.generator.advance(text, 0);
  // Roundings to 8 bits fall differently where sums are made in another order.
  EXPECT_LT(relative_error({logits.begin(), logits.end()}, made.last_logits(text)), 2e-2);
}

}  // namespace
}  // namespace temper
