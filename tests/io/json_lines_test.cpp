#include "io/json_lines.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <stdexcept>

#include "io/error.h"
#include "io/file.h"
#include "temporary_folder.h"

namespace temper {
namespace {

TEST(JsonLines, AResumedLogIsCutToWhatTheCheckpointRecorded) {
  const TemporaryFolder folder;
  std::uint64_t recorded = 0;
  {
    JsonLinesFile log(folder / "m", 0);
    log.append(R"({"step":1})");
    log.sync();
    recorded = log.size();
    log.append(R"({"step":2})");
  }
  EXPECT_EQ(recorded, 11u);
  JsonLinesFile log(folder / "m", recorded);
  EXPECT_EQ(log.size(), recorded);
  log.append(R"({"step":2,"again":true})");
  EXPECT_EQ(read_file(folder / "m"), "{\"step\":1}\n{\"step\":2,\"again\":true}\n");
  EXPECT_EQ(log.size(), read_file(folder / "m").size());
}

TEST(JsonLines, ALogThatWasEditedLosesNoHalfLine) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "m", "{\"edited\":1}\n{\"step\":1}\n");
  testing::internal::CaptureStderr();
  JsonLinesFile log(folder / "m", 20);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("missing or changed"), std::string::npos);
  log.append("{}");
  EXPECT_EQ(read_file(folder / "m"), "{\"edited\":1}\n{}\n");
}

TEST(JsonLines, ANewRunBeginsEmpty) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "m", "{\"old\":1}\n");
  JsonLinesFile log(folder / "m", 0);
  EXPECT_EQ(read_file(folder / "m"), "");
}

TEST(JsonLines, AShorterFileKeepsItsWholeLines) {
  const TemporaryFolder folder;
  for (const auto& [before, after] : {std::pair<std::string, std::string>{"{}\n{\"torn", "{}\n"}, {"{\"torn", ""}, {"", ""}}) {
    write_file_atomically(folder / "m", before);
    testing::internal::CaptureStderr();
    JsonLinesFile log(folder / "m", 1000);
    EXPECT_NE(testing::internal::GetCapturedStderr().find("recorded 1000"), std::string::npos);
    log.append("{}");
    EXPECT_EQ(read_file(folder / "m"), after + "{}\n");
  }
}

TEST(JsonLines, RefusesALineOfTwoLinesAndAMissingFolder) {
  const TemporaryFolder folder;
  JsonLinesFile log(folder / "m", 0);
  EXPECT_THROW(log.append("{\n}"), std::logic_error);
  EXPECT_THROW(JsonLinesFile(folder / "no" / "m", 0), Error);
}

TEST(JsonLines, AFullDiskIsReportedOnceAndDoesNotThrow) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  JsonLinesFile log("/dev/full", 0);
  testing::internal::CaptureStderr();
  for (int i = 0; i < 3; ++i) EXPECT_NO_THROW(log.append("{}"));
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("/dev/full"), std::string::npos) << said;
  EXPECT_EQ(said.find("warning"), said.rfind("warning")) << said;
  EXPECT_EQ(log.size(), 0u);
}

// The limit on file sizes stands in for a disk that fills in the middle of a line and has room again later.
TEST(JsonLines, ATornLineIsTakenBack) {
  const TemporaryFolder folder;
  JsonLinesFile log(folder / "m", 0);
  log.append("{\"first\":1}");
  struct rlimit before {};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto previous = ::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit tight { log.size() + 5, before.rlim_max };
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  testing::internal::CaptureStderr();
  log.append("{\"second\":2}");
  const std::string said = testing::internal::GetCapturedStderr();
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, previous);
  EXPECT_FALSE(said.empty());  // not what it says: the limit cuts captured words too
  EXPECT_EQ(read_file(folder / "m"), "{\"first\":1}\n") << "half a line stayed";
  log.append("{\"third\":3}");
  EXPECT_EQ(read_file(folder / "m"), "{\"first\":1}\n{\"third\":3}\n");
}

}  // namespace
}  // namespace temper
