// Validation loss against a mean made by hand, and multiple choice against probabilities made by hand.
#include "train/evaluation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "scripted_ranks.h"
#include "tiny_run.h"

namespace temper {
namespace {

const std::unique_ptr<Communicator> by_itself = make_self_communicator();

constexpr auto go_on = [](double) { return true; };

/// What the last of `size` ranks measures, to whom all the others have given theirs: they take their turns one after the other, and
/// each adds to what the earlier ones gave.
template <typename Measure>
auto of_last_rank(std::int64_t size, Measure measure) {
  std::vector<double> sum;
  const auto turn = [&](std::int64_t rank) {
    ScriptedRanks ranks([](const std::string& mine) { return std::vector<std::string>{mine}; }, rank, size);
    ranks.on_sum = [&](std::span<double> values, const std::string& /*what*/) {
      sum.resize(values.size(), 0.0);
      for (std::size_t i = 0; i < sum.size(); ++i) values[i] = sum[i] += values[i];
    };
    return measure(ranks);
  };
  for (std::int64_t rank = 0; rank + 1 < size; ++rank) turn(rank);
  return turn(size - 1);
}

/// A model with room for `sequences` at a time, and a batch.
struct Evaluated {
  Evaluated(const ModelConfig& config, std::int64_t sequences)
      : ops(make_cpu_ops()),
        memory(ops.get()),
        weights(config, Precision::fp32, Weights::Use::inference, ops.get(), memory),
        model(weights, Weights::Use::inference, Recompute::none, sequences, config.n_ctx, ops.get(), memory),
        batch(sequences, config.n_ctx, ops.get(), memory) {
    weights.initialize(3);
  }

  std::unique_ptr<Ops> ops;
  DeviceMemory memory;
  Weights weights;
  Gpt2 model;
  DeviceBatch batch;
};

class ValidationTest : public testing::Test {
 protected:
  ValidationTest() {
    config.init_std = 0.3;                                                 // losses that differ from token to token
    settings.files = {put_tiny_shard(folder / "val.bin", 8 * 13 + 5, 1)};  // 13 windows
    settings.n_ctx = config.n_ctx;
    settings.vocab_size = config.vocab_size;
  }

  double loss(std::int64_t sequences, std::int64_t tokens, Communicator& ranks = *by_itself) {
    Evaluated on(config, sequences);
    const BatchSource source(settings);
    return *validation_loss(on.model, source, sequences, config.n_ctx, validation_sample(source, config.n_ctx, tokens), on.batch,
                            *on.ops, ranks, go_on);
  }

