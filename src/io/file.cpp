#include "io/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "io/descriptor.h"
#include "io/error.h"

namespace temper {
namespace {

constexpr std::size_t read_piece = std::size_t{1} << 20;

struct stat status_of(const Descriptor& file, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw_failure("examine", path, errno);
  return status;
}

// Opening a pipe that nobody writes to would wait for ever.
Descriptor open_regular(const std::filesystem::path& path) {
  Descriptor file = open_descriptor(path, O_RDONLY | O_NONBLOCK);
  if (!file) throw_failure("open", path, errno);
  const struct stat status = status_of(file, path);
  if (S_ISDIR(status.st_mode)) throw_failure("read", path, EISDIR);
  if (!S_ISREG(status.st_mode))
    throw Error(ExitCode::io, "{} is a {}; a regular file is expected there", path.string(),
                S_ISFIFO(status.st_mode) ? "pipe" : "device");
  return file;
}

std::size_t read_some(const Descriptor& file, void* data, std::size_t bytes, const std::filesystem::path& path) {
  ssize_t count = 0;
  do {
    count = ::read(file.get(), data, bytes);
  } while (count < 0 && errno == EINTR);
  if (count < 0) throw_failure("read", path, errno);
  return static_cast<std::size_t>(count);
}

// 0 or errno. EINVAL means that this kind of file (a pipe, some network folders) has nothing to synchronise.
int synchronise(int descriptor) {
  while (::fsync(descriptor) != 0) {
    if (errno == EINVAL) return 0;
    if (errno != EINTR) return errno;
  }
  return 0;
}

std::string hex(XXH128_hash_t hash) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : canonical.digest) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

struct FreeHashState {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};
using HashState = std::unique_ptr<XXH3_state_t, FreeHashState>;

HashState new_hash_state() {
  HashState state(XXH3_createState());
  if (!state) throw std::bad_alloc();
  XXH3_128bits_reset(state.get());
  return state;
}

}  // namespace

std::string read_file(const std::filesystem::path& path, std::uint64_t most_bytes) {
  const Descriptor file = open_regular(path);
  const auto check = [&](std::uint64_t bytes) {
    if (bytes > most_bytes)
      throw Error(ExitCode::io, "{} has {} bytes or more; at most {} are read of such a file", path.string(), bytes, most_bytes);
  };
  const auto bytes = static_cast<std::uint64_t>(status_of(file, path).st_size);
  check(bytes);
  // One byte more than the size, so that the read which finds the end needs no second allocation. Files in /proc say that they have
  // none and hold more.
  std::string contents(bytes + 1, '\0');
  std::size_t length = 0;
  while (const std::size_t count = read_some(file, contents.data() + length, contents.size() - length, path)) {
    check(length += count);
    if (length == contents.size()) contents.resize(length + read_piece);
  }
  contents.resize(length);
  return contents;
}

void for_lines(const std::filesystem::path& path, const std::function<void(const std::string&)>& look, std::uint64_t last_bytes) {
  std::error_code absent;
  if (!std::filesystem::is_regular_file(path, absent)) return;
  const Descriptor file = open_regular(path);
  const auto bytes = static_cast<std::uint64_t>(status_of(file, path).st_size);
  bool within_line = bytes > last_bytes;
  if (within_line && ::lseek(file.get(), static_cast<off_t>(bytes - last_bytes), SEEK_SET) < 0) throw_failure("read", path, errno);
  std::string rest, piece(read_piece, '\0');
  const auto take = [&](const std::string& line) {
    if (!std::exchange(within_line, false)) look(line);
  };
  while (const std::size_t count = read_some(file, piece.data(), piece.size(), path)) {
    rest.append(piece, 0, count);
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = rest.find('\n', begin)) != std::string::npos; begin = end + 1)
      take(rest.substr(begin, end - begin));
    rest.erase(0, begin);
    if (rest.size() > most_file_bytes) return;
  }
  if (!rest.empty()) take(rest);
}

void write_file_atomically(const std::filesystem::path& path, std::string_view contents) {
  // A fixed name: what a crash leaves behind is overwritten by the next attempt instead of piling up.
  std::filesystem::path temporary = path;
  temporary += ".tmp";
  FileWriter writer(temporary);
  writer.write(contents);
  writer.close();
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error_number = errno;
    ::unlink(temporary.c_str());
    throw_failure("replace", path, error_number);
  }
  sync_folder(path.parent_path());
}

