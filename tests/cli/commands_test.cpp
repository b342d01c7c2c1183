// What the command line accepts, without starting a process.
#include "cli/commands.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

#include "kernels/cpu/isa.h"
#include "tests/train/tiny_run.h"
#include "train/checkpoint.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

TEST(Options, DeviceAndPrecision) {
  EXPECT_EQ(parse_device("auto"), DeviceChoice::automatic);
  EXPECT_EQ(parse_device("cpu"), DeviceChoice::cpu);
  EXPECT_EQ(parse_device("cuda"), DeviceChoice::cuda);
  EXPECT_EQ(parse_precision("fp32"), Precision::fp32);
  EXPECT_EQ(parse_precision("bf16"), Precision::bf16);
  expect_error(ExitCode::usage, {"--device gpu", "auto, cpu or cuda"}, [] { parse_device("gpu"); });
  expect_error(ExitCode::usage, {"--precision fp16", "fp32, bf16 or tf32"}, [] { parse_precision("fp16"); });
}

TEST(Options, Bf16SaysWhereItBringsNoSpeed) {
  const auto said = [] {
    testing::internal::CaptureStderr();
    EXPECT_EQ(open_device(DeviceChoice::cpu, Precision::bf16, DeviceUse::training)->device().backend, "cpu");
    return testing::internal::GetCapturedStderr();
  };
  const cpu::Isa best = cpu::current_isa();
  EXPECT_EQ(said().empty(), best >= cpu::Isa::avx512);
  cpu::set_isa(std::min(best, cpu::Isa::avx2));
  const std::string note = said();
  EXPECT_NE(note.find("no faster than with precision=fp32"), std::string::npos) << note;
  cpu::set_isa(best);
}

class TrainCommandTest : public testing::Test {
 protected:
  TrainCommandTest() { std::ofstream(folder / "config.json") << config_to_json(tiny_config()); }

  /// Standard output of `temper train config.json --dry-run ...`.
  std::string dry_run(std::vector<std::string> arguments) {
    CLI::App app("", "temper");
    ExitCode exit_code = ExitCode::ok;
    add_train_command(app, exit_code);
    arguments.insert(arguments.begin(), {"train", folder / "config.json", "--dry-run"});
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
    testing::internal::CaptureStdout();
    try {
      app.parse(arguments);
    } catch (...) {
      testing::internal::GetCapturedStdout();
      throw;
    }
    return testing::internal::GetCapturedStdout();
  }

  TemporaryFolder folder;
};

TEST_F(TrainCommandTest, DryRunPrintsThePlanAndReadsNoData) {
  const std::string plan = dry_run({});
  for (const char* part : {"1 layers, 2 heads, 16 wide", "memory", "packed weights", "total", "checkpoint"})
    EXPECT_NE(plan.find(part), std::string::npos) << part << " in\n" << plan;
}

TEST_F(TrainCommandTest, OverridesReachThePlan) {
  EXPECT_NE(dry_run({"model.n_layer=3", "model.n_embd=32"}).find("3 layers, 2 heads, 32 wide"), std::string::npos);
  expect_error(ExitCode::usage, {"model.n_layers"}, [&] { dry_run({"model.n_layers=3"}); });
}

TEST_F(TrainCommandTest, AllowChangeTakesOneFieldEachTime) {
  EXPECT_NO_THROW(dry_run({"--allow-change", "train.steps", "--allow-change", "optimizer.learning_rate"}));
  EXPECT_NE(dry_run({"--allow-change", "train.steps", "model.n_layer=3"}).find("3 layers"), std::string::npos)
      << "what follows the field is an override again";
}

TEST_F(TrainCommandTest, StepsToProfileAreTwoOfTheRunsAndNeedAGpu) {
  for (const char* steps : {"0:3", "4:3", "5:7", "3", ":3", "3:", "a:3", "1:2x", "-1:2", "1:2:3", "99999999999999999999:3"})
    expect_error(ExitCode::usage, {std::string("--profile-steps ") + steps, "1 <= A <= B <= 6"},
                 [&] { dry_run({std::string("--profile-steps=") + steps}); });
  expect_error(ExitCode::usage, {"--profile-steps 5:7", "needs device=cuda", "device cpu", "perf record"}, [&] {
    dry_run({"--profile-steps", "5:7", "train.steps=7"});
  });
}

class OpenModelTest : public testing::Test {
 protected:
  OpenModelTest() : tiny(tiny_config()) {
    TrainerState state;
    state.config_json = config_to_json(tiny_config());
    CheckpointFolder checkpoints(run() / "checkpoints", 5);
    for (const std::int64_t step : {1, 2}) {
      state.step = step;
      checkpoints.save(state, tiny.engine.weights, tiny.engine.optimizer, *tiny.ops, nullptr);
    }
  }
  fs::path run() const { return folder / "run"; }
  fs::path checkpoint(int step) const { return run() / "checkpoints" / ("step-0000000" + std::to_string(step)); }

  TemporaryFolder folder;
  TinyEngine tiny;
};

TEST_F(OpenModelTest, ARunsNewestCheckpointOrTheOneNamed) {
  EXPECT_EQ(find_model_folder(run()), checkpoint(2));
  EXPECT_EQ(find_model_folder(checkpoint(1)), checkpoint(1));
  DeviceMemory memory(tiny.ops.get());
  const Weights weights = open_weights(checkpoint(1), Precision::fp32, *tiny.ops, memory);
  EXPECT_EQ(weights.config().n_embd, 16);
  const Parameter& wte = *weights.layout().find("transformer.wte.weight");
  EXPECT_EQ(weights.download(wte), tiny.engine.weights.download(wte));
}

TEST_F(OpenModelTest, DamageIsFoundBeforeAnythingIsRead) {
  std::ofstream(checkpoint(2) / "model.safetensors", std::ios::app) << "x";
  expect_error(ExitCode::checkpoint, {"model.safetensors"}, [&] { find_model_folder(checkpoint(2)); });
  testing::internal::CaptureStderr();
  EXPECT_EQ(find_model_folder(run()), checkpoint(1));
  EXPECT_NE(testing::internal::GetCapturedStderr().find("step-00000002"), std::string::npos);
}

TEST_F(OpenModelTest, AFolderFromElsewhereNeedsNoState) {
  fs::remove(checkpoint(1) / "trainer.json");
  EXPECT_EQ(find_model_folder(checkpoint(1)), checkpoint(1));
  expect_error(ExitCode::checkpoint, {"no model here"}, [&] { find_model_folder(folder.path()); });
  expect_error(ExitCode::checkpoint, {"no model here"}, [&] { find_model_folder(folder / "nothing"); });
}

TEST_F(OpenModelTest, TheTokenizerMustFitTheModel) {
  const ModelConfig model = tiny_config().model;
  Tokenizer::train("the cat sat on the mat, the cat sat", tiny_vocab, {}).save(folder / "fits", 0);
  Tokenizer::train("the cat sat on the mat, the cat sat", tiny_vocab + 1, {}).save(folder / "large", 0);
  EXPECT_EQ(open_tokenizer(folder / "fits", checkpoint(1), model).vocab_size(), tiny_vocab);
  EXPECT_EQ(open_tokenizer("", folder / "fits", model).vocab_size(), tiny_vocab);
  expect_error(ExitCode::data, {"261 tokens", "260", "--tokenizer"},
               [&] { open_tokenizer(folder / "large", checkpoint(1), model); });
}

}  // namespace
}  // namespace temper
