#include "io/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <thread>

#include "io/descriptor.h"
#include "io/error.h"
#include "io/file.h"
#include "temporary_folder.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

TEST(FindProgram, OnlyInAbsoluteFolders) {
  const TemporaryFolder folder;
  std::ofstream(folder / "tool") << "#!/bin/sh\n";
  fs::permissions(folder / "tool", fs::perms::owner_all);
  std::ofstream(folder / "text") << "not to be run";
  fs::create_directory(folder / "dir");
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  const std::string here = folder.path().string();
  for (const char* path : {"", ":", ".", "::/nowhere", "./", "/nowhere:."}) EXPECT_EQ(find_program("tool", path), "") << path;
  for (const std::string& path : {here, ".:" + here, here + ":", ":/nowhere:" + here + ":."}) {
    EXPECT_EQ(find_program("tool", path), folder / "tool") << path;
  }
  for (const char* name : {"text", "dir", "absent"}) EXPECT_EQ(find_program(name, here), "") << name;
  fs::current_path(before);
}

TEST(RunToEnd, TellsHowItEnded) {
  const auto shell = [](const std::string& script) {
    return Command{.words = {"/bin/sh", "-c", script}, .environment = {"WORD=there"}};
  };
  EXPECT_EQ(run_to_end(shell("exit 7")), 7);
  EXPECT_EQ(run_to_end(shell("kill -9 $$")), 128 + SIGKILL);
  EXPECT_EQ(run_to_end(shell("test \"$WORD\" = there && test -z \"$HOME\"")), 0);
  EXPECT_EQ(run_to_end(shell("test /dev/null -ef /dev/stdin && test /dev/null -ef /dev/stdout && test /dev/null -ef /dev/stderr")),
            0);
  Command command = shell("test \"$(pwd)\" = /");
  EXPECT_EQ(run_to_end(command), 1);
  command.in_root = true;
  EXPECT_EQ(run_to_end(command), 0);
  EXPECT_THROW(run_to_end({.words = {"/nowhere/tool"}}), Error);
}

TEST(StartProgram, RunsBesideUsWithTheStreamsItIsGiven) {
  const TemporaryFolder folder;
  const Descriptor output = open_descriptor(folder / "output", O_WRONLY | O_CREAT);
  const std::string inherited = "/proc/$$/fd/" + std::to_string(output.get());
  const pid_t process = start_program({.words = {"/bin/sh", "-c", "echo $0; [ ! -e " + inherited + " ] || echo inherited; kill $$"},
                                       .output = output.get(),
                                       .own_group = true,
                                       .called = "another",
                                       .ends_with_us = true});
  std::optional<ProcessEnd> end;
  while (!(end = process_end(process))) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(end->signal, SIGTERM);
  EXPECT_EQ(read_file(folder / "output"), "another\n");
}

TEST(StartProgram, SaysWhyItCouldNot) {
  try {
    start_program({.words = {"/nowhere/tool"}});
    ADD_FAILURE() << "started";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::io);
    EXPECT_STREQ(error.what(), "/nowhere/tool could not be started: No such file or directory");
  }
}

TEST(ShellWord, ReadsBackAsItself) {
  EXPECT_EQ(shell_word("runs/a-1_b=2"), "runs/a-1_b=2");
  EXPECT_EQ(shell_word(""), "''");
  EXPECT_EQ(shell_word("it's $HOME"), "'it'\\''s $HOME'");
  EXPECT_EQ(shell_word("b [1]\u00fc"), "'b [1]\u00fc'");
  // On one line, whatever it is: a name must not leave the comment that it stands in.
  EXPECT_EQ(shell_word("it's\na\\b\u202e\xff"), "$'it\\'s\\012a\\\\b\\342\\200\\256\\377'");
}

}  // namespace
}  // namespace temper
