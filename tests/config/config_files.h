// A folder of configuration files for one test, and what loading them says.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "config/parse.h"
#include "io/error.h"

namespace temper {

class ConfigFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              (std::string("temper-config-") + test->test_suite_name() + "-" + test->name() + "-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path write(const std::string& name, const std::string& text) const {
    const std::filesystem::path path = folder_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path;
  }

  /// A file with what every run needs and `more` keys (starting with a comma), loaded with overrides.
  RunConfig load(const std::string& more, const std::vector<std::string>& overrides = {}) const {
    return load_config(write("run.json", "{\"data\": {\"train\": \"a.bin\"}, \"train\": {\"steps\": 1000}" + more + "}"),
                       overrides);
  }

  std::filesystem::path folder_;
};

/// The message of the usage error that `action` throws; a test failure and "" where it throws none or another.
template <class Action>
std::string usage_error(Action action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error was thrown";
  return "";
}

inline void expect_parts(const std::string& message, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << "no '" << part << "' in: " << message;
}

/// A configuration that passes validate().
inline RunConfig valid_config() {
  RunConfig config;
  config.data.train = {"a.bin"};
  config.train.steps = 1000;
  return config;
}

}  // namespace temper
