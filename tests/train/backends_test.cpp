// A whole model on each backend: the CUDA sources, emulated or on a GPU, train what the CPU trains.
#include <gtest/gtest.h>

#include <cmath>

#include "config/validate.h"
#include "kernels/emulated/emulated_ops.h"
#include "kernels/philox.h"
#include "train/engine.h"

namespace temper {
namespace {

struct NamedBackend {
  std::string name;
  std::function<std::unique_ptr<Ops>()> make;
};

void PrintTo(const NamedBackend& backend, std::ostream* out) { *out << backend.name; }

std::vector<NamedBackend> backends() {
  std::vector<NamedBackend> all = {{"Emulated", [] { return make_emulated_ops(); }}};
  if (cuda_available(nullptr)) all.push_back({"Cuda", [] { return make_cuda_ops(); }});
  return all;
}

/// Two blocks with heads of 64, a context that is no multiple of a tile, two micro-batches a step.
RunConfig small_config(Precision precision) {
  RunConfig config;
  config.precision = precision;
  config.model.n_layer = 2;
  config.model.n_head = 2;
  config.model.n_embd = 128;
  config.model.n_ctx = 40;
  config.model.vocab_size = 300;
  config.batch.micro_batch = 2;
  config.batch.tokens_per_step = 160;
  config.train.steps = 20;
  config.optimizer.learning_rate = 1e-3;
  config.schedule.name = ScheduleName::constant;
  return config;
}

/// A run of `steps` steps on made-up tokens: its losses, and what it left.
struct ShortRun {
  ShortRun(const RunConfig& config, std::unique_ptr<Ops> backend, int steps) : ops(std::move(backend)), engine(config, ops.get()) {
    engine.weights.initialize(config.seed);
    for (int step = 0; step < steps; ++step) {
      start(config, step);
      // As the trainer does it: the host may fill the next batch before this step is done.
      if (reads.size() > 2) finish_one();
    }
    while (!reads.empty()) finish_one();
  }

  void start(const RunConfig& config, int step) {
    const auto count = static_cast<std::size_t>(config.batch.micro_batch * config.model.n_ctx);
    const auto vocab = static_cast<std::uint32_t>(config.model.vocab_size);
    Batch batch{std::vector<std::int32_t>(count), std::vector<std::int32_t>(count)};
    const std::int64_t micro_batches = config.batch.tokens_per_step / static_cast<std::int64_t>(count);
    const std::int64_t length = context_at(config, step);
    reads.push_back(engine.start_step(step, micro_batches, [&](std::int64_t) {
      for (std::size_t i = 0; i < count; ++i) {
        // Something to learn: mostly the successor of the token before.
        const std::uint32_t random = random_block(7, RandomPurpose::benchmark, drawn, i).word[0];
        batch.inputs[i] = static_cast<std::int32_t>(random % vocab);
        batch.targets[i] = static_cast<std::int32_t>((random % vocab + 1) % vocab);
      }
      ++drawn;
      engine.batch.upload(batch, static_cast<std::int64_t>(count) / length, length);
    }));
  }

  void finish_one() {
    const StepScalars scalars = engine.finish_step(reads.front());
    reads.erase(reads.begin());
    EXPECT_EQ(scalars.finite, 1);
    losses.push_back(scalars.loss);
    norms.push_back(scalars.gradient_norm);
  }

  std::vector<float> download(ConstTensorView view) {
    std::vector<float> values(static_cast<std::size_t>(view.numel()));
    ops->copy_to_host(values.data(), view.data, view.bytes());
    return values;
  }

  std::unique_ptr<Ops> ops;
  Engine engine;
  std::vector<std::uint64_t> reads;
  std::uint32_t drawn = 0;
  std::vector<float> losses, norms;
};

double relative_error(const std::vector<float>& result, const std::vector<float>& reference) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    difference += std::pow(static_cast<double>(result[i]) - reference[i], 2);
    norm += std::pow(static_cast<double>(reference[i]), 2);
  }
  return std::sqrt(difference / norm);
}

class Backends : public testing::TestWithParam<NamedBackend> {};
INSTANTIATE_TEST_SUITE_P(Cuda, Backends, testing::ValuesIn(backends()), [](const auto& instance) { return instance.param.name; });

TEST_P(Backends, TwentyStepsFollowTheCpus) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    SCOPED_TRACE(precision == Precision::fp32 ? "fp32" : "bf16");
    // In bf16 the reference is the CPU's fp32 run too, since not every processor has bf16 matmuls: weights and activations rounded
    // to 8 bits move a loss by a few times 2^-9. In fp32 only the order of additions differs, which twenty updates amplify.
    const ShortRun expected(small_config(Precision::fp32), make_cpu_ops(), 20);
    const ShortRun run(small_config(precision), GetParam().make(), 20);
    const double tolerance = precision == Precision::fp32 ? 1e-5 : 1e-2;
    ASSERT_EQ(run.losses.size(), 20u);
    for (std::size_t step = 0; step < 20; ++step)
      EXPECT_NEAR(run.losses[step], expected.losses[step], tolerance * expected.losses[step]) << "step " << step;
    EXPECT_LT(run.losses.back(), run.losses.front() - 0.05f) << "nothing was learnt";
  }
}

