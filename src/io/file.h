// Files as a training run needs them: whole reads, read-only maps, and writes that are durable before they are visible.
// Every failure throws Error(ExitCode::io) with path, operation and errno's text, unless said otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <string_view>

namespace temper {

class Descriptor;

/// What is read at most of a file at once. Nobody's configuration, sidecar or summary comes near; a vocabulary is allowed more.
inline constexpr std::uint64_t most_file_bytes = std::uint64_t{64} << 20;
/// The whole file as bytes; a pipe, a device, or what is larger than `most_bytes` is refused, since it might never end.
std::string read_file(const std::filesystem::path& path, std::uint64_t most_bytes = most_file_bytes);
/// Each line of a log, of those that begin in its last bytes; none where `path` is no regular file. A line of more than
/// most_file_bytes, which no log has, ends it.
void for_lines(const std::filesystem::path& path, const std::function<void(const std::string&)>& look,
               std::uint64_t last_bytes = std::numeric_limits<std::uint64_t>::max());

/// Writes `contents` to `path` so that a crash leaves either the old file or the new one: temporary sibling, write, fsync,
/// rename, fsync of the folder.
void write_file_atomically(const std::filesystem::path& path, std::string_view contents);

/// Makes renames and new names in `folder` durable.
void sync_folder(const std::filesystem::path& folder);

/// Error(ExitCode::io) where `path` is a symbolic link.
void refuse_link(const std::filesystem::path& path);
/// Makes a folder where it is missing, with those above it; true if it was.
bool make_folder(const std::filesystem::path& folder);
/// The same for one in a run directory, the folder of a sweep or another that temper fills: nothing is written through a symbolic
/// link in there, and one in its place is refused. The user's own folder may be a link.
bool make_inner_folder(const std::filesystem::path& folder);

/// Bytes free to this user on the file system of `path`.
std::uint64_t free_bytes(const std::filesystem::path& path);

/// Sequential writer for large files: bounded write(2) calls, each checked, hashed on the way; close() fsyncs.
/// Destroyed without close(): the file is removed.
class FileWriter {
 public:
  explicit FileWriter(const std::filesystem::path& path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(const void* data, std::size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  std::uint64_t bytes_written() const { return bytes_written_; }
  /// fsyncs and closes; returns the XXH3-128 of everything written, as 32 hex digits.
  std::string close();

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::uint64_t bytes_written_ = 0;
  void* hash_state_ = nullptr;
};

/// A read-only memory map. An empty file maps to an empty span.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::filesystem::path& path);
  /// Of a file that is open; `path` is for messages.
  MappedFile(const Descriptor& file, const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// XXH3-128 of a regular file's contents, 32 hex digits.
std::string hash_file(const std::filesystem::path& path);
/// XXH3-128 of bytes in memory, 32 hex digits.
std::string hash_bytes(std::string_view bytes);

/// Holds `folder`/run.lock (flock) while it lives. Taken already: Error(ExitCode::io) naming the holder's pid and host.
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  /// Error(ExitCode::io) where the folder of that name is another one by now: it was moved or removed under its holder, who must not
  /// write into what took its place.
  void check() const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace temper
