#include "io/append_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "io/error.h"
#include "io/text.h"

namespace temper {

AppendLog::AppendLog(const std::filesystem::path& path, int flags) : path_(path) {
  file_ = open_descriptor(path, O_WRONLY | O_CREAT | O_APPEND | flags);
  if (!file_) throw_failure("open the log", path, errno);
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0) throw_failure("examine the log", path, errno);
  if (status.st_nlink > 1)
    throw Error(
        ExitCode::io,
        "{}: has other names too (hard links), under which what is written here would change; copy the folder without links",
        path.string());
  size_ = static_cast<std::uint64_t>(status.st_size);
}

void AppendLog::append(std::string_view record) {
  if (torn_ && ::ftruncate(file_.get(), static_cast<off_t>(size_)) != 0) return;
  torn_ = false;
  if (const int error_number = write_all(file_.get(), record.data(), record.size())) {
    torn_ = ::ftruncate(file_.get(), static_cast<off_t>(size_)) != 0;
    report("write to the log", error_number);
    return;
  }
  size_ += record.size();
}

void AppendLog::truncate(std::uint64_t bytes) {
  if (bytes >= size_) return;
  if (::ftruncate(file_.get(), static_cast<off_t>(bytes)) != 0) throw_failure("cut the log", path_, errno);
  size_ = bytes;
}

void AppendLog::sync() {
  // EINVAL: a device or pipe, which has nothing to wait for.
  if (::fsync(file_.get()) != 0 && errno != EINVAL && errno != EINTR) report("synchronise the log", errno);
}

void AppendLog::report(std::string_view operation, int error_number) {
  if (reported_) return;
  reported_ = true;
  tell("warning: " + failure_message(operation, path_, error_number) + "; the run goes on, records are missing from this log");
}

}  // namespace temper
