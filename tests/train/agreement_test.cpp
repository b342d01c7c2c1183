// What ranks decide together, with ranks that say what the test wants.
#include "train/agreement.h"

#include "scripted_ranks.h"
#include "tiny_run.h"
#include "train/signals.h"

namespace temper {
namespace {

using Strings = std::vector<std::string>;

TEST(Agreement, OneRankIsEnoughToStopAll) {
  const StopSignals forgets;  // what other tests raised
  ScriptedRanks nobody([](const std::string& mine) { return Strings{"", mine, ""}; });
  ScriptedRanks another([](const std::string& mine) { return Strings{"", mine, "stop"}; });
  EXPECT_FALSE(asked_to_stop(nobody));
  EXPECT_TRUE(asked_to_stop(another));
  EXPECT_TRUE(asked_to_stop(nobody, true));
  EXPECT_FALSE(asked_to_stop(*make_self_communicator()));
  EXPECT_TRUE(asked_to_stop(*make_self_communicator(), true));
}

TEST(Agreement, TheFirstRanksTextCounts) {
  std::string said = "unset";
  ScriptedRanks ranks([&](const std::string& mine) {
    said = mine;
    return Strings{"checkpoints/step-00000005", mine, ""};
  });
  EXPECT_EQ(text_of_first(ranks, "mine", "a choice"), "checkpoints/step-00000005");
  EXPECT_EQ(said, "") << "nobody else says anything";
}

TEST(Agreement, WhatIsNotAlikeIsNamedWithRankAndHost) {
  const std::vector<Fingerprint> mine = {{"the training data", "aaaa"}, {"seed", "7"}};
  const auto answers = [](const std::string& first, const std::string& third) {
    return [=](const std::string& said) { return said.empty() ? Strings(3) : Strings{first, said, third}; };
  };
  const std::string same = R"(["c", "aaaa", "7"])";
  ScriptedRanks alike(answers(same, same));
  compare_fingerprints(alike, mine);
  ScriptedRanks one(answers(same, R"(["b", "bbbb", "7"])"));
  expect_error(ExitCode::data, {"the training data: rank 2 on b has bbbb, rank 0 on c has aaaa"},
               [&] { compare_fingerprints(one, mine); });
  EXPECT_THROW(compare_fingerprints(one, mine), SharedError) << "which is no rank's own";
  ScriptedRanks all(answers(R"(["c", "bbbb", "8"])", R"(["b", "aaaa"])"));
  expect_error(ExitCode::data,
               {"the training data: rank 1 on ", "has aaaa, rank 0 on c has bbbb", "seed: rank 1 on", "rank 2 on b has nothing"},
               [&] { compare_fingerprints(all, mine); });
  ScriptedRanks one_alone([](const std::string& said) { return Strings{said}; }, 0, 1);
  compare_fingerprints(one_alone, mine);
}

TEST(Agreement, WeightsThatDifferInOneBitAreFound) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    RunConfig config = tiny_config();
    config.precision = precision;
    TinyEngine tiny(config);
    std::string before;
    ScriptedRanks equal([&](const std::string& mine) {
      before = mine;
      return Strings{mine, mine, mine};
    });
    compare_weights(equal, tiny.engine.weights, *tiny.ops, 7);

    // The last weight of all, as a broken memory would have it.
    const TensorView weights = tiny.engine.weights.read_by_model();
    static_cast<unsigned char*>(weights.data)[weights.bytes() - 1] ^= 1;
    ScriptedRanks drifted([&](const std::string& mine) {
      EXPECT_NE(mine, before);
      return Strings{before, mine, before};
    });
    expect_error(ExitCode::distributed, {"after step 7", "rank 1 differ from those of rank 0, 2,"},
                 [&] { compare_weights(drifted, tiny.engine.weights, *tiny.ops, 7); });
    // Rank 0 is no better than others.
    ScriptedRanks first([&](const std::string& mine) { return Strings{before, mine, mine}; });
    expect_error(ExitCode::distributed, {"rank 0 differ from those of rank 1, 2,"},
                 [&] { compare_weights(first, tiny.engine.weights, *tiny.ops, 7); });
    ScriptedRanks two([&](const std::string& mine) { return Strings{before, mine}; }, 1, 2);
    expect_error(ExitCode::distributed, {"cannot be told"}, [&] { compare_weights(two, tiny.engine.weights, *tiny.ops, 7); });
  }
}

}  // namespace
}  // namespace temper
