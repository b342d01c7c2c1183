// Sequences that grow (schedule.context_warmup_steps) in whole runs. Against PyTorch: trajectory_test.cpp.
#include "config/validate.h"
#include "model/hf_format.h"
#include "tests/model/small_model.h"
#include "trainer_support.h"

namespace temper {
namespace {

/// Two micro-batches of two windows a step.
class Curriculum : public TrainerTest {
 protected:
  Curriculum() {
    config.model.n_ctx = 32;
    config.batch = {.tokens_per_step = 128, .micro_batch = 2};
    config.data.shuffle = true;
    config.train.steps = 9;
    config.checkpoint = {.every = 1, .keep = 20};
    config.schedule.context_warmup_steps = 6;
    config.schedule.context_start = 8;
    validate(config);
  }

  static std::string name_of(std::size_t step) { return "step-0000000" + std::to_string(step); }
};
INSTANTIATE_TEST_SUITE_P(Backends, Curriculum, testing::Values("cpu", "emulated"), [](const auto& each) { return each.param; });

constexpr std::int64_t expected_lengths[] = {8, 8, 16, 16, 16, 16, 32, 32, 32};  // of 8, 12, 16, 20, 24, 28, 32

/// Of the windows' sequences of `length` tokens, each by itself, in nats per token.
double plain_loss(SmallModel& plain, const Batch& windows, std::int64_t length) {
  double sum = 0.0;
  const auto count = static_cast<std::int64_t>(windows.inputs.size()) / length;
  for (std::int64_t piece = 0; piece < count; ++piece) {
    const auto cut = [&](const Tokens& tokens) {
      return Tokens(tokens.begin() + piece * length, tokens.begin() + (piece + 1) * length);
    };
    sum += plain.mean_loss(cut(windows.inputs), cut(windows.targets), 1);
  }
  return sum / static_cast<double>(count);
}

TEST_P(Curriculum, EachLossIsThePlainModelsOnTheCutWindows) {
  run();
  const std::vector<Json> lines = metrics();
  ASSERT_EQ(lines.size(), 10u);
  const auto source = [&](const std::vector<std::string>& files, bool shuffle) {
    return BatchSource({.files = files, .n_ctx = 32, .vocab_size = tiny_vocab, .shuffle = shuffle, .seed = config.seed});
  };
  const BatchSource training = source(config.data.train, true), validation = source(config.data.val, false);
  SmallModel plain(config.model, Precision::fp32, 1);
  plain.weights.initialize(config.seed);
  Batch windows;
  for (std::size_t step = 0; step <= 9; ++step) {
    if (step > 0) load_hf_model(folder / "run/checkpoints" / name_of(step), plain.weights);
    EXPECT_EQ(lines[step]["tokens"], 128 * step);
    if (lines[step].contains("val_loss")) {
      validation.read(0, 3, windows);
      EXPECT_NEAR(lines[step]["val_loss"].get<double>(), plain_loss(plain, windows, 32), 1e-5) << step;
    }
    if (step == 9) continue;
    training.read(static_cast<std::int64_t>(4 * step), 4, windows);
    EXPECT_NEAR(lines[step + 1]["loss"].get<double>(), plain_loss(plain, windows, expected_lengths[step]), 1e-5) << step;
  }
}

TEST_P(Curriculum, AResumedRunEqualsAnUninterruptedOne) {
  config.diagnostics.every = 1;
  run();
  const auto left = [&] {
    std::vector<Json> all = metrics();
    for (Json& line : all)
      for (const char* timing : timing_fields) line.erase(timing);
    all.push_back(read_file(folder / "run/checkpoints" / name_of(9) / "optimizer.safetensors"));
    all.push_back(read_file(folder / "run/diagnostics.jsonl"));
    return all;
  };
  const std::vector<Json> whole = left();
  for (const std::size_t from : {4u, 2u, 1u}) {  // within a length, and where one begins
    for (std::size_t step = from + 1; step <= 9; ++step) std::filesystem::remove_all(folder / "run/checkpoints" / name_of(step));
    run(true);
    EXPECT_NE(said.find("at step " + std::to_string(from) + " of 9"), std::string::npos) << said;
    EXPECT_EQ(left(), whole) << "from step " << from;
  }
}

}  // namespace
}  // namespace temper
