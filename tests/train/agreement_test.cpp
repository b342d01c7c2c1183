// What ranks decide together, with ranks that say what the test wants.
#include "train/agreement.h"

#include "tiny_run.h"

namespace temper {
namespace {

/// Rank 1 of three; `others` makes of what it says what all say.
class Talk final : public Communicator {
 public:
  using Answer = std::function<std::vector<std::string>(const std::string& mine)>;
  explicit Talk(Answer others) : others_(std::move(others)) {}

  std::int64_t rank() const override { return 1; }
  std::int64_t size() const override { return 3; }
  std::string description() const override { return "talk"; }
  void all_reduce(TensorView /*values*/, const std::string& /*what*/) override {}
  void all_reduce(double* /*values*/, std::int64_t /*count*/, const std::string& /*what*/) override {}
  void reduce_scatter(TensorView /*values*/, const Shards& /*shards*/, const std::string& /*what*/) override {}
  void accumulate(TensorView /*values*/, const Shards& /*shards*/, TensorView /*sum*/, const std::string& /*what*/) override {}
  void all_gather(TensorView /*values*/, const Shards& /*shards*/, const std::string& /*what*/) override {}
  void broadcast(TensorView /*values*/, const std::string& /*what*/) override {}
  void wait() override {}
  void check() override {}
  std::vector<std::string> exchange(const std::string& mine, const std::string& /*what*/) override { return others_(mine); }
  void meet(const std::string& /*what*/) override {}
  void fail(const std::string& /*reason*/) noexcept override {}

 private:
  Answer others_;
};

TEST(Agreement, OneRankIsEnoughToStopAll) {
  Talk nobody([](const std::string& mine) { return std::vector<std::string>{"", mine, ""}; });
  Talk another([](const std::string& mine) { return std::vector<std::string>{"", mine, "stop"}; });
  EXPECT_FALSE(asked_to_stop(nobody));
  EXPECT_TRUE(asked_to_stop(another));
  EXPECT_FALSE(asked_to_stop(*make_self_communicator()));
}

TEST(Agreement, TheFirstRanksTextCounts) {
  std::string said = "unset";
  Talk ranks([&](const std::string& mine) {
    said = mine;
    return std::vector<std::string>{"checkpoints/step-00000005", mine, ""};
  });
  EXPECT_EQ(text_of_first(ranks, "mine", "a choice"), "checkpoints/step-00000005");
  EXPECT_EQ(said, "") << "nobody else says anything";
}

TEST(Agreement, WeightsThatDifferInOneBitAreFound) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    RunConfig config = tiny_config();
    config.precision = precision;
    TinyEngine tiny(config);
    std::string before;
    Talk equal([&](const std::string& mine) {
      before = mine;
      return std::vector<std::string>{mine, mine, mine};
    });
    compare_weights(equal, tiny.engine.weights, *tiny.ops, 7);

    // The last weight of all, as a broken memory would have it.
    const TensorView weights = tiny.engine.weights.read_by_model();
    static_cast<unsigned char*>(weights.data)[weights.bytes() - 1] ^= 1;
    Talk drifted([&](const std::string& mine) {
      EXPECT_NE(mine, before);
      return std::vector<std::string>{before, mine, before};
    });
    expect_error(ExitCode::distributed, {"after step 7", "rank 1 differ"},
                 [&] { compare_weights(drifted, tiny.engine.weights, *tiny.ops, 7); });
  }
}

}  // namespace
}  // namespace temper
