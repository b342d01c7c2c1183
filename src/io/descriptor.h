// POSIX file descriptors as src/io uses them: owned, opened with close-on-exec, written to the last byte.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace temper {

/// Owns a file descriptor; -1 is none.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : descriptor_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return descriptor_; }
  explicit operator bool() const { return descriptor_ >= 0; }
  int release();
  void reset();

 private:
  int descriptor_ = -1;
};

/// open(2) with O_CLOEXEC, repeated when a signal interrupts it. New files get 0666 less the umask. None on failure, errno set.
/// A symbolic link is followed to read only: to write, O_NOFOLLOW is added, since a link in somebody's run directory must not make
/// temper write elsewhere.
Descriptor open_descriptor(const std::filesystem::path& path, int flags);

/// A file in memory, which has no name: for what another program reads or writes at its own pace. Error(ExitCode::io).
Descriptor memory_file();

/// write(2) in bounded pieces until all is written. Returns 0, or the errno of the call that failed.
int write_all(int descriptor, const void* data, std::size_t bytes);

/// "cannot OPERATION PATH: No space left on device; remedy".
std::string failure_message(std::string_view operation, const std::filesystem::path& path, int error_number);

/// Throws Error(ExitCode::io) with that message.
[[noreturn]] void throw_failure(std::string_view operation, const std::filesystem::path& path, int error_number);

/// This machine's name, for lock and event files.
std::string host_name();

}  // namespace temper