void sync_folder(const std::filesystem::path& folder) {
  const std::filesystem::path named = folder.empty() ? "." : folder;
  const Descriptor descriptor = open_descriptor(named, O_RDONLY | O_DIRECTORY);
  if (!descriptor) throw_failure("open folder", named, errno);
  if (const int error_number = synchronise(descriptor.get())) throw_failure("synchronise folder", named, error_number);
}

bool make_folder(const std::filesystem::path& folder) {
  if (folder.empty()) throw Error(ExitCode::usage, "the name of the folder to write into is empty; \".\" is the current one");
  std::error_code error;
  const bool made = std::filesystem::create_directories(folder, error);
  if (error) throw_failure("make the folder", folder, error.value());
  return made;
}

void refuse_link(const std::filesystem::path& path) {
  std::error_code absent;
  if (std::filesystem::is_symlink(std::filesystem::symlink_status(path, absent))) throw_failure("use", path, ELOOP);
}

bool make_inner_folder(const std::filesystem::path& folder) {
  refuse_link(folder);
  return make_folder(folder);
}

std::uint64_t free_bytes(const std::filesystem::path& path) {
  // A run folder is asked about before it exists; its nearest existing ancestor is on the same file system.
  std::filesystem::path existing = std::filesystem::absolute(path);
  struct statvfs status {};
  while (::statvfs(existing.c_str(), &status) != 0) {
    if (errno != ENOENT || existing == existing.parent_path()) throw_failure("measure the free space of", path, errno);
    existing = existing.parent_path();
  }
  return std::uint64_t{status.f_bavail} * std::uint64_t{status.f_frsize};
}

FileWriter::FileWriter(const std::filesystem::path& path) : path_(path) {
  HashState state = new_hash_state();
  std::error_code absent;  // what has other names keeps its contents under them
  if (const auto names = std::filesystem::hard_link_count(path, absent); !absent && names > 1) ::unlink(path.c_str());
  Descriptor file = open_descriptor(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (!file) throw_failure("create", path, errno);
  descriptor_ = file.release();
  hash_state_ = state.release();
}

FileWriter::~FileWriter() {
  const HashState released(static_cast<XXH3_state_t*>(hash_state_));
  if (descriptor_ < 0) return;
  struct stat status {};
  const bool regular = ::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode);
  ::close(descriptor_);
  if (regular) ::unlink(path_.c_str());
}

void FileWriter::write(const void* data, std::size_t bytes) {
  if (const int error_number = write_all(descriptor_, data, bytes)) throw_failure("write", path_, error_number);
  XXH3_128bits_update(static_cast<XXH3_state_t*>(hash_state_), data, bytes);
  bytes_written_ += bytes;
}

std::string FileWriter::close() {
  if (const int error_number = synchronise(descriptor_)) throw_failure("synchronise", path_, error_number);
  if (::close(std::exchange(descriptor_, -1)) != 0) {
    // Some network file systems report a failed write only here.
    const int error_number = errno;
    ::unlink(path_.c_str());
    throw_failure("close", path_, error_number);
  }
  return hex(XXH3_128bits_digest(static_cast<XXH3_state_t*>(hash_state_)));
}

MappedFile::MappedFile(const std::filesystem::path& path) : MappedFile(open_regular(path), path) {}

MappedFile::MappedFile(const Descriptor& file, const std::filesystem::path& path) {
  const struct stat status = status_of(file, path);
  if (status.st_size == 0) return;
  const auto size = static_cast<std::size_t>(status.st_size);
  void* const address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) throw_failure("map", path, errno);
  data_ = static_cast<const std::byte*>(address);
  size_ = size;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

std::string hash_file(const std::filesystem::path& path) {
  const Descriptor file = open_regular(path);
  const HashState state = new_hash_state();
  std::vector<char> piece(read_piece);
  while (const std::size_t count = read_some(file, piece.data(), piece.size(), path))
    XXH3_128bits_update(state.get(), piece.data(), count);
  return hex(XXH3_128bits_digest(state.get()));
}

std::string hash_bytes(std::string_view bytes) { return hex(XXH3_128bits(bytes.data(), bytes.size())); }

}  // namespace temper
