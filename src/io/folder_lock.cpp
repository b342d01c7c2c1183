// The lock of a run folder. flock belongs to the open file, so the kernel drops it with its process, however that ends; what
// the file says is only for the message.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>

#include "io/descriptor.h"
#include "io/error.h"
#include "io/file.h"
#include "io/text.h"

namespace temper {
namespace {

std::string describe_this_process() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  std::array<char, 32> started{};
  std::strftime(started.data(), started.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return fmt::format("process {} on host {} since {}\n", ::getpid(), host_name(), started.data());
}

// The holder's line.
std::string read_holder(const Descriptor& file) {
  std::array<char, 512> text{};
  const ssize_t count = ::pread(file.get(), text.data(), text.size(), 0);
  const std::string_view written(text.data(), static_cast<std::size_t>(std::max<ssize_t>(0, count)));
  const std::string holder = shown(written.substr(0, written.find('\n')));  // anyone may have written the file
  return holder.empty() ? "another process" : holder;
}

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& folder) : path_(folder / "run.lock") {
  Descriptor file = open_descriptor(path_, O_RDWR | O_CREAT);
  if (!file) throw_failure("open the lock", path_, errno);
  while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) throw_failure("lock", path_, errno);
    throw Error(ExitCode::io,
                "{} is in use by {}, which holds its run.lock; wait for it, stop it, or choose another folder with --out",
                folder.string(), read_holder(file));
  }
  struct stat status {};
  if (::fstat(file.get(), &status) == 0 && status.st_nlink == 0)
    throw Error(ExitCode::io, folder.string() + " was in use by another process that has just ended; run the command again");
  // A full disk must not forbid a run that may be there to delete something: the lock is held with or without these words.
  const std::string holder = describe_this_process();
  if (::ftruncate(file.get(), 0) == 0) write_all(file.get(), holder.data(), holder.size());
  descriptor_ = file.release();
}

void FolderLock::check() const {
  struct stat here {};
  struct stat there {};
  if (::fstat(descriptor_, &here) == 0 && ::lstat(path_.c_str(), &there) == 0 && here.st_ino == there.st_ino &&
      here.st_dev == there.st_dev)
    return;
  throw Error(
      ExitCode::io,
      "{}: was moved, removed or replaced while it was in use, so nothing more is written there; go on where it is now with "
      "--out and --resume, from the last checkpoint that was saved before",
      path_.parent_path().string());
}

FolderLock::~FolderLock() {
  // The file stays: unlinking it would let two processes lock two different files of the same name.
  static_cast<void>(::ftruncate(descriptor_, 0) == 0);
  ::close(descriptor_);
}

}  // namespace temper
