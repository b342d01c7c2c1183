// Whole runs in the process.
#include "data/shard_sidecar.h"
#include "scripted_ranks.h"
#include "train/start.h"
#include "trainer_support.h"

namespace temper {
namespace {

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

// Where it ends follows from its lines: the same after a resume, and on a device that has started the next steps already.
TEST_P(TrainerTest, AConditionEndsARunAtTheSameStepHoweverItGotThere) {
  config.train.steps = 9;
  const auto straight = [&] { return read_file(folder / "run/checkpoints/step-00000009/optimizer.safetensors"); };
  run();
  EXPECT_FALSE(summary_file().contains("stopped"));
  const std::string whole = straight();
  std::filesystem::remove_all(folder / "run");

  // The validation loss is of step 3, as a line after it no longer says.
  const auto holds = [](const auto& latest) { return latest.at("step") >= 4 && latest.contains("val_loss"); };
  stop_when = {"a condition", holds};
  for (const std::int64_t every : {0, 3}) {
    config.checkpoint.every = every;
    const TrainSummary summary = run();
    EXPECT_EQ(summary.stopped_at, 4) << every;
    EXPECT_FALSE(summary.interrupted);
    EXPECT_LE(summary.steps, 6);
    EXPECT_EQ(summary_file()["stopped"], Json::parse(R"({"step": 4, "when": "a condition"})")) << every;
    EXPECT_TRUE(std::filesystem::exists(summary.checkpoint)) << "it can go on";
    const std::vector<Json> lines = metrics();
    if (every == 0) {
      EXPECT_EQ(run(true).stopped_at, 4);
      EXPECT_EQ(metrics().size(), lines.size());
      std::filesystem::remove_all(folder / "run");
      continue;
    }
    std::filesystem::remove_all(summary.checkpoint);  // as one that was killed before it had saved
    const TrainSummary resumed = run(true);
    EXPECT_NE(said.find("step-00000003"), std::string::npos) << said;
    EXPECT_EQ(resumed.stopped_at, 4);
    ASSERT_EQ(metrics().size(), lines.size());
    EXPECT_EQ(metrics().back()["loss"], lines.back()["loss"]);
  }
  stop_when.reset();
  EXPECT_EQ(run(true).steps, 9);
  EXPECT_FALSE(summary_file().contains("stopped"));
  EXPECT_EQ(straight(), whole);
  stop_when = {"at the end", [](const auto& latest) { return latest.at("step") >= 9; }};
  std::filesystem::remove_all(folder / "run");
  EXPECT_EQ(run().stopped_at, std::nullopt);
  EXPECT_EQ(summary_file()["steps"], 9);
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

// The first tokens of the step's batch, as many as fit into a micro-batch: where those are the held-out ones, both forms agree.
TEST_P(TrainerTest, RepresentationsAreMeasuredOnTheBatchToo) {
  config.data.val = config.data.train;
  config.diagnostics.representation_every = 1;
  for (const std::int64_t micro_batch : {1, 2}) {
    config.batch.micro_batch = micro_batch;
    config.diagnostics.representation_sequences = micro_batch;
    std::filesystem::remove_all(folder / "run");
    run();
    std::ifstream file(folder / "run/diagnostics.jsonl");
    std::vector<Json> measured;
    for (std::string line; std::getline(file, line);) measured.push_back(Json::parse(line));
    ASSERT_GT(measured.size(), 1u);
    EXPECT_EQ(measured[0]["batch_representation_sequences"], micro_batch);
    for (const auto& [name, matrix] : measured[0]["representation"].items()) {
      EXPECT_EQ(matrix["batch_representation_change"], matrix["representation_change"]) << name;
      EXPECT_EQ(matrix["batch_step_representation_change"], matrix["step_representation_change"]) << name;
    }
    const Json& later = measured[1]["representation"]["h.0.attn.c_attn.weight.v"];
    EXPECT_NE(later["batch_representation_change"], later["representation_change"]);
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
    Json before = summary_file();
    then();
    run(true);  // finished: nothing is measured, and its losses stay those of the sample they name
    before["config_id"] = config_identity(config);  // as in config.json
    EXPECT_EQ(summary_file(), before);

    config.train.steps = 9;
    run(true, {"train.steps"});
    EXPECT_NE(said.find("another validation sample than before: " + std::to_string(config.eval.tokens) + " tokens of data "),
              std::string::npos)
        << said;
    const Json after = summary_file();
    EXPECT_EQ(after["val_tokens"], config.eval.tokens);
    EXPECT_EQ(after["val_fingerprint"] == before["val_fingerprint"], config.data.val[0] == easy);
    EXPECT_TRUE(after["inputs"]["data.val"].get<std::string>().starts_with(after["val_fingerprint"].get<std::string>()));
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

TEST_P(TrainerTest, ARunWithoutACheckpointBeginsAgainAsItWas) {
  std::filesystem::create_directories(folder / "run");
  std::ofstream(folder / "run/config.json") << config_to_json(config);
  config.seed = 5;
  expect_error(ExitCode::checkpoint, {"seed", "cannot change"}, [&] { run(true); });
  config.seed = tiny_config().seed;
  EXPECT_EQ(run(true).steps, 6);
}

TEST_P(TrainerTest, AMovedFolderIsNotWrittenTo) {
  auto scripted = std::make_unique<ScriptedRanks>([](const std::string& mine) { return std::vector<std::string>{mine}; }, 0, 1);
  scripted->on_check = [&, steps = 0]() mutable {
    if (++steps != 2) return;
    std::filesystem::rename(folder / "run", folder / "moved");
    std::filesystem::create_directories(folder / "run/checkpoints");
  };
  ranks = std::move(scripted);
  expect_error(ExitCode::io, {"was moved"}, [&] { run(); });
  EXPECT_TRUE(std::filesystem::is_empty(folder / "run/checkpoints"));
}

TEST_P(TrainerTest, ADamagedCheckpointIsNoModelToStartFrom) {
  run();
  std::filesystem::rename(folder / "run", folder / "earlier");
  const std::filesystem::path from = folder / "earlier/checkpoints/step-00000006";
  std::fstream(from / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary).seekp(-3, std::ios::end) << '!';
  config.train.init_from = from;
  expect_error(ExitCode::checkpoint, {"model.safetensors", "does not match its hash"}, [&] { run(); });
  std::filesystem::remove_all(folder / "run");
  config.train.init_from = folder / "absent";
  expect_error(ExitCode::checkpoint, {"train.init_from", "no folder"}, [&] { run(); });
}

TEST_P(TrainerTest, WeightsOfRanksAreComparedOnTheWay) {
  config.parallel.check_every = 2;
  ranks = std::make_unique<ScriptedRanks>(
      [](const std::string& mine) {
        const bool is_hash = mine.size() == 32 && mine.find_first_not_of("0123456789abcdef") == std::string::npos;
        return std::vector<std::string>{mine, is_hash ? std::string(32, '0') : mine};
      },
      0, 2);
  expect_error(ExitCode::distributed, {"after step 2", "rank 0", "rank 1"}, [&] { run(); });
}

TEST_P(TrainerTest, ASummaryTellsWhatTheRunRead) {
  run();
  const Json inputs = summary_file()["inputs"];
  EXPECT_EQ(inputs["data.train"], RunData(config).train.fingerprint());
  EXPECT_EQ(inputs["data.val"], RunData(config).val->fingerprint());
  EXPECT_EQ(inputs.size(), 2u);
  std::filesystem::rename(folder / "run", folder / "earlier");
  config.train.init_from = folder / "earlier/checkpoints/step-00000006";
  run();
  const std::string started_from = summary_file()["inputs"]["train.init_from"];
  std::filesystem::remove_all(folder / "earlier");
  std::filesystem::remove(folder / "run/summary.json");
  run(true);
  EXPECT_EQ(summary_file()["inputs"]["train.init_from"], started_from) << "a resumed run still knows";
}

TEST_P(TrainerTest, RunsWithoutValidationData) {
  config.data.val = {};
  const TrainSummary summary = run();
  EXPECT_FALSE(summary.val_loss);
  EXPECT_EQ(steps(false), (std::vector<int>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(summary_file()["val_loss"], nullptr);
}

}  // namespace
}  // namespace temper
