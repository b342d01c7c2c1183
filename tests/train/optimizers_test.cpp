// Every named optimizer in whole runs: what it says is logged, and a resumed run is the uninterrupted one, bit for bit.
#include <nlohmann/json.hpp>

#include "config/run_config.h"
#include "config/validate.h"
#include "io/file.h"
#include "kernels/emulated/emulated_ops.h"
#include "optim/measurements.h"
#include "tests/optim/optimizer_ranks.h"
#include "tiny_run.h"
#include "train/checkpoint.h"
#include "train/trainer.h"

namespace temper {
namespace {

using Json = nlohmann::ordered_json;

struct Named {
  const char* name;
  OptimizerName optimizer;
  void (*change)(RunConfig&) = [](RunConfig&) {};
};

void PrintTo(const Named& named, std::ostream* out) { *out << named.name; }

const Named all_named[] = {
    {"sgd", OptimizerName::sgd},
    {"sgd_nesterov", OptimizerName::sgd, [](RunConfig& c) { c.optimizer.nesterov = true; }},
    {"sgd_without_momentum", OptimizerName::sgd, [](RunConfig& c) { c.optimizer.momentum = 0.0; }},
    {"sgdw", OptimizerName::sgdw},
    {"adam_l2", OptimizerName::adam},
    {"adam_l2_before_clipping", OptimizerName::adam, [](RunConfig& c) { c.optimizer.l2_stage = L2Stage::before_clipping; }},
    {"adamw", OptimizerName::adamw},
    {"adamw_paper", OptimizerName::adamw, [](RunConfig& c) { c.optimizer.decay = DecayMode::independent; }},
    {"adamw_second_correction_only", OptimizerName::adamw,
     [](RunConfig& c) { c.optimizer.bias_correction = BiasCorrection::second; }},
    {"adamw_cautious", OptimizerName::adamw, [](RunConfig& c) { c.optimizer.decay = DecayMode::cautious; }},
    {"adamw_normalized", OptimizerName::adamw, [](RunConfig& c) { c.optimizer.decay = DecayMode::normalized; }},
    {"adam_scale_adjusted", OptimizerName::adam, [](RunConfig& c) { c.optimizer.decay = DecayMode::scale_adjusted; }},
    {"adamw_rotational", OptimizerName::adamw, [](RunConfig& c) { c.optimizer.norm_control = NormControlChoice::rotational; }},
    {"adamw_clip_each_tensor", OptimizerName::adamw, [](RunConfig& c) { c.optimizer.clip_mode = ClipMode::tensor; }},
    {"adamw_clip_value", OptimizerName::adamw, [](RunConfig& c) { c.optimizer.clip_mode = ClipMode::value; }},
    {"adamc", OptimizerName::adamc},
    {"lion", OptimizerName::lion},
    {"nesterov_lion", OptimizerName::nesterov_lion},
    {"liona", OptimizerName::liona},
    {"lionar", OptimizerName::lionar},
    {"lionar_per_matrix", OptimizerName::lionar, [](RunConfig& c) { c.optimizer.norm_granularity = Granularity::matrix; }},
    {"lionar_corrected", OptimizerName::lionar,
     [](RunConfig& c) {
       c.optimizer.rate_correction = RateCorrectionChoice::momentum;
       c.optimizer.inverse_bias_correction = InverseBiasCorrection::linear;
       c.optimizer.nesterov = true;
     }},
    {"lionar_gains", OptimizerName::lionar, [](RunConfig& c) { c.optimizer.rotation_gains = true; }},
    {"adamh", OptimizerName::adamh},
    {"muon", OptimizerName::muon},
    {"ademamix", OptimizerName::ademamix, [](RunConfig& c) { c.optimizer.ademamix_warmup_steps = 5; }},
    {"schedule_free_adamw", OptimizerName::schedule_free_adamw},
};

class EveryOptimizer : public testing::TestWithParam<Named> {
 protected:
  EveryOptimizer() {
    config = tiny_config();
    config.data.train = {put_tiny_shard(folder / "train.bin", 400, 1)};
    config.data.val = config.data.train;  // tokens are random: nothing but them can be learnt
    config.data.shuffle = true;
    config.train.steps = 9;
    config.eval.every = 3;
    config.checkpoint.every = 2;
    config.optimizer.name = GetParam().optimizer;
    config.schedule.warmup_steps = 2;
    config.diagnostics.every = 2;
    config.diagnostics.representation_every = 4;
    config.diagnostics.histogram_every = 4;
    GetParam().change(config);
  }