TEST_P(Backends, GradientsAreTheCpus) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    SCOPED_TRACE(precision == Precision::fp32 ? "fp32" : "bf16");
    ShortRun expected(small_config(Precision::fp32), make_cpu_ops(), 1);
    ShortRun run(small_config(precision), GetParam().make(), 1);
    EXPECT_LT(relative_error(run.download(run.engine.weights.gradients()), expected.download(expected.engine.weights.gradients())),
              precision == Precision::fp32 ? 1e-5 : 2e-2);
    EXPECT_NEAR(run.norms[0], expected.norms[0], (precision == Precision::fp32 ? 1e-5 : 2e-2) * expected.norms[0]);
  }
}

TEST_P(Backends, TheSameRunTwiceGivesTheSameBits) {
  ShortRun first(small_config(Precision::bf16), GetParam().make(), 5);
  ShortRun second(small_config(Precision::bf16), GetParam().make(), 5);
  EXPECT_EQ(first.losses, second.losses);
  EXPECT_EQ(first.download(first.engine.weights.master()), second.download(second.engine.weights.master()));
}

// A block that runs again makes the same calls. GELU alone is another kernel than the product that carried it out on the way: equal
// but for the last bits, which three updates amplify little.
TEST_P(Backends, ComputingActivationsAgainChangesNoMoreThanRounding) {
  RunConfig config = small_config(Precision::fp32);
  ShortRun expected(config, GetParam().make(), 3);
  const std::vector<float> weights = expected.download(expected.engine.weights.master());
  config.train.recompute = Recompute::block;
  ShortRun whole(config, GetParam().make(), 3);
  EXPECT_EQ(whole.losses, expected.losses);
  EXPECT_EQ(whole.download(whole.engine.weights.master()), weights);
  config.train.recompute = Recompute::gelu_layernorm;
  ShortRun cheap(config, GetParam().make(), 3);
  for (std::size_t step = 0; step < 3; ++step) EXPECT_NEAR(cheap.losses[step], expected.losses[step], 1e-5 * expected.losses[step]);
  EXPECT_LT(relative_error(cheap.download(cheap.engine.weights.master()), weights), 1e-5);
}

TEST_P(Backends, ThePlanIsWhatIsTaken) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    const ShortRun run(small_config(precision), GetParam().make(), 2);
    const auto planned = static_cast<double>(run.engine.memory.total_bytes());
    EXPECT_NEAR(static_cast<double>(run.ops->taken_bytes()), planned, 0.05 * planned);  // the project's bound
  }
}

// The host runs ahead across the changes of length.
TEST_P(Backends, SequencesGrowAsOnTheCpu) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    SCOPED_TRACE(precision == Precision::fp32 ? "fp32" : "bf16");
    const auto growing = [](Precision of) {
      RunConfig config = small_config(of);
      config.schedule.context_warmup_steps = 8;  // 8 tokens, then 40
      config.schedule.context_start = 8;
      return config;
    };
    const ShortRun expected(growing(Precision::fp32), make_cpu_ops(), 12), run(growing(precision), GetParam().make(), 12);
    const double tolerance = precision == Precision::fp32 ? 1e-5 : 1e-2;
    for (std::size_t step = 0; step < 12; ++step)
      EXPECT_NEAR(run.losses[step], expected.losses[step], tolerance * expected.losses[step]) << "step " << step;
  }
}

// What a step uploads (its numbers, tokens and targets) must find room while the steps before it are under way: otherwise the GPU
// waits for the host.
TEST(EmulatedBackend, TheHostIsTwoStepsAheadWithoutWaiting) {
  RunConfig config = small_config(Precision::fp32);
  config.batch.tokens_per_step = 80;
  ShortRun run(config, make_emulated_ops(), 3);
  const std::uint64_t before = host_waits(*run.ops);
  for (int step = 3; step < 6; ++step) run.start(config, step);
  EXPECT_EQ(host_waits(*run.ops), before);
  while (!run.reads.empty()) run.finish_one();
  EXPECT_GT(host_waits(*run.ops), before);
}

// The order in which CUDA threads, blocks and streams run is not the program's to choose.
TEST(EmulatedBackend, NoOrderOfThreadsChangesABit) {
  ShortRun expected(small_config(Precision::bf16), make_emulated_ops({0, true, 1}), 2);
  for (const std::uint64_t seed : {1, 5}) {
    ShortRun run(small_config(Precision::bf16), make_emulated_ops({seed, false, 2}), 2);
    EXPECT_EQ(run.losses, expected.losses) << "seed " << seed;
    EXPECT_EQ(run.download(run.engine.weights.master()), expected.download(expected.engine.weights.master())) << "seed " << seed;
  }
}

}  // namespace
}  // namespace temper
