// Whole runs in the process, and the plan that is printed before one.
#include "train/trainer.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "config/parse.h"
#include "data/shard_sidecar.h"
#include "io/file.h"
#include "kernels/emulated/emulated_ops.h"
#include "kernels/machine.h"
#include "scripted_ranks.h"
#include "tiny_run.h"
#include "train/checkpoint.h"

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
    for (const char* key : {"step", "tokens", "loss", "val_loss", "learning_rate", "grad_norm"})
      EXPECT_EQ(resumed[i].value(key, Json()), lines[i].value(key, Json())) << i << " " << key;
}

// Runs that differ in how much fits into memory measure the same.
TEST_P(TrainerTest, MeasurementsDoNotDependOnTheMicroBatch) {
  Tokenizer::train("the cat sat on the mat, the cat sat", tiny_vocab, {}).save(folder / "tokenizer", 0);
  config.data.tokenizer = folder / "tokenizer";
  std::ofstream(folder / "items.txt") << "the cat\n1\nmat\nsat\nthe\non\nthe mat\n0\ncat\nsat\nthe\nat\n";
  config.eval.hellaswag = folder / "items.txt";
  config.eval.tokens = 35;
  config.diagnostics.representation_every = 3;
  config.diagnostics.representation_sequences = 3;
  std::vector<std::vector<Json>> runs;
  for (const std::int64_t micro_batch : {1, 2, 4}) {
    config.batch.micro_batch = micro_batch;
    std::filesystem::remove_all(folder / "run");
    run();
    runs.push_back(metrics());
    EXPECT_EQ(summary_file()["val_tokens"], 40) << "whole windows of 8";
  }
  for (const std::vector<Json>& lines : runs) {
    ASSERT_EQ(lines.size(), 7u);
    for (const std::size_t step : {0u, 3u, 6u}) {
      EXPECT_EQ(lines[step]["val_tokens"], 40);
      // Rounding of the training, which adds up micro-batches, and of products of other shapes.
      EXPECT_NEAR(lines[step]["val_loss"].get<double>(), runs[0][step]["val_loss"].get<double>(), 1e-5) << step;
      EXPECT_EQ(lines[step]["hellaswag_acc"], runs[0][step]["hellaswag_acc"]) << step;
    }
    for (const std::size_t step : {1u, 3u, 6u}) {
      const double change = runs[0][step]["representation_change"];
      EXPECT_NEAR(lines[step]["representation_change"].get<double>(), change, 1e-4 * change) << step;
    }
  }
}

