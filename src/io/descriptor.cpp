#include "io/descriptor.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "io/error.h"

namespace temper {
namespace {

// Bounded, so that a signal or a full disk is noticed soon, and because Linux writes at most 2 GiB in one call.
constexpr std::size_t largest_write = std::size_t{8} << 20;

std::string_view remedy(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return "; free space there or choose a folder on another disk";
    case EACCES:
    case EPERM:
      return "; check the permissions of the file and of its folder";
    case EROFS:
      return "; choose a folder that can be written to";
    case ENOENT:
      return "; check the path";
    case ELOOP:
      return "; a symbolic link is not followed there: remove it, or make the whole folder that --out names the link";
    case EMFILE:
    case ENFILE:
      return "; raise the limit on open files (ulimit -n)";
    case ENXIO:
      return "; a pipe is in the file's place: remove it";
    case EIO:
      return "; the disk reports an error, see the system log";
    default:
      return "";
  }
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    reset();
    descriptor_ = other.release();
  }
  return *this;
}

int Descriptor::release() { return std::exchange(descriptor_, -1); }

void Descriptor::reset() {
  if (descriptor_ >= 0) ::close(release());
}

Descriptor open_descriptor(const std::filesystem::path& path, int flags) {
  // Of a pipe in the place of a file that is written, open() would wait for its reader.
  if ((flags & O_ACCMODE) != O_RDONLY) flags |= O_NOFOLLOW | O_NONBLOCK;
  int descriptor = -1;
  do {
    descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  } while (descriptor < 0 && errno == EINTR);
  return Descriptor(descriptor);
}

Descriptor memory_file() {
  Descriptor file(::memfd_create("temper", MFD_CLOEXEC));
  if (!file) throw Error(ExitCode::io, std::string("no file could be made in memory: ") + std::strerror(errno));
  return file;
}

int write_all(int descriptor, const void* data, std::size_t bytes) {
  const char* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::write(descriptor, next, std::min(bytes, largest_write));
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    if (written == 0) return ENOSPC;
    next += written;
    bytes -= static_cast<std::size_t>(written);
  }
  return 0;
}

std::string failure_message(std::string_view operation, const std::filesystem::path& path, int error_number) {
  std::string message = "cannot ";
  message += operation;
  message += ' ' + path.string() + ": " + std::generic_category().message(error_number);
  message += remedy(error_number);
  return message;
}

void throw_failure(std::string_view operation, const std::filesystem::path& path, int error_number) {
  throw Error(ExitCode::io, failure_message(operation, path, error_number));
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "unknown-host";
  return name.data();
}

}  // namespace temper
