// Signals that ask a run to stop.
#include "train/signals.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <utility>

#include "io/error.h"
#include "io/file.h"
#include "tests/io/temporary_folder.h"

namespace temper {
namespace {

TEST(Signals, TheFirstOneIsRemembered) {
  for (const auto& [number, name] :
       {std::pair{SIGINT, "SIGINT"}, {SIGTERM, "SIGTERM"}, {SIGUSR1, "SIGUSR1"}, {SIGUSR2, "SIGUSR2"}, {SIGHUP, "SIGHUP"}}) {
    const StopSignals signals;  // forgets the one before
    EXPECT_FALSE(StopSignals::requested());
    EXPECT_STREQ(StopSignals::name(), "");
    std::raise(number);
    EXPECT_TRUE(StopSignals::requested()) << name;
    EXPECT_STREQ(StopSignals::name(), name);
  }
}

TEST(Signals, HandlersAreGivenBack) {
  struct sigaction ignored = {}, found = {};
  ignored.sa_handler = SIG_IGN;
  struct sigaction before = {};
  sigaction(SIGUSR2, &ignored, &before);
  {
    const StopSignals signals;
    sigaction(SIGUSR2, nullptr, &found);
    EXPECT_NE(found.sa_handler, SIG_IGN);
  }
  sigaction(SIGUSR2, nullptr, &found);
  EXPECT_EQ(found.sa_handler, SIG_IGN);
  sigaction(SIGUSR2, &before, nullptr);
}

TEST(Signals, WhatTheCallerIgnoresStaysIgnored) {
  for (const auto& [number, stays] : {std::pair{SIGHUP, true}, {SIGTERM, true}, {SIGINT, false}}) {
    struct sigaction ignored = {}, before = {};
    ignored.sa_handler = SIG_IGN;
    sigaction(number, &ignored, &before);
    {
      const StopSignals signals;
      std::raise(number);
      EXPECT_EQ(StopSignals::requested(), !stays) << number;
    }
    sigaction(number, &before, nullptr);
  }
}

TEST(SignalsDeathTest, TheSecondOneEndsTheProcess) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";  // OpenMP's threads may be there
  EXPECT_EXIT(
      {
        const StopSignals signals;
        std::raise(SIGTERM);
        std::raise(SIGINT);
      },
      testing::ExitedWithCode(128 + SIGINT), "");
}

TEST(SignalsDeathTest, AFileThatIsCutShortEndsTheProcessWithAWord) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        make_faults_errors();
        const TemporaryFolder folder;
        write_file_atomically(folder / "f", std::string(100'000, 'x'));
        const MappedFile file(folder / "f");
        std::filesystem::resize_file(folder / "f", 10);
        _exit(static_cast<int>(file.bytes()[90'000]));
      },
      testing::ExitedWithCode(static_cast<int>(ExitCode::io)), "cut short while it was read");
}

TEST(SignalsDeathTest, AClosedPipeIsNoDeath) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        make_faults_errors();
        std::raise(SIGPIPE);
        _exit(7);
      },
      testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace temper