TEST_P(TrainerTest, AResumeOnAnotherSampleStartsItsLossesAnew) {
  const std::string easy = config.data.train[0], hard = config.data.val[0];
  const auto change = [&](const std::string& data, std::int64_t tokens) {
    config.data.val = {data};
    config.eval.tokens = tokens;
  };
  using Change = std::function<void()>;
  for (const auto& [what, then] : std::vector<std::pair<std::string, Change>>{{"40 tokens of data", [&] { change(hard, 40); }},
                                                                              {"another shard", [&] { change(hard, 24); }},
                                                                              {"fewer", [&] { change(easy, 8); }}}) {
    SCOPED_TRACE(what);
    std::filesystem::remove_all(folder / "run");
    config.train.steps = 6;
    change(easy, 24);
    run();
    const Json before = summary_file();
    then();
    run(true);  // finished: nothing is measured, and its losses stay those of the sample they name
    EXPECT_EQ(summary_file(), before);

    config.train.steps = 9;
    run(true, {"train.steps"});
    EXPECT_NE(said.find("another validation sample than before: " + std::to_string(config.eval.tokens) + " tokens of data "),
              std::string::npos)
        << said;
    const Json after = summary_file();
    EXPECT_EQ(after["val_tokens"], config.eval.tokens);
    EXPECT_EQ(after["val_fingerprint"] == before["val_fingerprint"], config.data.val[0] == easy);
    EXPECT_EQ(after["val_loss"], metrics().back()["val_loss"]);
    EXPECT_EQ(after["first_val_loss"], after["val_loss"]) << "of the one validation there was";
    EXPECT_EQ(after["best_val_loss"], after["val_loss"]);
    if (config.data.val[0] == hard) {
      EXPECT_LT(before["best_val_loss"].get<double>(), after["val_loss"].get<double>()) << "or mixing them would not show";
    }
    EXPECT_EQ(metrics()[6]["val_tokens"], 24);
    EXPECT_EQ(metrics().back()["val_tokens"], config.eval.tokens);

    config.train.steps = 12;
    run(true, {"train.steps"});
    EXPECT_EQ(said.find("another validation sample"), std::string::npos) << said;
    EXPECT_EQ(summary_file()["first_val_loss"], after["val_loss"]);
  }
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

/// One of two ranks, the other of which says the same, that spoils what the ranks add up: each number is that of an update, from
/// 1, counted on through what is done again.
class Spoilt : public TrainerTest {
 protected:
  void spoil(const std::string& what, std::vector<int> updates, float value = std::numeric_limits<float>::quiet_NaN()) {
    auto scripted = std::make_unique<ScriptedRanks>(
        [](const std::string& mine) {
          return std::vector<std::string>{mine, mine};
        },
        0, 2);
    scripted->on_all_reduce = [=, this, update = 1](TensorView values, const std::string& said_of) mutable {
      const bool now = std::find(updates.begin(), updates.end(), update) != updates.end();
      if (now && said_of == what) ops->copy_to_device(values.data, &value, sizeof value);
      if (said_of == "the loss") ++update;  // the last of an update
    };
    ranks = std::move(scripted);
  }
  std::string saved(int step, const char* name) const {
    return read_file(folder / "run/checkpoints" / ("step-" + std::string(step < 10 ? "0000000" : "000000") + std::to_string(step)) /
                     name);
  }
};

INSTANTIATE_TEST_SUITE_P(Backends, Spoilt, testing::Values("cpu", "emulated"),
                         [](const auto& instance) { return std::string(instance.param); });

TEST_P(Spoilt, ARunStopsUnlessItIsToldOtherwise) {
  spoil("gradients", {5});
  expect_error(ExitCode::numeric, {"step 5: ", "not finite", "the last checkpoint is", "step-00000004", "train.on_nonfinite"},
               [&] { run(); });
  EXPECT_EQ(steps(false), (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST_P(Spoilt, ASkippedStepChangesNothing) {
  config.train.on_nonfinite = OnNonfinite::skip;
  config.checkpoint.every = 1;
  config.checkpoint.keep = 9;
  config.diagnostics.every = 5;
  for (const std::string what : {"the loss", "gradients"}) {
    SCOPED_TRACE(what);
    std::filesystem::remove_all(folder / "run");
    spoil(what, {5});
    EXPECT_EQ(run().steps, 6);
    EXPECT_NE(said.find("warning: step 5: loss "), std::string::npos) << said;
    for (const char* name : {"model.safetensors", "optimizer.safetensors"}) {
      EXPECT_EQ(saved(4, name), saved(5, name));
      EXPECT_NE(saved(5, name), saved(6, name));
    }
    const std::vector<Json> lines = metrics();
    ASSERT_EQ(lines.size(), 7u);
    EXPECT_EQ(lines[5]["loss"].is_null(), what == "the loss");
    EXPECT_EQ(lines[5]["grad_norm"].is_null(), what == "gradients");
    EXPECT_FALSE(lines[4].contains("incidents"));
    EXPECT_EQ(lines[5]["incidents"], 1);
    EXPECT_EQ(lines[6]["incidents"], 1);
  }
}

TEST_P(Spoilt, OnlySoManyStepsAreSkipped) {
  config.train.on_nonfinite = OnNonfinite::skip;
  config.train.nonfinite_limit = 2;
  spoil("the loss", {2, 4});
  EXPECT_EQ(run().steps, 6);
  std::filesystem::remove_all(folder / "run");
  spoil("the loss", {2, 4, 5});
  expect_error(ExitCode::numeric, {"step 5: ", "2 steps were skipped", "train.nonfinite_limit is 2", "step-00000004"},
               [&] { run(); });
}

TEST_P(Spoilt, ARollbackGoesOnBehindTheBadBatch) {
  config.train.steps = 9;
  config.train.on_nonfinite = OnNonfinite::rollback;
  config.checkpoint.keep = 9;
  config.data.shuffle = true;
  spoil("the loss", {5});
  EXPECT_EQ(run().steps, 9);
  EXPECT_NE(said.find("back at step 4 of 9"), std::string::npos) << said;
  const std::string after = saved(9, "optimizer.safetensors"), weights = saved(9, "model.safetensors");
  EXPECT_EQ(steps(false), (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_FALSE(metrics()[4].contains("incidents"));
  for (const int step : {5, 9}) EXPECT_EQ(metrics()[static_cast<std::size_t>(step)]["incidents"], 1);
  EXPECT_EQ(metrics()[5]["tokens"], 6 * 32) << "the bad batch counts too";

  // The same as a run that never had the bad batch.
  std::filesystem::remove_all(folder / "run");
  spoil("the loss", {});
  run();
  for (const int step : {6, 8, 9})
    std::filesystem::remove_all(folder / "run/checkpoints" / ("step-0000000" + std::to_string(step)));
  const std::filesystem::path state = folder / "run/checkpoints/step-00000004/trainer.json";
  Json json = Json::parse(read_file(state));
  json.erase("hash");
  json["next_window"] = json["next_window"].get<int>() + 4;
  json["hash"] = hash_bytes(json.dump());
  std::ofstream(state) << json.dump(2);
  run(true);
  EXPECT_EQ(saved(9, "optimizer.safetensors"), after);
  EXPECT_EQ(saved(9, "model.safetensors"), weights);
}

TEST_P(Spoilt, WithoutACheckpointThereIsNoWayBack) {
  config.train.on_nonfinite = OnNonfinite::rollback;
  config.checkpoint.every = 0;
  spoil("the loss", {5});
  expect_error(ExitCode::numeric, {"no checkpoint was saved yet"}, [&] { run(); });
}

TEST_P(Spoilt, SpikesAreToldAndAResumedRunJudgesAsTheStraightOne) {
  if (GetParam() != std::string("cpu"))
    GTEST_SKIP() << "spikes and the resume among them: 80 steps twice take too long on the emulated GPU; the CPU runs them";
  config.train.steps = 80;
  config.checkpoint.every = 30;
  config.checkpoint.keep = 9;
  config.eval.every = 0;
  spoil("the loss", {75}, 50.0f);
  run();
  EXPECT_NE(said.find("warning: step 75: loss 50.0000, "), std::string::npos) << said;
  const auto state = [&] { return Json::parse(saved(80, "trainer.json"))["recent_losses"]; };
  const std::vector<Json> lines = metrics();
  const Json window = state();
  EXPECT_EQ(window["losses"].size(), 79u);
  for (const Json& line : lines) EXPECT_EQ(line.contains("spike"), line["step"] == 75);

  std::filesystem::remove_all(folder / "run/checkpoints/step-00000080");
  spoil("the loss", {15}, 50.0f);  // from 60
  run(true);
  EXPECT_EQ(state(), window);
  EXPECT_EQ(metrics()[75]["spike"], lines[75]["spike"]);

  std::filesystem::remove_all(folder / "run");
  config.train.on_spike = OnSpike::rollback;
  spoil("the loss", {75}, 50.0f);
  run();
  EXPECT_NE(said.find("back at step 60 of 80"), std::string::npos) << said;
  EXPECT_EQ(metrics().back()["incidents"], 1);
  EXPECT_EQ(metrics().size(), 81u);
}

// A disk's cleaner, or somebody who tokenizes again: the run ends saved, names the shard, and goes on to the same bits when it is
// back.
TEST_P(TrainerTest, LostDataEndsARunThatIsSaved) {
  config.train.steps = 9;
  config.data.shuffle = true;
  run();
  const std::string last = "run/checkpoints/step-00000009/optimizer.safetensors";
  const std::string whole = read_file(folder / last);
  const std::vector<Json> lines = metrics();
  for (const std::string& lost : {config.data.train[0], config.data.val[0]}) {
    std::filesystem::remove_all(folder / "run");
    const std::string good = read_file(lost);
    auto scripted = std::make_unique<ScriptedRanks>([](const std::string& mine) { return std::vector<std::string>{mine}; }, 0, 1);
    scripted->on_check = [&, steps = 0]() mutable {
      if (++steps == 2) std::filesystem::resize_file(lost, 1100);
    };
    ranks = std::move(scripted);
    expect_error(ExitCode::data, {lost, "Saved", "checkpoints/step-0000000", "--resume"}, [&] { run(); });
    EXPECT_FALSE(std::filesystem::exists(folder / "run/summary.json"));

    std::ofstream(lost, std::ios::binary) << good;
    ranks = make_self_communicator();
    EXPECT_EQ(run(true).steps, 9);
    EXPECT_EQ(read_file(folder / last), whole) << lost;
    const std::vector<Json> resumed = metrics();
    ASSERT_EQ(resumed.size(), lines.size()) << lost;
    for (std::size_t i = 0; i < lines.size(); ++i)
      for (const char* key : {"step", "tokens", "loss", "val_loss", "learning_rate", "grad_norm"})
        EXPECT_EQ(resumed[i].value(key, Json()), lines[i].value(key, Json())) << i << " " << key << lost;
  }
}

TEST_P(TrainerTest, TokenizersThatAreKnownAreCompared) {
  const auto record = [&](const std::string& name, Split split, const std::string& shard, const std::string& tokenizer) {
    const std::filesystem::path path = shard_path(folder.path(), name, split, 0);
    std::filesystem::copy_file(shard, path, std::filesystem::copy_options::overwrite_existing);
    Sidecar sidecar;
    sidecar.tokenizer_hash = tokenizer;
    sidecar.split(split) = {400, 1, 1000, {describe_shard(path)}};
    write_sidecar(sidecar_path(folder.path(), name), sidecar);
    return path.string();
  };
  const std::string train_shard = config.data.train[0], val_shard = config.data.val[0];
  config.data.train = {record("a", Split::train, train_shard, "aaaa"), train_shard};  // one of which says nothing
  config.data.val = {record("b", Split::validation, val_shard, "bbbb")};
  expect_error(ExitCode::data, {"data.train", "a.json", "aaaa", "data.val", "b.json", "bbbb"}, [&] { run(); });
  std::filesystem::remove_all(folder / "run");

  config.data.val = {val_shard};
  run();
  EXPECT_NE(said.find("data.train: 1 of 2 shards have no record of their tokenizer"), std::string::npos) << said;
  const std::filesystem::path saved = folder / "run/checkpoints/step-00000006";
  EXPECT_EQ(tokenizer_of_model(saved), "aaaa") << "known from the shards, without data.tokenizer";

  std::filesystem::rename(folder / "run", folder / "earlier");
  config.train.init_from = folder / "earlier/checkpoints/step-00000006";
  config.data.train = {record("a", Split::train, train_shard, "cccc"), train_shard};
  expect_error(ExitCode::data, {"the model to start from", "aaaa", "data.train", "cccc"}, [&] { run(); });
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

struct IdleCase {
  std::int64_t ranks, tokens_per_step, micro_batch, growing_steps, start_tokens;
  const char* told;  // all of it
};

TEST(IdleRanks, AreToldWithTheMicroBatchThatWouldDo) {
  const IdleCase cases[] = {
      {16, 524288, 64, 0, 0,
       "8 of 16 ranks have nothing to compute in each step, which has 8 micro-batches; batch.micro_batch=32 gives each rank 1"},
      {16, 524288, 32, 0, 0, ""},
      {8, 524288, 64, 0, 0, ""},
      {1, 524288, 64, 0, 0, ""},
      {2, 524288, 512, 0, 0,
       "1 of 2 ranks has nothing to compute in each step, which has 1 micro-batches; batch.micro_batch=256 gives each rank 1"},
      {16, 24 * 65536, 64, 0, 0,
       "8 of 16 ranks have nothing to compute in the last of 2 rounds of each step, which has 24 micro-batches; "
       "batch.micro_batch=48 gives each rank 2"},
      {3, 524288, 64, 0, 0,
       "1 of 3 ranks has nothing to compute in the last of 3 rounds of each step, which has 8 micro-batches; no batch.micro_batch "
       "shares it evenly: let batch.tokens_per_step be a multiple of ranks x model.n_ctx = 3072, or take other ranks"},
      {1024, 524288, 64, 0, 0,
       "1016 of 1024 ranks have nothing to compute in each step, which has 8 micro-batches; no batch.micro_batch shares it evenly: "
       "let batch.tokens_per_step be a multiple of ranks x model.n_ctx = 1048576, or take other ranks"},
      {8, 524288, 64, 100, 131072,  // 2 micro-batches, and one more every 16.7 steps
       "6 of 8 ranks have nothing to compute in the first step, and some in the first 92, while the batch grows; "
       "batch.micro_batch=16 gives each rank one from the beginning"},
      {8, 524288, 64, 100, 4096,
       "7 of 8 ranks have nothing to compute in the first step, and some in the first 94, while the batch grows; "
       "schedule.batch_start_tokens=524288 is enough for all"},
      {8, 524288, 16, 100, 131072, ""},
  };
  for (const IdleCase& one : cases) {
    RunConfig config;
    config.train.steps = 1000;
    config.batch.tokens_per_step = one.tokens_per_step;
    config.batch.micro_batch = one.micro_batch;
    config.schedule.batch_warmup_steps = one.growing_steps;
    config.schedule.batch_start_tokens = one.start_tokens;
    EXPECT_EQ(idle_ranks(config, one.ranks), one.told) << one.ranks << " ranks, micro-batches of " << one.micro_batch;
  }
}

/// "--nodes=2 ..." of the lines that Slurm reads.
std::int64_t slurm_option(const std::string& script, const std::string& name) {
  return std::stoll(script.substr(script.find("#SBATCH --" + name + "=") + 11 + name.size()));
}

// The scripts that ship have work for each of their ranks.
TEST(IdleRanks, ThereAreNoneInTheBatchScripts) {
  const std::filesystem::path source = TEMPER_SOURCE_DIR;
  for (const char* name : {"train_gpus.sbatch", "train_cpus.sbatch"}) {
    const std::string script = read_file(source / "scripts/slurm" / name);
    const auto word_after = [&](const std::string& key) {
      const std::size_t begin = script.find(key) + key.size();
      return script.substr(begin, script.find_first_of(" \n", begin) - begin);
    };
    const std::int64_t ranks = slurm_option(script, "nodes") * slurm_option(script, "ntasks-per-node");
    const std::string config = word_after("\nconfig="), micro_batch = word_after(" batch.micro_batch=");
    EXPECT_GE(ranks, 4) << name;
    EXPECT_EQ(idle_ranks(load_config(source / config, {"batch.micro_batch=" + micro_batch}), ranks), "") << name;
  }
}

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
  const auto mebibytes = [&](const std::string& row) { return std::stod(text.substr(text.find(row) + row.size())); };
  std::size_t bytes = 0;
  for (const MemoryGroup& group : plan.engine.memory.plan()) bytes += group.bytes;
  // Each is rounded to a tenth.
  EXPECT_NEAR(mebibytes("\n  total ") - mebibytes("  the program itself "), static_cast<double>(bytes) / 1048576.0, 0.11) << text;
  EXPECT_GT(mebibytes("  the program itself "), 10.0);
}

}  // namespace
}  // namespace temper
