// Signal and noise from the halves of a step's micro-batches, against the gradients of the micro-batches one by one, in double.
#include <cmath>
#include <map>

#include "kernels/emulated/emulated_ops.h"
#include "scripted_ranks.h"
#include "tiny_run.h"

namespace temper {
namespace {

Batch made_up_batch(const RunConfig& config, std::int64_t number) {
  const auto count = static_cast<std::size_t>(config.batch.micro_batch * config.model.n_ctx);
  Batch batch{std::vector<std::int32_t>(count), std::vector<std::int32_t>(count)};
  for (std::size_t i = 0; i < count; ++i) {
    batch.inputs[i] = static_cast<std::int32_t>((7 * i + 31 * static_cast<std::size_t>(number)) % tiny_vocab);
    batch.targets[i] = static_cast<std::int32_t>((7 * i + 7 + 13 * static_cast<std::size_t>(number)) % tiny_vocab);
  }
  return batch;
}

std::vector<float> download(Ops& ops, ConstTensorView view) {
  std::vector<float> values(static_cast<std::size_t>(view.numel()));
  ops.copy_to_host(values.data(), view.data, view.bytes());
  return values;
}

struct HalvesRun {
  HalvesRun(const RunConfig& given, std::unique_ptr<Ops> backend, Communicator* ranks = nullptr)
      : config(given), ops(std::move(backend)), engine(config, ops.get(), ranks) {
    engine.weights.initialize(config.seed);
  }
  /// The step's micro-batches are those from `first` on.
  StepScalars step(std::int64_t k, std::int64_t micro_batches, std::int64_t first = 0, DueDiagnostics due = {}) {
    const auto upload = [&](std::int64_t number) {
      engine.batch.upload(made_up_batch(config, first + number), config.batch.micro_batch, config.model.n_ctx);
    };
    return engine.finish_step(engine.start_step(k, micro_batches, upload, due));
  }
  std::vector<float> gradients() { return download(*ops, engine.weights.gradients()); }

