// Checkpoints written beside training: whole when they are said to be, one at a time, and no error gets lost.
#include "train/checkpoint_writer.h"

#include <limits>

#include "scripted_ranks.h"
#include "tiny_run.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

class CheckpointWriterTest : public testing::Test {
 protected:
  CheckpointWriterTest() : tiny(tiny_config(), 1) {}

  SavedParts parts() {
    return {.weights = tiny.engine.weights, .optimizer = tiny.engine.optimizer, .ops = *tiny.ops, .tokenizer = nullptr};
  }
  static TrainerState state(std::int64_t step) {
    TrainerState state;
    state.step = step;
    state.config_json = config_to_json(tiny_config());
    return state;
  }
  void save(CheckpointWriter& writer, std::int64_t step, bool goes_on = true) {
    writer.wait();
    writer.save(state(step), goes_on);
  }
  void spoil() {
    const float bad = std::numeric_limits<float>::quiet_NaN();
    tiny.ops->copy_to_device(tiny.engine.weights.master().data, &bad, sizeof bad);
  }
  std::vector<std::string> entries() const {
    std::vector<std::string> found;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder / "checkpoints"))
      found.push_back(entry.path().filename().string());
    std::sort(found.begin(), found.end());
    return found;
  }

  TemporaryFolder folder;
  TinyEngine tiny;
  std::unique_ptr<Communicator> ranks = make_self_communicator();
  Progress progress{10, 1, true};
};

TEST_F(CheckpointWriterTest, WhatIsSaidToBeSavedIsWhole) {
  testing::internal::CaptureStderr();
  {
    CheckpointWriter writer(folder.path(), {}, parts(), *ranks, progress, nullptr);
    EXPECT_TRUE(writer.last().empty());
    EXPECT_EQ(writer.standing(), "no checkpoint was saved yet");
    save(writer, 3);
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << "nothing is said before somebody looks whether it was written";
    testing::internal::CaptureStderr();
    EXPECT_EQ(writer.standing(), "the last checkpoint is " + (folder / "checkpoints/step-00000003").string());
    EXPECT_EQ(verify_checkpoint(writer.last()).step, 3);
    EXPECT_TRUE(fs::exists(folder / "has_checkpoints"));
    save(writer, 4);
    save(writer, 5);
    EXPECT_EQ(verify_checkpoint(folder / "checkpoints/step-00000004").step, 4) << "one at a time: it was waited for";
  }  // which waits, too
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(entries(), (std::vector<std::string>{"step-00000004", "step-00000005"}));
  for (const char* step : {"step-00000003", "step-00000004", "step-00000005"}) {
    const std::string line = std::string("saved ") + (folder / "checkpoints" / step).string() + " (";
    EXPECT_EQ(said.find(line), said.rfind(line)) << said;
    EXPECT_NE(said.find(line), std::string::npos) << said;
  }
  EXPECT_NE(said.find("training waited "), std::string::npos) << said;
}

TEST_F(CheckpointWriterTest, SavingTwoWithoutWaitingIsAMistake) {
  CheckpointWriter writer(folder.path(), {}, parts(), *ranks, progress, nullptr);
  testing::internal::CaptureStderr();
  save(writer, 1);
  EXPECT_THROW(writer.save(state(2), true), ContractViolation);
  writer.settle();
  testing::internal::GetCapturedStderr();
}

TEST_F(CheckpointWriterTest, AnErrorIsThrownByWhateverComesNext) {
  const std::vector<std::function<void(CheckpointWriter&)>> next = {[](CheckpointWriter& writer) { writer.wait(); },
                                                                    [](CheckpointWriter& writer) { writer.settle(); },
                                                                    [](CheckpointWriter& writer) { writer.standing(); },
                                                                    [](CheckpointWriter& writer) {
                                                                      while (true) writer.poll(1);
                                                                    }};
  spoil();
  for (const bool goes_on : {true, false}) {
    for (const auto& look : next) {
      CheckpointWriter writer(folder.path(), {}, parts(), *ranks, progress, nullptr);
      save(writer, 1, goes_on);
      expect_error(ExitCode::numeric, {"saving a checkpoint failed", "transformer.wte.weight", "Earlier checkpoints are intact"},
                   [&] { look(writer); });
      EXPECT_TRUE(entries().empty());
      EXPECT_FALSE(fs::exists(folder / "has_checkpoints"));
    }
  }
  testing::internal::CaptureStderr();
  {
    CheckpointWriter writer(folder.path(), {}, parts(), *ranks, progress, nullptr);
    save(writer, 1);
  }
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("warning: saving a checkpoint failed"), std::string::npos) << "nobody asked, yet it is told: " << said;
}

TEST_F(CheckpointWriterTest, LinesHaveTheTimesOnce) {
  CheckpointWriter writer(folder.path(), {}, parts(), *ranks, progress, nullptr);
  testing::internal::CaptureStderr();
  save(writer, 1);
  save(writer, 2);
  StepRecord line, next, last;
  writer.take_times(line);
  writer.settle();
  writer.take_times(next);
  writer.take_times(last);
  testing::internal::GetCapturedStderr();
  EXPECT_GT(line.checkpoint_pause.value(), 0.0);
  EXPECT_GT(line.checkpoint_seconds.value(), 0.0) << "of the first";
  EXPECT_FALSE(next.checkpoint_pause);
  const CheckpointBytes bytes = checkpoint_bytes(tiny.engine.weights, tiny.engine.optimizer, false);
  EXPECT_DOUBLE_EQ(next.checkpoint_gib_per_second.value() * next.checkpoint_seconds.value() * 1024 * 1024 * 1024,
                   static_cast<double>(bytes.tensors()));
  EXPECT_FALSE(last.checkpoint_seconds);
}

TEST_F(CheckpointWriterTest, WithoutMemoryForACopyTrainingWaits) {
  const std::string note = "note: training waits while checkpoints are written";
  testing::internal::CaptureStderr();
  {
    CheckpointWriter writer(
        folder.path(), {}, parts(), *ranks, progress, nullptr, +[] { return std::size_t{1}; });
    writer.wait();
    writer.save(state(3), true);
    EXPECT_EQ(verify_checkpoint(writer.last()).step, 3) << "it is written before training goes on, not beside it";
    save(writer, 4);
  }
  const std::string without = testing::internal::GetCapturedStderr();
  EXPECT_NE(without.find(note), std::string::npos) << without;
  EXPECT_EQ(without.find(note), without.rfind(note)) << "said once: " << without;
  EXPECT_NE(without.find("saved " + (folder / "checkpoints/step-00000003").string()), std::string::npos) << without;
  EXPECT_EQ(entries(), (std::vector<std::string>{"step-00000003", "step-00000004"}));
  EXPECT_EQ(verify_checkpoint(folder / "checkpoints/step-00000004").step, 4);

  testing::internal::CaptureStderr();
  {
    CheckpointWriter writer(folder.path(), {}, parts(), *ranks, progress, nullptr);
    save(writer, 5);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr().find(note), std::string::npos) << "where there is memory nothing is said";
}

TEST_F(CheckpointWriterTest, OtherRanksWriteNothing) {
  ScriptedRanks other([](const std::string& mine) { return std::vector<std::string>{mine}; });
  CheckpointWriter writer(folder.path(), {}, parts(), other, progress, nullptr);
  for (const bool goes_on : {true, false}) save(writer, 7, goes_on);
  writer.settle();
  EXPECT_EQ(writer.last(), folder / "checkpoints/step-00000007");
  EXPECT_TRUE(entries().empty());
}

}  // namespace
}  // namespace temper
