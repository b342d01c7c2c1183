// What a user's command is told of a run, when, and what becomes of it.
#include "train/hook.h"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "io/file.h"
#include "tests/io/temporary_folder.h"

namespace temper {
namespace {

constexpr const char* writes_down =
    R"(echo "$TEMPER_EVENT $TEMPER_STEP [${TEMPER_CHECKPOINT##*/}] [$TEMPER_EXIT_CODE]" >> "$TEMPER_RUN_DIR/events")";

class HookTest : public testing::Test {
 protected:
  std::string events() const { return std::filesystem::exists(folder / "events") ? read_file(folder / "events") : ""; }
  /// What is said on stderr.
  static std::string said(const std::function<void()>& action) {
    testing::internal::CaptureStderr();
    action();
    return testing::internal::GetCapturedStderr();
  }

  TemporaryFolder folder;
};

TEST_F(HookTest, IsToldOfEachEvent) {
  Hook hook(writes_down, {"PATH=/usr/bin:/bin", "TEMPER_STEP=of another run"});
  const std::string warnings = said([&] {
    hook.begin(folder.path());
    hook.poll(3);
    hook.checkpoint(3, folder / "step-00000003");
    hook.poll(5);
    hook.finish("failure", ExitCode::numeric);
  });
  EXPECT_EQ(events(), "checkpoint 3 [step-00000003] []\nfailure 5 [step-00000003] [6]\n");
  EXPECT_EQ(warnings, "");
}

TEST_F(HookTest, IsToldOfNothingBeforeThereIsARun) {
  Hook hook(writes_down, {});
  hook.finish("failure", ExitCode::data);
  EXPECT_EQ(events(), "");
}

TEST_F(HookTest, RunsOnceAtATimeAndForTheNewest) {
  Hook hook(std::string(R"(while [ ! -e "$TEMPER_RUN_DIR/go" ]; do sleep 0.01; done; )") + writes_down, {"PATH=/usr/bin:/bin"});
  hook.begin(folder.path());
  const std::string warnings = said([&] {
    for (const int step : {1, 2, 3}) hook.checkpoint(step, folder / std::to_string(step));
  });
  EXPECT_NE(warnings.find("still runs for checkpoint at step 1, so it is not told of the checkpoint of step 2"), std::string::npos)
      << warnings;
  EXPECT_EQ(events(), "");
  std::ofstream(folder / "go");
  hook.finish("end", ExitCode::ok);
  EXPECT_EQ(events(), "checkpoint 1 [1] []\ncheckpoint 3 [3] []\nend 3 [3] [0]\n");
}

TEST_F(HookTest, WhatGoesWrongWithItIsAWarning) {
  Hook fails("echo no room; exit 3", {});
  const std::string warnings = said([&] {
    fails.begin(folder.path());
    fails.finish("end", ExitCode::ok);
  });
  EXPECT_NE(warnings.find("--hook, for end at step 0: ended with exit code 3"), std::string::npos) << warnings;
  EXPECT_EQ(read_file(folder / "hook.log"), "no room\n");

  std::filesystem::remove(folder / "hook.log");
  std::filesystem::create_symlink("/dev/null", folder / "hook.log");
  EXPECT_NE(said([&] { fails.finish("end", ExitCode::ok); }).find("hook.log"), std::string::npos) << "nothing goes through a link";
}

TEST_F(HookTest, IsNotWaitedForForEver) {
  Hook hook("sleep 100000", {"PATH=/usr/bin:/bin"});
  const std::string warnings = said([&] {
    hook.begin(folder.path());
    hook.checkpoint(1, folder / "1");
    hook.finish("end", ExitCode::ok, std::chrono::milliseconds(1));
  });
  EXPECT_NE(warnings.find("ended by signal 9"), std::string::npos) << warnings;
  EXPECT_NE(warnings.find("took too long and is not told of the end"), std::string::npos) << warnings;
}

}  // namespace
}  // namespace temper
