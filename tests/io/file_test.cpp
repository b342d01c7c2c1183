#include "io/file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>

#include "io/error.h"
#include "io/json_lines.h"
#include "io/tfevents.h"
#include "temporary_folder.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

// The message of the Error(ExitCode::io) that `act` must throw.
template <typename Act>
std::string io_error(Act act) {
  try {
    act();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::io);
    return error.what();
  }
  ADD_FAILURE() << "no Error was thrown";
  return "";
}

bool mentions(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Hash, IsCanonicalXxh3Of128Bits) {
  // The value for empty input that xxHash's own `xxhsum -H2` prints.
  EXPECT_EQ(hash_bytes(""), "99aa06d3014798d86001c324468d497f");
  const TemporaryFolder folder;
  const std::string contents(3'000'000, 'x');  // several pieces of the streaming reader
  FileWriter writer(folder / "a");
  writer.write(contents.substr(0, 1'234'567));
  writer.write("");
  writer.write(contents.substr(1'234'567));
  EXPECT_EQ(writer.bytes_written(), contents.size());
  EXPECT_EQ(writer.close(), hash_bytes(contents));
  EXPECT_EQ(hash_file(folder / "a"), hash_bytes(contents));
  EXPECT_NE(hash_bytes("a"), hash_bytes("b"));
}

TEST(ReadFile, ReturnsEveryByte) {
  const TemporaryFolder folder;
  const std::string contents("a\0b\r\n\xff", 6);
  for (const std::string& text : {std::string(), contents, std::string(2'500'000, 'q')}) {
    write_file_atomically(folder / "f", text);
    EXPECT_EQ(read_file(folder / "f"), text);
  }
  EXPECT_FALSE(read_file("/proc/self/status").empty());  // says size 0, holds more
}

TEST(ReadFile, NamesPathAndReason) {
  const TemporaryFolder folder;
  const std::string missing = io_error([&] { read_file(folder / "missing"); });
  EXPECT_TRUE(mentions(missing, (folder / "missing").string())) << missing;
  EXPECT_TRUE(mentions(missing, "No such file")) << missing;
  EXPECT_TRUE(mentions(io_error([&] { read_file(folder.path()); }), "directory"));
  EXPECT_TRUE(mentions(io_error([&] { hash_file(folder / "missing"); }), "No such file"));
}

// What may never end is refused at once.
TEST(ReadFile, TakesRegularFilesOfABoundedSize) {
  const TemporaryFolder folder;
  const fs::path pipe = folder / "pipe", sparse = folder / "sparse";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  write_file_atomically(sparse, "abc\nd");
  EXPECT_EQ(read_file(sparse, 5), "abc\nd");
  ASSERT_EQ(::truncate(sparse.c_str(), off_t{1} << 40), 0);
  EXPECT_TRUE(mentions(io_error([&] { read_file(pipe); }), "pipe is a pipe; a regular file"));
  EXPECT_TRUE(mentions(io_error([] { read_file("/dev/zero"); }), "/dev/zero is a device; a regular file"));
  EXPECT_TRUE(mentions(io_error([&] { read_file(sparse); }), "has 1099511627776 bytes or more; at most 67108864 are read"));
  EXPECT_TRUE(mentions(io_error([] { read_file("/proc/self/status", 20); }), "at most 20 are read"));  // says size 0
  std::vector<std::string> lines;
  const auto look = [&](const std::string& line) { lines.push_back(line); };
  for_lines(pipe, look);
  for_lines("/dev/zero", look);
  EXPECT_TRUE(mentions(io_error([&] { FileWriter writer(pipe); }), "a pipe is in the file's place"));
  EXPECT_TRUE(mentions(io_error([&] { AppendLog log(pipe, 0); }), "a pipe is in the file's place"));
  write_file_atomically(folder / "log", "a copy's too");
  fs::create_hard_link(folder / "log", folder / "linked");
  EXPECT_TRUE(mentions(io_error([&] { AppendLog log(folder / "linked", 0); }), "hard links"));
  FileWriter(folder / "linked").close();
  EXPECT_EQ(read_file(folder / "log"), "a copy's too") << "under its other name";
  for_lines(folder / "missing", look);
  EXPECT_TRUE(lines.empty());
  for_lines(sparse, look);
  EXPECT_EQ(lines, std::vector<std::string>{"abc"}) << "the endless line after it";
}