  RunConfig config;
  std::unique_ptr<Ops> ops;
  Engine engine;
};

RunConfig measured_config(std::int64_t micro_batches) {
  RunConfig config = tiny_config();
  config.batch.tokens_per_step = micro_batches * config.batch.micro_batch * config.model.n_ctx;
  config.diagnostics.every = 1;
  return config;
}

/// Mean gradient of the micro-batches from `begin` to `end`, each computed by itself.
std::vector<double> mean_gradient(const RunConfig& config, std::int64_t begin, std::int64_t end) {
  std::vector<double> mean;
  for (std::int64_t number = begin; number < end; ++number) {
    HalvesRun one(config, make_cpu_ops());
    one.step(0, 1, number);
    const std::vector<float> gradients = one.gradients();
    mean.resize(gradients.size());
    for (std::size_t i = 0; i < mean.size(); ++i) mean[i] += static_cast<double>(gradients[i]) / static_cast<double>(end - begin);
  }
  return mean;
}

class HalvesOfBatches : public testing::TestWithParam<const char*> {
 protected:
  static std::unique_ptr<Ops> make() { return std::string(GetParam()) == "cpu" ? make_cpu_ops() : make_emulated_ops(); }
};
INSTANTIATE_TEST_SUITE_P(All, HalvesOfBatches, testing::Values("cpu", "emulated"),
                         [](const auto& i) { return std::string(i.param); });

TEST_P(HalvesOfBatches, AreThoseOfTheMicroBatchesInDouble) {
  for (const std::int64_t micro_batches : {2, 5})
    for (const bool deterministic : {false, true}) {
      if (deterministic && std::string(GetParam()) != "cpu") continue;
      SCOPED_TRACE(micro_batches);
      RunConfig config = measured_config(micro_batches);
      config.parallel.deterministic = deterministic;
      // Neither the decay in the loss nor clipping is the data's.
      config.optimizer.name = OptimizerName::adam;
      config.optimizer.weight_decay = 10.0;
      config.optimizer.l2_stage = L2Stage::before_clipping;
      config.optimizer.grad_clip = 0.01;
      const RunConfig plain = tiny_config();
      const std::vector<double> first = mean_gradient(plain, 0, micro_batches / 2),
                                second = mean_gradient(plain, micro_batches / 2, micro_batches);
      const std::int64_t half = micro_batches / 2;
      const double n = 2.0 * static_cast<double>(micro_batches), a = 2.0 * static_cast<double>(half), b = n - a;

      for (const bool corrects : {false, true}) {
        if (corrects) config.optimizer.rate_correction = RateCorrectionChoice::momentum;
        HalvesRun run(config, make());
        run.step(0, micro_batches, 0, {.update = true});
        NoiseAverages averages;
        const StepDiagnostics measured = run.engine.diagnostics->read(0, averages);
        for (const OptimizedTensor& tensor : run.engine.optimizer.tensors()) {
          if (tensor.stacked > 1 || tensor.shape.rank() < 2) continue;
          double signal = 0.0, noise = 0.0;
          for (std::int64_t i = tensor.offset; i < tensor.offset + tensor.shape.numel(); ++i) {
            const double x = first[static_cast<std::size_t>(i)], y = second[static_cast<std::size_t>(i)];
            signal += x * y;
            noise += (x - y) * (x - y) / (1.0 / a + 1.0 / b) / n;
          }
          const double q = std::max(0.0, signal / noise);
          const auto found = std::find_if(measured.tensors.begin(), measured.tensors.end(),
                                          [&](const UpdateDiagnostics& one) { return one.name == tensor.name; });
          ASSERT_NE(found, measured.tensors.end());
          EXPECT_NEAR(*found->snr, q, 1e-4 * std::max(q, 0.1)) << tensor.name;  // f32 gradients
          const double factor = corrects ? rate_correction(RateCorrection::momentum, q / n, n, 0.9) : 1.0;
          EXPECT_NEAR(*found->rate_applied, factor, 1e-4) << tensor.name;
        }
      }
    }
}

TEST_P(HalvesOfBatches, OneMicroBatchTellsNothing) {
  HalvesRun run(measured_config(2), make());
  run.step(0, 1, 0, {.update = true});
  NoiseAverages averages;
  const StepDiagnostics measured = run.engine.diagnostics->read(0, averages);
  EXPECT_FALSE(measured.all.snr);
  EXPECT_GT(measured.all.grad_norm, 0.0);
}

// Halves' sizes are parts of what is recorded.
TEST_P(HalvesOfBatches, RecordingsFollowTheSizeOfTheBatch) {
  RunConfig config = measured_config(5);
  config.optimizer.rate_correction = RateCorrectionChoice::gradient;
  HalvesRun recorded(config, make()), direct(config, make());
  direct.engine.replays = false;
  const std::int64_t sizes[] = {2, 2, 2, 2, 5, 5, 5, 5, 3, 3};
  for (std::int64_t k = 0; k < 10; ++k)
    for (HalvesRun* run : {&recorded, &direct}) ASSERT_EQ(run->step(k, sizes[k], 10 * k, {.update = k % 3 == 0}).finite, 1);
  EXPECT_EQ(download(*recorded.ops, recorded.engine.weights.master()), download(*direct.ops, direct.engine.weights.master()));
  for (std::size_t i = 0; i < recorded.engine.optimizer.state_buffers().size(); ++i)
    EXPECT_EQ(download(*recorded.ops, recorded.engine.optimizer.state_buffers()[i].values),
              download(*direct.ops, direct.engine.optimizer.state_buffers()[i].values));
}

// With parallel.deterministic: tests/integration/ranks.py.
TEST(HalvesOfRanks, AddUpToThoseOfOne) {
  for (const std::int64_t micro_batches : {2, 4, 5, 7}) {
    SCOPED_TRACE(micro_batches);
    RunConfig config = measured_config(micro_batches);
    config.diagnostics = {};
    config.optimizer.rate_correction = RateCorrectionChoice::momentum;
    HalvesRun one(config, make_cpu_ops());
    one.step(0, micro_batches);
    const std::vector<float> half = download(*one.ops, one.engine.gradient_sum.first_half()), whole = one.gradients();
    for (const std::int64_t zero_stage : {0, 1}) {
      config.parallel.zero_stage = zero_stage;
      std::vector<double> halves(half.size()), wholes(half.size());
      for (std::int64_t rank = 0; rank < 3; ++rank) {
        // The others send nothing, so that it keeps its own part of each sum.
        ScriptedRanks ranks([](const std::string& mine) { return std::vector<std::string>{mine}; }, rank, 3);
        std::map<std::string, std::int64_t> summed;  // elements, by what they are
        ranks.on_all_reduce =
            ranks.on_reduce_scatter = [&](TensorView values, const std::string& what) { summed[what] += values.numel(); };
        HalvesRun part(config, make_cpu_ops(), &ranks);
        part.step(0, micro_batches);
        const std::vector<float> own = download(*part.ops, part.engine.gradient_sum.first_half()), all = part.gradients();
        for (std::size_t i = 0; i < half.size(); ++i)
          halves[i] += static_cast<double>(own[i]), wholes[i] += static_cast<double>(all[i]);
        EXPECT_EQ(summed["gradients"], static_cast<std::int64_t>(half.size()));
        EXPECT_EQ(summed["half the gradients"], static_cast<std::int64_t>(half.size()));
      }
      for (std::size_t i = 0; i < half.size(); ++i) {
        EXPECT_NEAR(halves[i], static_cast<double>(half[i]), 1e-7) << i;
        EXPECT_NEAR(wholes[i], static_cast<double>(whole[i]), 1e-7) << i;
      }
    }
  }
}

}  // namespace
}  // namespace temper