  TemporaryFolder folder;
  ModelConfig config = tiny_config().model;
  BatchSettings settings;
};

TEST_F(ValidationTest, DependsOnTheSampleAlone) {
  for (const std::int64_t tokens : {0, 1, 40, 43}) {
    const double expected = loss(13, tokens);
    for (const std::int64_t sequences : {1, 2, 5, 64}) {
      for (const std::int64_t size : {1, 3, 20}) {
        const double together = of_last_rank(size, [&](Communicator& ranks) { return loss(sequences, tokens, ranks); });
        EXPECT_EQ(together, expected) << tokens << " tokens, " << sequences << " sequences at a time, " << size << " ranks";
      }
    }
  }
}

TEST_F(ValidationTest, ASampleIsTheFirstWholeWindowsOfTheData) {
  const BatchSource source(settings);
  const std::int64_t all = 13 * 8;
  for (const auto& [asked, covered] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {0, all}, {1, 8}, {8, 8}, {9, 16}, {all - 1, all}, {all, all}, {all + 1, all}, {std::int64_t{1} << 50, all}})
    EXPECT_EQ(validation_sample(source, 8, asked), (ValidationSample{covered, source.fingerprint()})) << asked;
}

TEST_F(ValidationTest, IsTheMeanOfTheTokensLosses) {
  Evaluated on(config, 1);
  const BatchSource source(settings);
  DeviceMemory memory(on.ops.get());
  const TensorView one = memory.add("test", DType::f32, {1});
  const auto by_hand = [&](std::int64_t windows) {
    double sum = 0.0;
    Batch batch;
    for (std::int64_t window = 0; window < windows; ++window) {
      source.read(window, 1, batch);
      on.batch.upload(batch, 1, config.n_ctx);
      on.model.forward_loss(on.batch.tokens(), on.batch.targets(), 1.0f, Write::overwrite, one);
      std::vector<float> losses(static_cast<std::size_t>(config.n_ctx));
      on.ops->copy_to_host(losses.data(), on.model.token_losses().data, losses.size() * sizeof(float));
      for (const float value : losses) sum += value;
    }
    return sum / static_cast<double>(windows * config.n_ctx);
  };
  EXPECT_DOUBLE_EQ(loss(2, 0), by_hand(13));
  EXPECT_DOUBLE_EQ(loss(2, 6 * 8), by_hand(6));
  EXPECT_DOUBLE_EQ(loss(2, 800), by_hand(13)) << "never the same window twice";
  EXPECT_NE(by_hand(6), by_hand(13));
}

TEST_F(ValidationTest, CanBeAbandoned) {
  Evaluated on(config, 2);
  std::vector<double> shares;
  const auto until_half = [&](double share) {
    shares.push_back(share);
    return share < 0.5;
  };
  const BatchSource source(settings);
  const ValidationSample all = validation_sample(source, config.n_ctx, 0);
  EXPECT_FALSE(validation_loss(on.model, source, 2, config.n_ctx, all, on.batch, *on.ops, *by_itself, until_half).has_value());
  ASSERT_EQ(shares.size(), 5u);
  EXPECT_EQ(shares.front(), 0.0);
  EXPECT_DOUBLE_EQ(shares.back(), 8.0 / 13.0);

  // One rank alone was asked to stop: all abandon it.
  const auto loss = of_last_rank(3, [&](Communicator& ranks) {
    return validation_loss(on.model, source, 2, config.n_ctx, all, on.batch, *on.ops, ranks,
                           [&](double) { return ranks.rank() != 0; });
  });
  EXPECT_FALSE(loss.has_value());
}

/// The embedding of token x is 3 in coordinate x mod 31 and -3 in the last: every token finds itself and those that share its
/// coordinate equally likely, and all others unlikely.
void like_itself(std::span<float> wte) {
  for (std::int64_t token = 0; token < 257; ++token) {
    wte[static_cast<std::size_t>(token * 32 + token % 31)] = 3.0f;
    wte[static_cast<std::size_t>(token * 32 + 31)] = -3.0f;  // keeps the mean at zero
  }
}

// Most tests use a model whose next token depends on the last one alone: attention and MLP write nothing into the residual stream.
class ChoiceTest : public testing::Test {
 protected:
  static constexpr std::int64_t n_ctx = 16;

  ChoiceTest() : tokenizer(Tokenizer::train("a b c d", 257, {})) {}

  static ModelConfig config() {
    ModelConfig config = tiny_config().model;
    config.n_ctx = n_ctx;
    config.n_embd = 32;
    return config;
  }

  void teach_to_repeat(Evaluated& on) {
    on.weights.upload([](const Parameter& parameter, std::span<float> values) {
      const bool gain = parameter.kind == ParameterKind::layernorm && parameter.name.ends_with(".weight");
      std::fill(values.begin(), values.end(), gain ? 1.0f : 0.0f);
      if (parameter.name == "transformer.wte.weight") like_itself(values);
    });
  }

  MultipleChoiceScore score(Evaluated& on, const std::vector<MultipleChoiceItem>& items, std::int64_t limit = 0,
                            std::int64_t max_sequences = 4, Communicator& ranks = *by_itself) {
    return *multiple_choice_score(on.model, items, limit, tokenizer, n_ctx, max_sequences, on.batch, *on.ops, ranks, go_on);
  }