TEST(ForLines, TakesAllOrThoseThatBeginInTheLastBytes) {
  const TemporaryFolder folder;
  const std::string text = "first\n\n" + std::string(3'000'000, 'x') + "\ntorn";
  write_file_atomically(folder / "f", text);
  const auto lines_of = [&](std::uint64_t last_bytes) {
    std::vector<std::string> lines;
    const auto look = [&](const std::string& line) { lines.push_back(line); };
    for_lines(folder / "f", look, last_bytes);
    return lines;
  };
  EXPECT_EQ(lines_of(text.size()), (std::vector<std::string>{"first", "", std::string(3'000'000, 'x'), "torn"}));
  EXPECT_EQ(lines_of(text.size() - 1), (std::vector<std::string>{"", std::string(3'000'000, 'x'), "torn"}));
  EXPECT_EQ(lines_of(6), std::vector<std::string>{"torn"});
  EXPECT_TRUE(lines_of(4).empty());
}

TEST(WriteFileAtomically, ReplacesAndLeavesNothingBeside) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "f", "old");
  write_file_atomically(folder / "f", "new");
  EXPECT_EQ(read_file(folder / "f"), "new");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);
}

TEST(WriteFileAtomically, KeepsTheOldFileWhenItCannotReplace) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "taken" / "inside");
  io_error([&] { write_file_atomically(folder / "taken", "new"); });
  EXPECT_TRUE(fs::is_directory(folder / "taken" / "inside"));
  EXPECT_FALSE(fs::exists(folder / "taken.tmp"));
  io_error([&] { write_file_atomically(folder / "no" / "such" / "folder", "x"); });
}

TEST(FileWriter, RemovesWhatWasNotClosed) {
  const TemporaryFolder folder;
  { FileWriter(folder / "part").write("half"); }
  EXPECT_FALSE(fs::exists(folder / "part"));
}

TEST(FileWriter, ReportsAFullDisk) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  const std::string message = io_error([] { FileWriter("/dev/full").write("x"); });
  EXPECT_TRUE(mentions(message, "/dev/full")) << message;
  EXPECT_TRUE(mentions(message, "No space left")) << message;
  EXPECT_TRUE(mentions(message, "free space")) << message;
  EXPECT_TRUE(fs::exists("/dev/full"));  // only regular files are removed
}

TEST(MappedFile, MapsMovesAndRefuses) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "f", "abc");
  write_file_atomically(folder / "empty", "");
  MappedFile first(folder / "f");
  MappedFile second(std::move(first));
  ASSERT_EQ(second.bytes().size(), 3u);
  EXPECT_EQ(second.bytes()[2], std::byte{'c'});
  MappedFile third(folder / "empty");
  EXPECT_TRUE(third.bytes().empty());
  third = std::move(second);
  EXPECT_EQ(third.bytes().size(), 3u);
  EXPECT_TRUE(mentions(io_error([&] { MappedFile(folder.path()); }), "directory"));
  io_error([&] { MappedFile("/dev/null"); });
  io_error([&] { MappedFile(folder / "missing"); });
}

TEST(FreeBytes, WorksForAFolderThatIsStillToBeMade) {
  const TemporaryFolder folder;
  EXPECT_GT(free_bytes(folder.path()), 0u);
  EXPECT_GT(free_bytes(folder / "not" / "yet"), 0u);
  sync_folder(folder.path());
  io_error([&] { sync_folder(folder / "not"); });
}

