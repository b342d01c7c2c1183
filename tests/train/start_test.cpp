// The folder of a run, and which changes a resumed run may bring.
#include "train/start.h"

#include "tiny_run.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

TrainerState state_of(const RunConfig& config) {
  TrainerState state;
  state.config_json = config_to_json(config);
  state.data_fingerprint = std::string(32, 'a');
  state.tokenizer_hash = std::string(32, 'b');
  return state;
}

const fs::path checkpoint = "runs/x/checkpoints/step-00000005";

void expect_resumable(const RunConfig& now, const std::vector<std::string>& allowed = {}) {
  EXPECT_NO_THROW(check_resumable(state_of(tiny_config()), state_of(now), allowed, checkpoint));
}

void expect_refused(const RunConfig& now, const std::vector<std::string>& says, const std::vector<std::string>& allowed = {}) {
  std::vector<std::string> parts = says;
  parts.push_back(checkpoint.string());
  expect_error(ExitCode::checkpoint, parts, [&] { check_resumable(state_of(tiny_config()), state_of(now), allowed, checkpoint); });
}

TEST(Resumable, TheSameConfigurationIs) { expect_resumable(tiny_config()); }

TEST(Resumable, FreeFieldsMayChange) {
  RunConfig now = tiny_config();
  now.name = "other";
  now.eval.every = 3;
  now.checkpoint.keep = 9;
  now.log.every = 7;
  now.data.train = {"moved.bin"};
  expect_resumable(now);
}

TEST(Resumable, TopologyMayChange) {
  RunConfig now = tiny_config();
  now.batch.micro_batch = 4;
  now.device = DeviceChoice::automatic;
  expect_resumable(now);
}

TEST(Resumable, TrajectoryMayChangeOnlyWhenAllowed) {
  RunConfig now = tiny_config();
  now.optimizer.learning_rate = 0.5;
  now.train.steps = 8;
  expect_refused(now, {"optimizer.learning_rate: 0.01 then, 0.5 now (--allow-change optimizer.learning_rate permits it)",
                       "train.steps: 6 then, 8 now (--allow-change train.steps permits it)"});
  expect_refused(now, {"train.steps: 6 then"}, {"optimizer.learning_rate"});
  expect_resumable(now, {"train.steps", "optimizer.learning_rate"});
  EXPECT_EQ(check_resumable(state_of(tiny_config()), state_of(now), {"train.steps", "optimizer.learning_rate"}, checkpoint),
            (std::vector<std::string>{"train.steps: 6 then, 8 now", "optimizer.learning_rate: 0.01 then, 0.5 now"}));
}

TEST(Resumable, ModelAndSeedMayNeverChange) {
  RunConfig now = tiny_config();
  now.seed = 5;
  expect_refused(now, {"seed: 1337 then, 5 now (cannot change)"}, {"seed"});
  now = tiny_config();
  now.model.n_layer = 2;
  expect_refused(now, {"model.n_layer: 1 then, 2 now (cannot change)"}, {"model.n_layer"});
}

TEST(Resumable, DataAndTokenizerMayNeverChange) {
  const TrainerState saved = state_of(tiny_config());
  TrainerState now = saved;
  now.data_fingerprint = std::string(32, 'c');
  now.tokenizer_hash = std::string(32, 'd');
  expect_error(ExitCode::checkpoint,
               {"the training data differs: fingerprint " + saved.data_fingerprint + " then, " + now.data_fingerprint + " now",
                "the tokenizer differs: hash " + saved.tokenizer_hash + " then, " + now.tokenizer_hash + " now"},
               [&] {
                 check_resumable(saved, now, {"data.train", "data.tokenizer"}, checkpoint);
               });
}

TEST(RunDirectory, ANewRunWantsANewFolder) {
  const TemporaryFolder folder;
  const fs::path run = folder / "deep/down";
  { const auto lock = open_run_directory(run, false); }
  EXPECT_TRUE(fs::is_directory(run));
  { const auto still_no_run = open_run_directory(run, false); }
  std::ofstream(run / "config.json") << "{}";
  expect_error(ExitCode::usage, {run.string(), "--resume", "--out"}, [&] { const auto taken = open_run_directory(run, false); });
  { const auto resumed = open_run_directory(run, true); }
  for (const char* name : {"metrics.jsonl", "sweep.json"}) {
    std::ofstream(folder / name) << "{}";
    expect_error(ExitCode::usage, {folder.path().string(), name == std::string("sweep.json") ? "a sweep" : name, "--out"},
                 [&] { const auto mixed = open_run_directory(folder.path(), false); });
    fs::remove(folder / name);
  }
}

TEST(RunDirectory, ResumingWantsARun) {
  const TemporaryFolder folder;
  expect_error(ExitCode::checkpoint, {"no run to resume", "--resume"},
               [&] { const auto none = open_run_directory(folder.path(), true); });
}

TEST(RunDirectory, StartingOverKeepsWhatWasThere) {
  const TemporaryFolder folder;
  for (const char* name : {"config.json", "metrics.jsonl", "metrics.jsonl.1"}) std::ofstream(folder / name) << name;
  fs::create_directory(folder / "checkpoints");
  { const auto lock = open_run_directory(folder.path(), false, true); }
  EXPECT_FALSE(fs::exists(folder / "config.json") || fs::exists(folder / "metrics.jsonl") || fs::exists(folder / "checkpoints"));
  EXPECT_EQ(read_file(folder / "metrics.jsonl.1"), "metrics.jsonl.1");
  EXPECT_EQ(read_file(folder / "metrics.jsonl.2"), "metrics.jsonl");
  EXPECT_EQ(read_file(folder / "config.json.2"), "config.json");
  EXPECT_TRUE(fs::is_directory(folder / "checkpoints.2"));
  { const auto nothing_there = open_run_directory(folder / "new", false, true); }
  std::ofstream(folder / "sweep.json") << "{}";
  expect_error(ExitCode::usage, {"a sweep", "--out"}, [&] { const auto mixed = open_run_directory(folder.path(), false, true); });
}

TEST(RunDirectory, WhatAKillLeftOfStartingOverIsFinished) {
  const TemporaryFolder folder;
  // The first run had not come to its metrics.jsonl; of the second, the moving was begun.
  for (const char* name : {"config.json.1", "config.json.2", "summary.json", "metrics.jsonl"}) std::ofstream(folder / name) << name;
  fs::create_directories(folder / "checkpoints.1");
  fs::create_directories(folder / "checkpoints");
  expect_error(ExitCode::checkpoint, {"--start-over"}, [&] { const auto none = open_run_directory(folder.path(), true); });
  expect_error(ExitCode::usage, {"--start-over"}, [&] { const auto mixed = open_run_directory(folder.path(), false); });
  { const auto lock = open_run_directory(folder.path(), false, true); }
  for (const char* name : {"summary.json.2", "checkpoints.2", "metrics.jsonl.2"}) EXPECT_TRUE(fs::exists(folder / name)) << name;
}

TEST(RunDirectory, OneRunAtATime) {
  const TemporaryFolder folder;
  const auto first = open_run_directory(folder.path(), false);
  expect_error(ExitCode::io, {folder.path().string()}, [&] { const auto second = open_run_directory(folder.path(), false); });
}

TEST(RunDirectory, AFileIsNoFolder) {
  const TemporaryFolder folder;
  std::ofstream(folder / "file") << "x";
  expect_error(ExitCode::io, {"cannot make the folder"},
               [&] { const auto under = open_run_directory(folder / "file/run", false); });
}

}  // namespace
}  // namespace temper
