// Whole runs in the process, and the plan that is printed before one.
#include "train/trainer.h"

#include <malloc.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "io/file.h"
#include "kernels/emulated/emulated_ops.h"
#include "tiny_run.h"

namespace temper {
namespace {

using Json = nlohmann::ordered_json;

class TrainerTest : public testing::TestWithParam<const char*> {
 protected:
  TrainerTest() : ops(std::string(GetParam()) == "cpu" ? make_cpu_ops() : make_emulated_ops()) {
    config = tiny_config();
    config.data.train = {put_tiny_shard(folder / "train.bin", 400, 1)};
    config.data.val = {put_tiny_shard(folder / "val.bin", 100, 2)};
    config.eval.every = 3;
    config.checkpoint.every = 2;
  }

  TrainSummary run(bool resume = false, const std::vector<std::string>& allowed_changes = {}) {
    testing::internal::CaptureStderr();
    try {
      const TrainSummary summary = train({config, folder / "run", resume, allowed_changes}, *ops, *ranks);
      said = testing::internal::GetCapturedStderr();
      return summary;
    } catch (...) {
      said = testing::internal::GetCapturedStderr();
      throw;
    }
  }
  std::vector<Json> metrics() const {
    std::vector<Json> found;
    std::ifstream file(folder / "run/metrics.jsonl");
    for (std::string line; std::getline(file, line);) found.push_back(Json::parse(line));
    return found;
  }
  Json summary_file() const { return Json::parse(read_file(folder / "run/summary.json")); }
  /// Steps that have a line, and of those the ones with a validation loss.
  std::vector<int> steps(bool validated) const {
    std::vector<int> found;
    for (const Json& line : metrics())
      if (!validated || line.contains("val_loss")) found.push_back(line["step"].get<int>());
    return found;
  }

