// A log that training writes while it runs: whole records at the end of a file. A disk that is full or gone is reported once
// on stderr and never throws, because training must not die of a log; later records are tried again.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "io/descriptor.h"

namespace temper {

class AppendLog {
 public:
  /// Opens or creates `path` with these additional open(2) flags. Failing to: Error(ExitCode::io), as at the start of a run
  /// somebody is there to read it.
  AppendLog(const std::filesystem::path& path, int flags);

  /// Appends the record whole, or not at all.
  void append(std::string_view record);
  /// Cuts the file to its first `bytes` bytes, no more than size().
  void truncate(std::uint64_t bytes);
  /// Waits until the disk has everything.
  void sync();
  /// Bytes of the whole records.
  std::uint64_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  void report(std::string_view operation, int error_number);

  std::filesystem::path path_;
  Descriptor file_;
  std::uint64_t size_ = 0;
  bool torn_ = false;  // part of a record may follow the first size_ bytes
  bool reported_ = false;
};

}  // namespace temper