TEST(Links, NothingIsWrittenThroughOne) {
  const TemporaryFolder folder;
  const fs::path victim = folder / "victim", place = folder / "place", elsewhere = folder / "elsewhere";
  fs::create_directory(elsewhere);
  const std::pair<const char*, std::function<void()>> writers[] = {
      {"FileWriter", [&] { FileWriter(place).write("x"); }},
      {"the lock", [&] { const FolderLock lock(folder.path()); }},
      {"AppendLog", [&] { AppendLog(place, 0).append("x"); }},
      {"a log that is cut", [&] { const JsonLinesFile log(place, 0); }},
      {"temporary file", [&] { write_file_atomically(folder / "file", "x"); }},
      {"events", [&] { const EventFile events(folder / "inner", 0); }},
      {"a folder", [&] { make_inner_folder(folder / "inner"); }},
  };
  for (const auto& target : {victim, folder / "absent"}) {
    write_file_atomically(victim, "precious");
    for (const char* name : {"place", "run.lock", "file.tmp"}) fs::create_symlink(target, folder / name);
    fs::create_directory_symlink(target == victim ? elsewhere : target, folder / "inner");
    for (const auto& [what, write] : writers) {
      const std::string said = io_error(write);
      EXPECT_TRUE(mentions(said, "symbolic link")) << what << ": " << said;
      EXPECT_EQ(read_file(victim), "precious") << what;
      EXPECT_FALSE(fs::exists(folder / "absent")) << what;
    }
    EXPECT_TRUE(fs::is_empty(elsewhere));
    for (const char* name : {"place", "run.lock", "file.tmp", "inner"}) fs::remove(folder / name);
  }
  fs::create_symlink(victim, place);
  write_file_atomically(place, "new");  // replaces the link
  EXPECT_EQ(read_file(victim), "precious");
  EXPECT_EQ(read_file(place), "new");
  fs::create_directory_symlink(elsewhere, folder / "own");
  EXPECT_FALSE(make_folder(folder / "own")) << "a folder that the user names may be a link";
}

TEST(FolderLock, NamesTheHolder) {
  const TemporaryFolder folder;
  {
    const FolderLock lock(folder.path());
    const std::string message = io_error([&] { FolderLock second(folder.path()); });
    EXPECT_TRUE(mentions(message, "process " + std::to_string(::getpid()) + " on host ")) << message;
    EXPECT_TRUE(mentions(message, folder.path().string())) << message;
  }
  EXPECT_NO_THROW(FolderLock(folder.path()));
}

TEST(FolderLock, AFolderThatWasMovedIsFound) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "run");
  const FolderLock lock(folder / "run");
  lock.check();
  fs::rename(folder / "run", folder / "moved");
  EXPECT_TRUE(mentions(io_error([&] { lock.check(); }), "was moved, removed or replaced"));
  fs::create_directory(folder / "run");
  const FolderLock of_another(folder / "run");
  EXPECT_TRUE(mentions(io_error([&] { lock.check(); }), "was moved, removed or replaced"));
  of_another.check();
}

TEST(FolderLock, AKilledHolderIsNoObstacle) {
  const TemporaryFolder folder;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const FolderLock lock(folder.path());
    if (::write(ready[1], "x", 1) == 1) ::pause();
    ::_exit(1);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const std::string message = io_error([&] { FolderLock second(folder.path()); });
  EXPECT_TRUE(mentions(message, "process " + std::to_string(child))) << message;
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  EXPECT_TRUE(mentions(read_file(folder / "run.lock"), std::to_string(child)));  // stale words remain
  EXPECT_NO_THROW(FolderLock(folder.path()));
}

TEST(FolderLock, ShowsNoControlCharactersOfAForeignFile) {
  const TemporaryFolder folder;
  const FolderLock lock(folder.path());
  std::ofstream(folder / "run.lock") << "\x1b[31mred";
  const std::string message = io_error([&] { FolderLock second(folder.path()); });
  EXPECT_TRUE(mentions(message, "\\x1b[31mred")) << message;
}

}  // namespace
}  // namespace temper
