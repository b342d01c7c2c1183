// What the command line accepts, without starting a process.
#include "cli/commands.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

#include "kernels/check.h"
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

TEST_F(TrainCommandTest, PlansForAGpuThatIsNotHere) {
  const std::string plan = dry_run({"--gpu", "h100-80", "--ranks", "2", "--tokens-per-second", "4", "batch.micro_batch=auto"});
  for (const char* part :
       {"NVIDIA H100 80GB", "compute capability 9.0", "2 ranks, as planned", "2 micro-batches of 2 x 8", "rounds      1 a step",
        "into 79.10 GiB; batch.micro_batch 2 is the largest", "time        0.0133 hours at 4"})
    EXPECT_NE(plan.find(part), std::string::npos) << part << " in\n" << plan;
  EXPECT_EQ(plan.find("the program itself"), std::string::npos) << "it takes no memory of the GPU";
  EXPECT_NE(dry_run({"--gpu", "4090", "model.n_embd=49152", "model.n_head=384"}).find("NOT into 23.60 GiB; not even one"),
            std::string::npos);
  EXPECT_THROW(dry_run({"--gpu", "h100"}), Unsupported);
  EXPECT_THROW(dry_run({"--ranks", "0"}), CLI::ParseError);
}

TEST_F(TrainCommandTest, AMicroBatchMayBeLeftToThePlan) {
  EXPECT_NE(dry_run({"batch.micro_batch=auto"}).find("1 micro-batches of 4 x 8"), std::string::npos);
  EXPECT_NE(dry_run({"batch.micro_batch=\"auto\""}).find("1 micro-batches of 4 x 8"), std::string::npos);
  expect_error(ExitCode::usage, {"batch.micro_batch is \"most\"", "or \"auto\""}, [&] { dry_run({"batch.micro_batch=most"}); });
  expect_error(ExitCode::usage, {"batch.tokens_per_step is 33", "not a multiple of model.n_ctx = 8"}, [&] {
    dry_run({"batch.micro_batch=auto", "batch.tokens_per_step=33"});
  });
  // A run that goes on has what it began with.
  std::filesystem::create_directories(folder / "run");
  RunConfig begun = tiny_config();
  begun.batch.micro_batch = 1;
  std::ofstream(folder / "run/config.json") << config_to_json(begun);
  EXPECT_NE(dry_run({"batch.micro_batch=auto", "--resume", "--out", folder / "run"}).find("4 micro-batches of 1 x 8"),
            std::string::npos);
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
    CheckpointFolder checkpoints(run() / "checkpoints", {});
    for (const std::int64_t step : {1, 2}) {
      state.step = step;
      checkpoints.save(state, {tiny.engine.weights, tiny.engine.optimizer, *tiny.ops, nullptr});
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