  Tokenizer tokenizer;  // 256 bytes and <|endoftext|>: a character a token
};

/// Summed loss of `tail` after `head`, in double precision, from the tied embeddings alone.
double tail_loss(const Tokenizer& tokenizer, const std::string& head, const std::string& tail) {
  std::vector<float> wte(257 * 32, 0.0f);
  like_itself(wte);
  std::vector<std::uint32_t> row = tokenizer.encode(head);
  const std::vector<std::uint32_t> ending = tokenizer.encode(tail);
  row.insert(row.end(), ending.begin(), ending.end());
  double sum = 0.0;
  for (std::size_t t = row.size() - ending.size(); t < row.size(); ++t) {
    std::array<double, 32> x{};
    double mean = 0.0, square = 0.0;
    for (std::size_t i = 0; i < 32; ++i) mean += wte[row[t - 1] * 32 + i] / 32.0;
    for (std::size_t i = 0; i < 32; ++i) square += std::pow(wte[row[t - 1] * 32 + i] - mean, 2) / 32.0;
    for (std::size_t i = 0; i < 32; ++i) x[i] = (wte[row[t - 1] * 32 + i] - mean) / std::sqrt(square + 1e-5);
    double total = 0.0, right = 0.0;
    for (std::size_t token = 0; token < tiny_vocab; ++token) {
      double logit = 0.0;
      for (std::size_t i = 0; token < 257 && i < 32; ++i) logit += x[i] * wte[token * 32 + i];
      total += std::exp(logit);
      if (token == row[t]) right = logit;
    }
    sum += std::log(total) - right;
  }
  return sum;
}

MultipleChoiceItem item(const std::string& context, std::array<std::string, 4> endings, std::int64_t label) {
  return {context, std::move(endings), label};
}

TEST_F(ChoiceTest, TheLikeliestEndingWins) {
  Evaluated on(config(), 4);
  teach_to_repeat(on);
  // Endings are encoded with a space before them; a repeated letter is likely.
  const std::array<std::string, 4> endings = {"abcde", "zzzzz", "qrstu", "mnopq"};
  for (std::size_t ending = 0; ending < 4; ++ending) {
    if (ending == 1) continue;
    ASSERT_LT(tail_loss(tokenizer, "x", " zzzzz"), tail_loss(tokenizer, "x", " " + endings[ending]));
  }
  EXPECT_EQ(score(on, {item("x", endings, 1)}).accuracy, 1.0);
  EXPECT_EQ(score(on, {item("x", endings, 0)}).accuracy, 0.0);
  const MultipleChoiceScore half = score(on, {item("x", endings, 1), item("x", endings, 3)});
  EXPECT_EQ(half.items, 2);
  EXPECT_EQ(half.accuracy, 0.5);
  EXPECT_EQ(half.accuracy_normalized, 0.5);
}

TEST_F(ChoiceTest, TheMeanFavoursLongEndingsTheSumShortOnes) {
  Evaluated on(config(), 4);
  teach_to_repeat(on);
  const std::array<std::string, 4> endings = {"a", "zzzzzzzzz", "abc", "qrs"};
  ASSERT_LT(tail_loss(tokenizer, "x", " a"), tail_loss(tokenizer, "x", " zzzzzzzzz"));
  ASSERT_LT(tail_loss(tokenizer, "x", " zzzzzzzzz") / 10.0, tail_loss(tokenizer, "x", " a") / 2.0);
  const MultipleChoiceScore short_is_right = score(on, {item("x", endings, 0)});
  EXPECT_EQ(short_is_right.accuracy, 1.0);
  EXPECT_EQ(short_is_right.accuracy_normalized, 0.0);
  const MultipleChoiceScore long_is_right = score(on, {item("x", endings, 1)});
  EXPECT_EQ(long_is_right.accuracy, 0.0);
  EXPECT_EQ(long_is_right.accuracy_normalized, 1.0);
}

// What an ending costs must not depend on the context's own surprises, on how much of a long context is cut away, on
// padding beside longer endings, or on how many rows are run at once.
TEST_F(ChoiceTest, OnlyEndingsCountWhateverTheContext) {
  Evaluated on(config(), 4);
  teach_to_repeat(on);
  const std::array<std::string, 4> endings = {"ab", "zzzzzzzzzzzzzz", "qrstu", "c"};  // the longest: 15 of 16 tokens
  const std::string too_long(200, 'k');
  const std::vector<std::string> contexts = {"x", "surprising?!", too_long, ""};
  for (const std::string& context : contexts) {
    for (const std::int64_t max_sequences : {1, 3, 4}) {
      for (std::int64_t label = 0; label < 4; ++label) {
        const MultipleChoiceScore got = score(on, {item(context, endings, label)}, 0, max_sequences);
        EXPECT_EQ(got.accuracy, label == 3 ? 1.0 : 0.0) << context << " " << max_sequences << " " << label;
        EXPECT_EQ(got.accuracy_normalized, label == 1 ? 1.0 : 0.0) << context << " " << max_sequences << " " << label;
      }
    }
  }
}

// Attention decides here: only a model that still sees the end of its context can tell.
TEST_F(ChoiceTest, ALongContextLosesItsBeginningNotItsEnd) {
  ModelConfig with_attention = config();
  with_attention.init_std = 0.5;
  Evaluated on(with_attention, 4);
  const std::array<std::string, 4> endings = {"one", "two", "six", "ten"};
  // 16 positions see 17 tokens less the target's: the ending's 4 and the last 13 of the context.
  const std::string seen = "hijklmnopqrst";
  const auto best = [&](const std::string& context) {
    for (std::int64_t label = 0; label < 4; ++label)
      if (score(on, {item(context, endings, label)}).accuracy == 1.0) return label;
    return std::int64_t{-1};
  };
  std::array<int, 4> chosen{};
  for (char last = 'a'; last <= 'z'; ++last) {
    const std::string context = seen.substr(0, 12) + last;
    const std::int64_t expected = best(context);
    ++chosen[static_cast<std::size_t>(expected)];
    EXPECT_EQ(best("some other words" + context), expected) << last;
  }
  EXPECT_LT(*std::max_element(chosen.begin(), chosen.end()), 26) << "the context should matter to this model";
}

TEST_F(ChoiceTest, CountsAndLimits) {
  Evaluated on(config(), 4);
  teach_to_repeat(on);
  const MultipleChoiceItem right = item("x", {"abcde", "zzzzz", "qrstu", "mnopq"}, 1);
  MultipleChoiceItem wrong = right;
  wrong.label = 0;
  EXPECT_EQ(score(on, {right, wrong, wrong}, 1).accuracy, 1.0);
  EXPECT_EQ(score(on, {right, wrong, wrong}, 2).accuracy, 0.5);
  EXPECT_EQ(score(on, {right, wrong, wrong}, 10).items, 3);
  EXPECT_EQ(score(on, {}).items, 0);
  EXPECT_EQ(score(on, {}).accuracy, 0.0);
}

TEST_F(ChoiceTest, DependsOnTheItemsAlone) {
  Evaluated on(config(), 4);
  teach_to_repeat(on);
  std::vector<MultipleChoiceItem> items;
  for (std::int64_t i = 0; i < 7; ++i) items.push_back(item("x", {"a", "zzzzzzzzz", "abc", "qrs"}, i % 4));
  for (const std::int64_t sequences : {1, 2, 3, 4}) {
    for (const std::int64_t size : {1, 2, 3, 20}) {
      const MultipleChoiceScore all =
          of_last_rank(size, [&](Communicator& ranks) { return score(on, items, 5, sequences, ranks); });
      EXPECT_EQ(all.items, 5) << sequences << " " << size;
      EXPECT_EQ(all.accuracy, 0.4) << sequences << " " << size;             // 0 and 4 are right by the sum
      EXPECT_EQ(all.accuracy_normalized, 0.2) << sequences << " " << size;  // 1 by the mean
    }
  }
}

TEST_F(ChoiceTest, LossesThatAreNotFiniteChooseNothing) {
  ModelConfig blown = config();
  blown.init_std = 1e38;
  Evaluated on(blown, 4);
  const MultipleChoiceScore none = score(on, {item("x", {"a", "b", "c", "d"}, 0), item("x", {"a", "b", "c", "d"}, 1)});
  EXPECT_TRUE(std::isnan(none.accuracy) && std::isnan(none.accuracy_normalized));
}

TEST_F(ChoiceTest, AnEndingMustFit) {
  Evaluated on(config(), 4);
  teach_to_repeat(on);
  const std::string fits(15, 'a');  // and a space: 16
  EXPECT_NO_THROW(score(on, {item("", {fits, "b", "c", "d"}, 0)}));
  expect_error(ExitCode::data, {"item 1", "17 tokens", "n_ctx = 16"}, [&] {
    score(on, {item("x", {"a", "b", "c", "d"}, 0), item("x", {"a", fits + "a", "c", "d"}, 0)});
  });
}

TEST_F(ChoiceTest, CanBeAbandoned) {
  Evaluated on(config(), 4);
  EXPECT_FALSE(multiple_choice_score(on.model, {item("x", {"a", "b", "c", "d"}, 0)}, 0, tokenizer, n_ctx, 4, on.batch, *on.ops,
                                     *by_itself, [](double) { return false; })
                   .has_value());
  const auto score = of_last_rank(3, [&](Communicator& ranks) {
    return multiple_choice_score(on.model, {item("x", {"a", "b", "c", "d"}, 0)}, 0, tokenizer, n_ctx, 4, on.batch, *on.ops, ranks,
                                 [&](double) { return ranks.rank() != 0; });
  });
  EXPECT_FALSE(score.has_value());
}

}  // namespace
}  // namespace temper
