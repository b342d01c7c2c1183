// Replacing a set of files. That a kill at any moment loses nothing is end_to_end.overwrite_faults.
#include "io/staging.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <map>

#include "temporary_folder.h"

namespace temper {
namespace {

namespace fs = std::filesystem;
using Files = std::map<std::string, std::string>;

class Staging : public testing::Test {
 protected:
  static bool belongs(const std::string& name) { return name.starts_with("x"); }
  fs::path out() const { return folder_ / "out"; }
  StagedFiles stage(bool overwrite) const { return {out(), "x.json", belongs, overwrite}; }
  static void put(const fs::path& folder, const Files& files) {
    fs::create_directories(folder);
    for (const auto& [name, contents] : files) std::ofstream(folder / name) << contents;
  }
  Files seen() const {
    Files files;
    for (const auto& entry : fs::directory_iterator(out())) {
      files[entry.path().filename()] = entry.is_directory() ? "a folder" : read_file(entry.path());
    }
    return files;
  }
  template <typename Act>
  static void expect_error(ExitCode code, const std::string& part, Act act) {
    try {
      act();
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }

  TemporaryFolder folder_;
  const Files old_ = {{"x.json", "old"}, {"x1", "old 1"}, {"x2", "old 2"}, {"other", "stays"}};
};

TEST_F(Staging, TheNewSetTakesThePlaceOfAllOfTheOldOne) {
  put(out(), old_);
  StagedFiles staged = stage(true);
  put(staged.path(), {{"x.json", "new"}, {"x2", "new 2"}, {"x3", "new 3"}});
  EXPECT_EQ(read_file(out() / "x1"), "old 1") << "before commit() nothing changes";
  staged.commit();
  EXPECT_EQ(seen(), (Files{{"x.json", "new"}, {"x2", "new 2"}, {"x3", "new 3"}, {"other", "stays"}}));
}

TEST_F(Staging, WhatItWouldNotWriteIsNotReplaced) {
  const auto stage_checked = [&](const std::string& key) {
    const auto check_old = [](const fs::path& old) {
      if (read_file(old) != "old") throw Error(ExitCode::checkpoint, "{}: is no x", old.string());
    };
    StagedFiles(
        out(), key, [&](const std::string& name) { return name == key; }, true, check_old);
  };
  put(out(), {{"x.json", "old"}, {"y.json", "a user's"}});
  stage_checked("x.json");
  expect_error(ExitCode::usage, "y.json: is no x; --overwrite replaces only", [&] { stage_checked("y.json"); });
  ASSERT_EQ(::mkfifo((out() / "pipe").c_str(), 0600), 0);
  expect_error(ExitCode::usage, "pipe: is no regular file", [&] { stage_checked("pipe"); });
  fs::create_symlink("/dev/null", out() / "link");
  expect_error(ExitCode::usage, "link: is no regular file", [&] { stage_checked("link"); });
  fs::create_symlink("absent", out() / "dangling");
  expect_error(ExitCode::usage, "dangling: is no regular file", [&] { stage_checked("dangling"); });
  expect_error(ExitCode::usage, "is empty", [&] { StagedFiles("", "x.json", belongs, true); });
  put(out(), {{"trainer.json", "{}"}});
  expect_error(ExitCode::usage, "is a checkpoint", [&] { stage_checked("z.json"); });
  EXPECT_TRUE(fs::is_symlink(out() / "link") && fs::is_fifo(out() / "pipe"));
  EXPECT_EQ(read_file(out() / "y.json"), "a user's");
}

TEST_F(Staging, WithoutCommitNothingHasHappened) {
  put(out(), old_);
  put(stage(true).path(), {{"x.json", "new"}});
  EXPECT_EQ(seen(), old_);
  fs::remove_all(out());
  { put(stage(false).path(), {{"x.json", "new"}}); }
  EXPECT_FALSE(fs::exists(out())) << "a folder made for nothing";
}

TEST_F(Staging, WhatExistsIsAnErrorThatNamesItAndTheOption) {
  for (const char* name : {"x.json", "x1"}) {
    fs::remove_all(out());
    put(out(), {{name, "old"}});
    expect_error(ExitCode::usage, (out() / name).string() + ": exists already; --overwrite", [&] { stage(false); });
    EXPECT_EQ(seen(), (Files{{name, "old"}}));
  }
  fs::remove_all(out());
  put(out(), {{"other", "stays"}});
  EXPECT_NO_THROW(stage(false));
  fs::create_directory(out() / "x1");
  expect_error(ExitCode::usage, "x1: is a folder", [&] { stage(true); });
}

TEST_F(Staging, OneWriterAtATime) {
  const StagedFiles first = stage(false);
  expect_error(ExitCode::io, "in use by process", [&] { stage(true); });
  EXPECT_TRUE(fs::exists(first.path()));
}

TEST_F(Staging, WhatAKilledWriterLeftIsRemoved) {
  put(out(), old_);
  put(out() / ".x.json.partial", {{"x.json", "torn"}, {"x9", "torn"}});
  {
    StagedFiles staged = stage(true);
    put(staged.path(), {{"x.json", "new"}});
    staged.commit();
  }
  EXPECT_EQ(seen(), (Files{{"x.json", "new"}, {"other", "stays"}}));
}

TEST_F(Staging, AFailureWhilePuttingInPlaceLeavesAMarkedSetThatTheNextOneCompletes) {
  put(out(), old_);
  {
    StagedFiles staged = stage(true);
    fs::create_directory(out() / "x3");  // no file can take its place
    put(staged.path(), {{"x.json", "new"}, {"x2", "new 2"}, {"x3", "new 3"}});
    expect_error(ExitCode::io, "run again", [&] { staged.commit(); });
  }
  EXPECT_TRUE(is_incomplete(out() / "x.json"));
  expect_error(ExitCode::data, "run that command again",
               [&] { refuse_incomplete(read_file(out() / "x.json"), "x.json", ExitCode::data); });
  EXPECT_NO_THROW(refuse_incomplete("{}", "x.json", ExitCode::data));
  expect_error(ExitCode::io, "x3", [&] { stage(true); });
  fs::remove(out() / "x3");
  { const StagedFiles next = stage(false); }  // which then gives up
  EXPECT_EQ(seen(), (Files{{"x.json", "new"}, {"x2", "new 2"}, {"x3", "new 3"}, {"other", "stays"}}));
}

}  // namespace
}  // namespace temper
