// Rates out of a file: what is read, what is interpolated, and what is refused.
#include "optim/schedule_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "io/error.h"
#include "optim/schedule.h"
#include "tests/io/temporary_folder.h"

namespace temper {
namespace {

class ScheduleFile : public testing::Test {
 protected:
  std::string put(const std::string& text) {
    std::ofstream(folder / "rates") << text;
    return folder / "rates";
  }
  Schedule made(const std::string& text, std::int64_t total, const std::string& column = "learning_rate") {
    ScheduleConfig config;
    config.name = ScheduleName::file;
    config.file = put(text);
    config.file_column = column;
    return {config, total, 1};
  }
  void expect_refused(const std::string& text, const std::vector<std::string>& parts, std::int64_t total = 4) {
    try {
      made(text, total);
      ADD_FAILURE() << "accepted: " << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::data);
      for (const std::string& part : parts)
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << part << " in: " << error.what();
    }
  }
  TemporaryFolder folder;
};

// Step 1 is update 0, as in metrics.jsonl, whose step 0 is the untrained model.
TEST_F(ScheduleFile, ALogGivesTheRateOfEachUpdate) {
  const std::string log = R"({"step":0,"learning_rate":0.0,"val_loss":5.5})"
                          "\n"
                          R"({"step":1,"learning_rate":1e-3,"effective_rate":0.5})"
                          "\n"
                          R"({"step":2,"learning_rate":4e-3,"all":{"effective_rate":0.25}})"
                          "\n"
                          R"({"step":3,"learning_rate":null})"
                          "\n"
                          R"({"step":4,"learning_rate":2e-3,"all":{"effective_rate":0.0}})"
                          "\n";
  const Schedule schedule = made(log, 4);
  const double rates[] = {0.25, 1.0, 0.75, 0.5};  // over 4e-3; the third between its neighbours
  for (std::int64_t k = 0; k < 4; ++k) EXPECT_DOUBLE_EQ(schedule.multiplier(k), rates[k]) << k;
  EXPECT_DOUBLE_EQ(schedule.multiplier(9), 0.5) << "past the end";
  const Schedule effective = made(log, 4, "effective_rate");
  const double effective_rates[] = {1.0, 0.5, 0.25, 0.0};
  for (std::int64_t k = 0; k < 4; ++k) EXPECT_DOUBLE_EQ(effective.multiplier(k), effective_rates[k]) << k;
}

TEST_F(ScheduleFile, ATableMayHaveAHeaderAndGaps) {
  const Schedule schedule = made("step,rate\r\n1,0\r\n11,2\r\n21,1.5\r\n\r\n", 20);
  EXPECT_EQ(schedule.multiplier(0), 0.0);
  EXPECT_DOUBLE_EQ(schedule.multiplier(3), 0.3);
  EXPECT_DOUBLE_EQ(schedule.multiplier(10), 1.0);
  EXPECT_DOUBLE_EQ(schedule.multiplier(19), 0.75 + 0.025);
  // The peak is the file's, wherever it stands.
  EXPECT_DOUBLE_EQ(made("1,1\n2,1\n3,4\n4,8\n", 2).multiplier(0), 0.125);
}

TEST_F(ScheduleFile, AByteOrderMarkIsNoHeader) {
  for (const char* text : {"\xEF\xBB\xBF"
                           "1,3\r\n4,6\r\n",
                           "\xEF\xBB\xBF"
                           "step,rate\n1,3\n4,6\n",
                           "\xEF\xBB\xBF"
                           "{\"step\":1,\"learning_rate\":3}\n4,6\n"})
    EXPECT_DOUBLE_EQ(made(text, 4).multiplier(0), 0.5) << text;
}

TEST_F(ScheduleFile, WhatDoesNotHoldARunIsRefused) {
  expect_refused("", {"no line has a step from 1 and a rate (learning_rate)"});
  expect_refused("{\"step\":1,\"loss\":2}\n", {"schedule.file_column"});
  expect_refused("2,1\n4,1\n", {"begins at step 2", "step 1"});
  expect_refused("1,1\n3,1\n", {"ends at step 3", "the run has 4"});
  expect_refused("1,0\n4,0\n", {"every rate is 0"});
  expect_refused("1,1\n1,1\n4,1\n", {"line 2", "step 1 follows step 1"});
  expect_refused("1,1\n4,-1\n", {"line 2", "at least 0"});
  expect_refused("1,1\n4,nan\n", {"line 2", "at least 0"});
  expect_refused("1,1\n4,1e999\n", {"line 2"});
  expect_refused("1,1\n-4,1\n", {"step -4"});
  expect_refused("1,1\n4000000000,1\n", {"step 4000000000", "1000000000"});
  expect_refused("{\"step\":9223372036854775809,\"learning_rate\":1}\n", {"line 1", "step 9223372036854775809"});
  expect_refused("1,1\n4,1,1\n", {"line 2", "neither"});
  expect_refused("1,1\nstep,rate\n", {"line 2", "neither"});
  expect_refused("1,one\n", {"line 1"});
  expect_refused("rates\n1,1\n4,1\n", {"line 1"});
  expect_refused("{\"step\":1,\"learning_rate\":\"1\"}\n", {"\"learning_rate\" is no number"});
  expect_refused("{\"step\":1.5,\"learning_rate\":1}\n", {"line 1", "whole number as \"step\""});
  expect_refused("{\"step\":1,\"learning_rate\":1}\n{\"step\":2,\"lear\n", {"line 2", "JSON"});
  expect_refused(std::string(300, '{') + "\n", {"line 1", "JSON"});
}

TEST_F(ScheduleFile, WhatIsNoLogIsNamed) {
  const auto refusal = [](const std::filesystem::path& file) -> std::string {
    try {
      read_rates(file, "learning_rate", 4);
    } catch (const Error& error) {
      return error.code() == ExitCode::data ? error.what() : "";
    }
    return "";
  };
  std::filesystem::create_symlink("loop", folder / "loop");
  for (const auto& [name, why] : {std::pair{"none", "there is no such file"}, {".", "is a folder"}, {"loop", "Too many levels"}}) {
    const std::string told = refusal(folder / name);
    EXPECT_EQ(told.find("schedule.file " + (folder / name).string() + ": " + why), 0U) << told;
  }
  EXPECT_NE(refusal("/dev/zero").find("is no regular file"), std::string::npos);
}

}  // namespace
}  // namespace temper
