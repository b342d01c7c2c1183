// Who computes which micro-batch, what leaves when, and that sums of a rank by itself are those of ordinary training. Several ranks
// at work: tests/integration/ranks.py.
#include "train/gradient_sum.h"

#include <algorithm>
#include <cmath>

#include "tiny_run.h"

namespace temper {
namespace {

/// A rank whose others send nothing; it records what it is asked to do.
class Recorder final : public Communicator {
 public:
  struct Call {
    std::string name;
    const void* data;
    std::int64_t count;
  };

  Recorder(std::int64_t rank, std::int64_t size) : rank_(rank), size_(size) {}

  std::int64_t rank() const override { return rank_; }
  std::int64_t size() const override { return size_; }
  std::string description() const override { return "recorder"; }
  void all_reduce(TensorView values, const std::string& what) override { add("all_reduce " + what, values); }
  void all_reduce(double* /*values*/, std::int64_t /*count*/, const std::string& /*what*/) override {}
  void reduce_scatter(TensorView values, const Shards& shards, const std::string& what) override {
    EXPECT_EQ(shards.back(), values.numel());
    add("reduce_scatter " + what, values);
  }
  void accumulate(TensorView values, const Shards& shards, TensorView sum, const std::string& what) override {
    const auto own = static_cast<std::size_t>(rank_);
    EXPECT_EQ(shards.back(), values.numel());
    EXPECT_EQ(sum.numel(), shards[own + 1] - shards[own]);
    add("accumulate " + what, values);
  }
  void all_gather(TensorView values, const Shards& /*shards*/, const std::string& what) override {
    add("all_gather " + what, values);
  }
  void wait() override { calls.push_back({"wait", nullptr, 0}); }
  void check() override {}
  std::vector<std::string> exchange(const std::string& mine, const std::string& /*what*/) override {
    return std::vector<std::string>(static_cast<std::size_t>(size_), mine);
  }
  void meet(const std::string& /*what*/) override {}
  void fail(const std::string& /*reason*/) noexcept override {}

  std::vector<Call> named(const std::string& name) const {
    std::vector<Call> found;
    std::copy_if(calls.begin(), calls.end(), std::back_inserter(found), [&](const Call& call) { return call.name == name; });
    return found;
  }

  std::vector<Call> calls;

 private:
  void add(const std::string& name, TensorView values) { calls.push_back({name, values.data, values.numel()}); }

  std::int64_t rank_, size_;
};

RunConfig config_of(std::int64_t micro_batches, bool deterministic, std::int64_t zero_stage = 0) {
  RunConfig config = tiny_config();
  config.model.n_layer = 2;
  config.model.n_embd = 256;
  config.batch.micro_batch = 1;
  config.batch.tokens_per_step = micro_batches * config.model.n_ctx;
  config.parallel.deterministic = deterministic;
  config.parallel.zero_stage = zero_stage;
  config.parallel.bucket_mib = 1;
  return config;
}

struct Trained {
  Trained(const RunConfig& config, Communicator* ranks, int steps) : ops(make_cpu_ops()), engine(config, ops.get(), ranks) {
    engine.weights.initialize(config.seed);
    const auto count = static_cast<std::size_t>(config.model.n_ctx);
    const std::int64_t micro_batches = config.batch.tokens_per_step / config.model.n_ctx;
    for (int step = 0; step < steps; ++step) {
      const StepScalars scalars = engine.finish_step(engine.start_step(step, micro_batches, [&](std::int64_t number) {
        asked.push_back(number);
        Batch batch{std::vector<std::int32_t>(count), std::vector<std::int32_t>(count)};
        for (std::size_t i = 0; i < count; ++i) {
          batch.inputs[i] = static_cast<std::int32_t>((7 * i + 31 * static_cast<std::size_t>(number)) % tiny_vocab);
          batch.targets[i] = static_cast<std::int32_t>((7 * i + 7 + 31 * static_cast<std::size_t>(number)) % tiny_vocab);
        }
        engine.batch.upload(batch, 1, config.model.n_ctx);
      }));
      losses.push_back(scalars.loss);
      norms.push_back(scalars.gradient_norm);
    }
  }