  void train_tiny(Ops& ops, const std::filesystem::path& run, bool resume = false) {
    testing::internal::CaptureStderr();
    train({config, run, resume, {}}, ops, *make_self_communicator());
    testing::internal::GetCapturedStderr();
  }
  static std::vector<Json> lines(const std::filesystem::path& path) {
    std::vector<Json> found;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      found.push_back(Json::parse(line));
      for (const char* timing : timing_fields) found.back().erase(timing);
    }
    return found;
  }
  static void expect_equal_runs(const std::filesystem::path& run, const std::filesystem::path& other) {
    const std::filesystem::path last = "checkpoints/step-00000009";
    for (const char* file : {"model.safetensors", "optimizer.safetensors"})
      EXPECT_EQ(hash_file(run / last / file), hash_file(other / last / file)) << file;
    EXPECT_EQ(read_file(run / "diagnostics.jsonl"), read_file(other / "diagnostics.jsonl"));
    EXPECT_EQ(lines(run / "metrics.jsonl"), lines(other / "metrics.jsonl"));
  }

  TemporaryFolder folder;
  RunConfig config;
};

INSTANTIATE_TEST_SUITE_P(All, EveryOptimizer, testing::ValuesIn(all_named),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST_P(EveryOptimizer, TrainsAndResumesBitForBit) {
  validate(config);
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  train_tiny(*ops, folder / "whole");
  const std::vector<Json> metrics = lines(folder / "whole/metrics.jsonl");
  ASSERT_EQ(metrics.size(), 10u);
  EXPECT_LT(metrics.back()["val_loss"].get<double>(), metrics.front()["val_loss"].get<double>());
  EXPECT_TRUE(metrics[4].contains("step_row_angle"));
  for (const char* key :
       {"representation_change", "batch_representation_change", "step_representation_change", "batch_step_representation_change"})
    EXPECT_GT(metrics[4][key].get<double>(), 0.0) << key;
  EXPECT_FALSE(metrics[3].contains("step_row_angle"));
  EXPECT_EQ(lines(folder / "whole/diagnostics.jsonl").size(), 5u);  // steps 1, 2, 4, 6, 8

  std::filesystem::copy(folder / "whole", folder / "resumed", std::filesystem::copy_options::recursive);
  std::filesystem::remove_all(folder / "resumed/checkpoints/step-00000009");
  train_tiny(*ops, folder / "resumed", true);  // from 8, in the middle of everything that moves
  expect_equal_runs(folder / "whole", folder / "resumed");
}

// Positions behind a short sequence's end have a gradient of 0 until sequences reach them: rows of the position embedding that are to
// stay finite under every rule, in what is measured too.
TEST_P(EveryOptimizer, TrainsAndResumesWhileSequencesGrow) {
  config.model.n_ctx = 32;
  config.batch.tokens_per_step = 128;
  config.schedule.context_warmup_steps = 8;  // lengths 8, then 16 from the fourth step on, 32 in the last
  config.schedule.context_start = 8;
  validate(config);
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  train_tiny(*ops, folder / "whole");
  for (const Json& line : lines(folder / "whole/metrics.jsonl")) EXPECT_TRUE(line["step"] == 0 || line["loss"].is_number()) << line;
  for (const Json& line : lines(folder / "whole/diagnostics.jsonl"))
    for (const Json& tensor : line["tensors"])
      for (const auto& measurement : update_measurements)
        EXPECT_TRUE(tensor[measurement.name].is_number()) << measurement.name << tensor;

  std::filesystem::copy(folder / "whole", folder / "resumed", std::filesystem::copy_options::recursive);
  std::filesystem::remove_all(folder / "resumed/checkpoints/step-00000009");
  train_tiny(*ops, folder / "resumed", true);
  expect_equal_runs(folder / "whole", folder / "resumed");
}

// model.mup_base_width: at the base itself a run is the one without, twice as wide it is another, and a resume goes on with it.
TEST_P(EveryOptimizer, WidthTransferStartsAtTheBaseAndResumes) {
  config.diagnostics = {};
  if (config.optimizer.name == OptimizerName::sgd || config.optimizer.name == OptimizerName::sgdw) config.optimizer.grad_clip = 0.0;
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  train_tiny(*ops, folder / "without");
  config.model.mup_base_width = 16;
  if (!config_problems(config).empty()) GTEST_SKIP() << GetParam().name << ", for which there is no law of the width";
  train_tiny(*ops, folder / "base");
  const std::string saved = "checkpoints/step-00000009/model.safetensors";
  EXPECT_EQ(hash_file(folder / "without" / saved), hash_file(folder / "base" / saved));

  config.model.mup_base_width = 8;
  train_tiny(*ops, folder / "whole");
  EXPECT_NE(hash_file(folder / "without" / saved), hash_file(folder / "whole" / saved));
  std::filesystem::copy(folder / "whole", folder / "resumed", std::filesystem::copy_options::recursive);
  std::filesystem::remove_all(folder / "resumed/checkpoints/step-00000009");
  train_tiny(*ops, folder / "resumed", true);
  EXPECT_EQ(hash_file(folder / "whole" / saved), hash_file(folder / "resumed" / saved));

  config.train.branch_from = (folder / "without/checkpoints/step-00000008").string();
  EXPECT_THROW(train_tiny(*ops, folder / "branch"), Error) << "moments and weights are of other sizes";
  testing::internal::GetCapturedStderr();
}

// The update runs as kernels there; losses differ from the CPU's by rounding alone, which nine steps at this rate keep small. The
// sign of a direction near 0 may differ, which moves one weight by a whole step, so that sign rules get more room.
TEST_P(EveryOptimizer, AgreesOnTheEmulatedGpu) {
  const std::unique_ptr<Ops> cpu = make_cpu_ops(), emulated = make_emulated_ops();
  config.train.steps = 5;
  train_tiny(*cpu, folder / "cpu");
  train_tiny(*emulated, folder / "emulated");
  const std::vector<Json> a = lines(folder / "cpu/metrics.jsonl"), b = lines(folder / "emulated/metrics.jsonl");
  ASSERT_EQ(a.size(), b.size());
  const std::string name = GetParam().name;
  const bool signs = name.find("lion") != std::string::npos;
  for (std::size_t i = 1; i < a.size(); ++i)
    EXPECT_NEAR(a[i]["loss"].get<double>(), b[i]["loss"].get<double>(), signs ? 2e-3 : 1e-4) << i;
}

// Rows are centred before the first gradient, so that every update turns them by the angle set; a centring inside the first would
// turn them as well.
TEST_P(EveryOptimizer, TheFirstRotationIsTheOneSet) {
  if (resolved_optimizer(config.optimizer).norm_control != NormControlChoice::rotational)
    GTEST_SKIP() << "the first rotation of " << GetParam().name << ", which turns no rows";
  config.schedule = {.name = ScheduleName::constant};
  config.diagnostics = {.every = 1};
  config.optimizer.rotation_averaging = 0.0;
  config.optimizer.rate_correction = RateCorrectionChoice::none;
  config.optimizer.inverse_bias_correction = InverseBiasCorrection::none;
  config.train.steps = 2;
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  train_tiny(*ops, folder / "run");
  const std::vector<Json> measured = lines(folder / "run/diagnostics.jsonl");
  ASSERT_EQ(measured.size(), 2u);
  for (const char* name : {"h.0.attn.c_attn.weight.q", "h.0.mlp.c_fc.weight", "h.0.mlp.c_proj.weight"}) {
    const char* angle = config.optimizer.norm_granularity == Granularity::matrix ? "angle" : "row_angle";
    const double first = measured[0]["tensors"][name][angle], second = measured[1]["tensors"][name][angle];
    EXPECT_NEAR(first / second, 1.0, 1e-3) << name;
  }
}

// What branches take over: weights, moments and their count, the place in the data. At a constant rate a branch is a continuation.
TEST_P(EveryOptimizer, ABranchAtTheSameRateGoesOnAsTheRunDid) {
  const std::string name = GetParam().name;
  if (name == "adamw_normalized" || name == "ademamix" || name == "schedule_free_adamw")
    GTEST_SKIP() << "its numbers depend on the step within the run";
  config.schedule.warmup_steps.reset();
  config.diagnostics = {};
  config.checkpoint.keep = 5;
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  train_tiny(*ops, folder / "whole");
  config.train.branch_from = (folder / "whole/checkpoints/step-00000006").string();
  config.train.steps = 3;
  train_tiny(*ops, folder / "branch");
  EXPECT_EQ(hash_file(folder / "whole/checkpoints/step-00000009/model.safetensors"),
            hash_file(folder / "branch/checkpoints/step-00000003/model.safetensors"));
}

/// A model whose optimizer is shared by ranks, and made-up gradients.
struct RankedRun {
  RankedRun(const RunConfig& config, std::int64_t ranks)
      : tiny(config),
        tensors(optimized_tensors(tiny.engine.weights.config(), tiny.engine.weights.layout())),
        optimizers(*tiny.ops, config, tensors, {weights().master(), weights().gradients(), weights().low_precision()}, ranks) {}

  Weights& weights() { return tiny.engine.weights; }
  void steps(std::int64_t first, std::int64_t end) {
    for (std::int64_t k = first; k < end; ++k)
      ASSERT_EQ(optimizers.step(k, flat_noise(tensors, weights().master().numel(), static_cast<std::uint32_t>(k))).finite, 1);
  }
  std::filesystem::path save(const std::filesystem::path& into) {
    TrainerState state;
    state.config_json = config_to_json(tiny_config());
    const SavedParts parts{weights(), *optimizers.optimizers[0], *tiny.ops, nullptr,
                           [this](const Optimizer::StateBuffer& buffer) { return optimizers.whole(buffer); }};
    CheckpointFolder folder(into, {});
    if (optimizers.optimizers.size() == 1) return folder.save(state, parts);
    CheckpointCopy copy;  // nor does it tell that it was written beside training
    copy.values = std::make_unique<float[]>(checkpoint_bytes(weights(), parts.optimizer, false).copy / sizeof(float));
    folder.copy(state, parts, copy);
    return folder.write(copy, parts);
  }
  void load(const std::filesystem::path& checkpoint) {
    for (const auto& optimizer : optimizers.optimizers) load_checkpoint(checkpoint, weights(), *optimizer, *tiny.ops);
  }

  TinyEngine tiny;
  std::vector<OptimizedTensor> tensors;
  OptimizerRanks optimizers;
};

TEST_P(EveryOptimizer, ACheckpointDoesNotTellHowManyRanksSavedIt) {
  if (config.optimizer.name == OptimizerName::schedule_free_adamw) GTEST_SKIP() << "Schedule-Free is for one rank";
  RankedRun four(config, 4), one(config, 1);
  four.steps(0, 3);
  one.steps(0, 3);
  const std::filesystem::path saved = four.save(folder / "four"), of_one = one.save(folder / "one");
  for (const char* file : {"model.safetensors", "optimizer.safetensors"})
    EXPECT_EQ(hash_file(saved / file), hash_file(of_one / file)) << file;

  four.steps(3, 6);
  const auto expected = four.optimizers.contents();
  config.seed += 1;
  for (const std::int64_t ranks : {1, 3, 4}) {
    RankedRun other(config, ranks);
    other.steps(7, 8);  // states that must be overwritten
    other.load(saved);
    other.steps(3, 6);
    const auto found = other.optimizers.contents();
    ASSERT_EQ(found.size(), expected.size());
    for (const auto& [name, values] : expected) EXPECT_EQ(found.at(name), values) << name << " on " << ranks << " ranks";
  }
}

// The saved model is the average x, not the point y at which gradients are taken.
TEST(ScheduleFreeRun, EvaluatesAndSavesTheAverage) {
  const TemporaryFolder folder;
  RunConfig config = tiny_config();
  config.data.train = {put_tiny_shard(folder / "train.bin", 400, 1)};
  config.data.val = {put_tiny_shard(folder / "val.bin", 100, 2)};
  config.optimizer.name = OptimizerName::schedule_free_adamw;
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  testing::internal::CaptureStderr();
  const TrainSummary summary = train({config, folder / "run", false, {}}, *ops, *make_self_communicator());
  testing::internal::GetCapturedStderr();

  RunConfig again = config;
  again.train.init_from = summary.checkpoint;
  again.train.steps = 1;
  testing::internal::CaptureStderr();
  const TrainSummary loaded = train({again, folder / "again", false, {}}, *ops, *make_self_communicator());
  testing::internal::GetCapturedStderr();
  EXPECT_EQ(loaded.first_val_loss, summary.val_loss);
}

TEST(BatchWarmup, StepsGrowAndTokensAreCounted) {
  const TemporaryFolder folder;
  RunConfig config = tiny_config();
  config.data.train = {put_tiny_shard(folder / "train.bin", 4000, 1)};
  config.batch.tokens_per_step = 64;  // four micro-batches of 16
  config.schedule.batch_warmup_steps = 4;
  config.schedule.batch_start_tokens = 16;
  config.train.steps = 6;
  validate(config);
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  testing::internal::CaptureStderr();
  train({config, folder / "run", false, {}}, *ops, *make_self_communicator());
  testing::internal::GetCapturedStderr();
  std::ifstream file(folder / "run/metrics.jsonl");
  std::vector<std::int64_t> tokens;
  for (std::string line; std::getline(file, line);) tokens.push_back(Json::parse(line)["tokens"].get<std::int64_t>());
  ASSERT_EQ(tokens.size(), 6u);
  EXPECT_EQ(tokens[0], 16);
  for (std::size_t step = 1; step < 6; ++step) {
    EXPECT_EQ(tokens[step], tokens_before(config, static_cast<std::int64_t>(step) + 1));
    EXPECT_LE(tokens[step] - tokens[step - 1], 64);
  }
  EXPECT_EQ(tokens[5] - tokens[4], 64);
}

}  // namespace
}  // namespace temper