  TemporaryFolder folder;
  std::unique_ptr<Communicator> ranks = make_self_communicator();
  std::unique_ptr<Ops> ops;
  RunConfig config;
  std::string said;  // on stderr, by the last run
};

INSTANTIATE_TEST_SUITE_P(Backends, TrainerTest, testing::Values("cpu", "emulated"),
                         [](const auto& instance) { return std::string(instance.param); });

TEST_P(TrainerTest, ARunLeavesWhatItPromises) {
  const TrainSummary summary = run();
  EXPECT_FALSE(summary.interrupted);
  EXPECT_EQ(summary.steps, 6);
  ASSERT_TRUE(summary.val_loss && summary.first_val_loss);
  EXPECT_EQ(summary.checkpoint, folder / "run/checkpoints/step-00000006");
  EXPECT_FALSE(summary.bits_per_byte) << "these shards have no sidecar";

  EXPECT_EQ(steps(false), (std::vector<int>{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(steps(true), (std::vector<int>{0, 3, 6}));
  const std::vector<Json> lines = metrics();
  for (std::size_t step = 0; step < lines.size(); ++step) EXPECT_EQ(lines[step]["tokens"], 32 * step);
  EXPECT_EQ(lines[6]["val_loss"], *summary.val_loss);
  EXPECT_EQ(lines[0]["val_loss"], *summary.first_val_loss);

  const Json file = summary_file();
  EXPECT_EQ(file["steps"], 6);
  EXPECT_EQ(file["tokens"], 192);
  EXPECT_EQ(file["val_loss"], *summary.val_loss);
  EXPECT_EQ(file["checkpoint"], "checkpoints/step-00000006");
  EXPECT_EQ(read_file(folder / "run/config.json"), config_to_json(config));
  EXPECT_TRUE(std::filesystem::is_directory(folder / "run/tensorboard"));
}

TEST_P(TrainerTest, ResumingAFinishedRunKeepsItsResult) {
  run();
  const Json before = summary_file();
  const std::string lines = read_file(folder / "run/metrics.jsonl");
  const TrainSummary again = run(true);
  EXPECT_EQ(again.steps, 6);
  EXPECT_EQ(summary_file(), before);
  EXPECT_EQ(read_file(folder / "run/metrics.jsonl"), lines);
}

TEST_P(TrainerTest, LogEveryThinsTheLines) {
  config.train.steps = 8;
  config.log.every = 5;
  run();
  EXPECT_EQ(steps(false), (std::vector<int>{0, 3, 5, 6, 8}));  // validations stay
}

TEST_P(TrainerTest, TokensAreThoseThatWereUsed) {
  run();
  config.train.steps = 8;
  config.batch.tokens_per_step = 64;
  run(true, {"train.steps", "batch.tokens_per_step"});
  EXPECT_EQ(metrics().back()["tokens"], 6 * 32 + 2 * 64);
  EXPECT_EQ(summary_file()["tokens"], 6 * 32 + 2 * 64);
}

TEST_P(TrainerTest, AResumedRunEqualsAnUninterruptedOne) {
  config.train.steps = 9;
  config.data.shuffle = true;
  run();
  const std::string whole = read_file(folder / "run/checkpoints/step-00000009/optimizer.safetensors");
  const std::vector<Json> lines = metrics();
  std::filesystem::remove_all(folder / "run/checkpoints/step-00000009");
  EXPECT_EQ(run(true).steps, 9);  // from 8
  EXPECT_NE(said.find("step-00000008 at step 8 of 9"), std::string::npos) << said;
  EXPECT_EQ(read_file(folder / "run/checkpoints/step-00000009/optimizer.safetensors"), whole);
  const std::vector<Json> resumed = metrics();
  ASSERT_EQ(resumed.size(), lines.size());
  for (std::size_t i = 0; i < lines.size(); ++i)
    for (const char* key : {"step", "tokens", "loss", "val_loss", "lr", "grad_norm"})
      EXPECT_EQ(resumed[i].value(key, Json()), lines[i].value(key, Json())) << i << " " << key;
}

TEST_P(TrainerTest, ALossThatIsNotFiniteSavesNothing) {
  config.optimizer.learning_rate = 1000.0;
  config.optimizer.weight_decay = 1000.0;
  config.optimizer.grad_clip = 0.0;
  config.train.steps = 40;
  config.checkpoint.every = 0;
  expect_error(ExitCode::numeric, {"not finite", "no checkpoint was saved yet"}, [&] { run(); });
  EXPECT_TRUE(std::filesystem::is_empty(folder / "run/checkpoints"));
}

TEST_P(TrainerTest, HellaSwagNeedsTokenizerAndValidation) {
  config.eval.hellaswag = folder / "items.txt";
  expect_error(ExitCode::usage, {"data.tokenizer"}, [&] { run(); });
  Tokenizer::train("the cat sat on the mat, the cat sat", tiny_vocab, {}).save(folder / "tokenizer", 0);
  config.data.tokenizer = folder / "tokenizer";
  config.data.val = {};
  expect_error(ExitCode::usage, {"eval.hellaswag", "data.val"}, [&] { run(); });
}

TEST_P(TrainerTest, RunsWithoutValidationData) {
  config.data.val = {};
  const TrainSummary summary = run();
  EXPECT_FALSE(summary.val_loss);
  EXPECT_EQ(steps(false), (std::vector<int>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(summary_file()["val_loss"], nullptr);
}

/// What describe_run counts: an engine that took nothing.
struct Plan {
  explicit Plan(const RunConfig& config, const Ops& ops) : engine(config, nullptr) { engine.count_backend_memory(config, ops); }
  Engine engine;
};

class PlanTest : public testing::TestWithParam<Precision> {};
INSTANTIATE_TEST_SUITE_P(All, PlanTest, testing::Values(Precision::fp32, Precision::bf16),
                         [](const auto& instance) { return instance.param == Precision::fp32 ? "fp32" : "bf16"; });

TEST_P(PlanTest, IsWhatAnEngineTakes) {
  RunConfig config = tiny_config();
  config.precision = GetParam();
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  const Plan plan(config, *ops);
  const Engine engine(config, ops.get());
  const std::vector<MemoryGroup>&planned = plan.engine.memory.plan(), &taken = engine.memory.plan();
  ASSERT_EQ(planned.size(), taken.size());
  for (std::size_t i = 0; i < planned.size(); ++i) {
    EXPECT_EQ(planned[i].name, taken[i].name);
    EXPECT_EQ(planned[i].bytes, taken[i].bytes) << planned[i].name;
    EXPECT_GT(planned[i].bytes, 0u) << planned[i].name;
  }
}

TEST_P(PlanTest, IsWhatIsTakenAfterAStep) {
  RunConfig config = tiny_config();
  config.precision = GetParam();
  config.model.n_embd = 128;  // large enough that the threads' own tiles, which are not planned, do not matter
  config.model.n_ctx = 32;
  config.model.vocab_size = 16384;
  config.batch.micro_batch = 4;
  const TinyEngine tiny(config, 1);
  const auto planned = static_cast<double>(tiny.engine.memory.total_bytes());
  EXPECT_NEAR(static_cast<double>(tiny.ops->taken_bytes()), planned, 0.05 * planned);  // the project's bound
}

std::size_t resident_bytes() {
  malloc_trim(0);  // what earlier tests freed must not hide what comes
  std::ifstream file("/proc/self/statm");
  std::size_t pages = 0, resident = 0;
  file >> pages >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

TEST_P(PlanTest, IsWhatAStepLeavesResident) {
  if (mallinfo2().arena == 0) GTEST_SKIP() << "a sanitizer's allocator keeps more than it is asked for";
  RunConfig config = tiny_config();
  config.precision = GetParam();
  TinyEngine(config, 1);  // threads and their stacks
  config.model.n_embd = 256;
  config.model.n_ctx = 64;
  config.model.vocab_size = 16384;
  config.batch.micro_batch = 16;
  const std::size_t before = resident_bytes();
  const TinyEngine tiny(config, 1);
  const auto taken = static_cast<double>(resident_bytes() - before);
  const auto planned = static_cast<double>(tiny.engine.memory.total_bytes());
  // The project's bound. Small scratch (partial sums, norms) is not planned; memory that nobody has touched is not resident.
  EXPECT_NEAR(taken, planned, 0.05 * planned);
}

TEST_P(PlanTest, IsWhatDescribeRunPrints) {
  RunConfig config = tiny_config();
  config.precision = GetParam();
  config.model.n_embd = 256;
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  const std::string text = describe_run(config, *ops, "a device", *make_self_communicator());
  const Plan plan(config, *ops);
  EXPECT_NE(text.find("device      a device\n"), std::string::npos) << text;
  EXPECT_NE(text.find("1 layers, 2 heads, 256 wide, context 8, vocabulary 260 (padded to 384)"), std::string::npos) << text;
  EXPECT_NE(text.find("6 steps of 32 tokens (2 micro-batches of 2 x 8), 192 tokens in all"), std::string::npos) << text;
  for (const char* group : {"weights (f32)", "optimizer states", "packed weights", "scratch"})
    EXPECT_NE(text.find(group), std::string::npos) << text;
  const std::string total = text.substr(text.find("  total"));
  std::size_t bytes = 0;
  for (const MemoryGroup& group : plan.engine.memory.plan()) bytes += group.bytes;
  char expected[64];
  std::snprintf(expected, sizeof(expected), "%.1f MiB\n", static_cast<double>(bytes) / 1048576.0);
  EXPECT_NE(total.find(expected), std::string::npos) << text << expected;
}

}  // namespace
}  // namespace temper