  std::unique_ptr<Ops> ops;
  Engine engine;
  std::vector<std::int64_t> asked;
  std::vector<float> losses, norms;
};

TEST(GradientSum, MicroBatchesAreDealtOutInTurn) {
  for (const auto& [rank, expected] : {std::pair{0, std::vector<std::int64_t>{0, 3, 6}}, {1, {1, 4, 7}}, {2, {2, 5}}}) {
    Recorder ranks(rank, 3);
    EXPECT_EQ(Trained(config_of(8, false), &ranks, 1).asked, expected) << rank;
  }
  Recorder idle(3, 4);
  EXPECT_TRUE(Trained(config_of(2, false), &idle, 1).asked.empty());
}

/// Buckets of the whole flat buffer, each element once, from its end to its beginning.
void expect_buckets(const std::vector<Recorder::Call>& calls, const Weights& weights, std::size_t times) {
  ASSERT_EQ(calls.size() % times, 0u);
  const std::size_t buckets = calls.size() / times;
  EXPECT_GT(buckets, 2u) << "too few to leave before the backward pass is over";
  for (std::size_t time = 0; time < times; ++time) {
    const float* end = weights.gradients().as<float>() + weights.layout().flat_size();
    for (std::size_t i = 0; i < buckets; ++i) {
      const Recorder::Call& call = calls[time * buckets + i];
      EXPECT_EQ(static_cast<const float*>(call.data) + call.count, end) << "bucket " << i;
      end = static_cast<const float*>(call.data);
    }
    EXPECT_EQ(end, weights.gradients().as<float>());
  }
}

TEST(GradientSum, BucketsCoverAllGradientsOncePerStep) {
  for (const std::int64_t rank : {0, 1, 2, 3}) {
    Recorder ranks(rank, 4);
    const Trained trained(config_of(5, false), &ranks, 2);  // rank 0 has two micro-batches of a step, the others one
    expect_buckets(ranks.named("all_reduce gradients"), trained.engine.weights, 2);
    EXPECT_EQ(ranks.named("all_reduce the loss").size(), 2u);
    EXPECT_TRUE(ranks.named("all_gather weights").empty());
  }
}

TEST(GradientSum, SharedStatesScatterGradientsAndGatherWeights) {
  Recorder ranks(1, 2);
  const Trained trained(config_of(4, false, 1), &ranks, 3);
  expect_buckets(ranks.named("reduce_scatter gradients"), trained.engine.weights, 3);
  EXPECT_EQ(ranks.named("all_gather the shards' norms").size(), 3u);
  EXPECT_EQ(ranks.named("all_gather weights").size(), 3u);
  EXPECT_LT(trained.engine.optimizer.state_buffers()[0].values.numel(), trained.engine.weights.layout().flat_size() * 3 / 4);
}

TEST(GradientSum, InOrderEveryMicroBatchIsAddedByItselfAndNoneOverwrittenOnItsWay) {
  Recorder ranks(0, 2);
  const Trained trained(config_of(6, true), &ranks, 1);
  expect_buckets(ranks.named("accumulate gradients"), trained.engine.weights, 3);
  // Between two rounds it waits until the first one's gradients have left.
  int since_wait = 0, rounds = 0;
  for (const Recorder::Call& call : ranks.calls) {
    if (call.name == "wait") since_wait = 0;
    if (call.name == "accumulate gradients" && call.data == trained.engine.weights.gradients().data) {
      EXPECT_EQ(++since_wait, 1);
      ++rounds;
    }
  }
  EXPECT_EQ(rounds, 3);
}

TEST(GradientSum, InOrderARankByItselfTrainsAsWithout) {
  for (const std::int64_t micro_batches : {1, 4}) {
    const Trained plain(config_of(micro_batches, false), nullptr, 4), ordered(config_of(micro_batches, true), nullptr, 4);
    for (std::size_t step = 0; step < 4; ++step) {
      // The same sums in another order: some 1e-7 of each, that four steps carry on.
      EXPECT_NEAR(ordered.losses[step], plain.losses[step], 1e-5f * plain.losses[step]);
      EXPECT_NEAR(ordered.norms[step], plain.norms[step], 1e-4f * plain.norms[step]);
    }
  }
}

}  // namespace
}  // namespace temper
