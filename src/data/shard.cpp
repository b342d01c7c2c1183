#include "data/shard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "io/error.h"
#include "io/text.h"

namespace temper {

// --- Files that are no shards ---

namespace {

using namespace std::string_view_literals;

bool starts_with(std::span<const std::byte> file, std::string_view prefix) {
  return file.size() >= prefix.size() && std::memcmp(file.data(), prefix.data(), prefix.size()) == 0;
}

struct KnownMagic {
  std::uint32_t magic;
  std::string_view meaning;
};

// Magics of llm.c's other files (llmc/dataloader.h, train_gpt2.cu, llmc/tokenizer.h there).
constexpr std::array<KnownMagic, 6> llmc_files = {{
    {20240801,
     "is a Llama-3 shard of llm.c (uint32 tokens), which temper does not read; tokenize the text with a GPT-2 vocabulary"},
    {20240522, "is a multiple-choice shard of llm.c; give a token shard here, and HellaSwag as text or JSONL to eval.hellaswag"},
    {20240326, "is a model of llm.c, not a token shard; `temper import` reads it"},
    {20240527, "is a training state of llm.c, not a token shard"},
    {20240328, "is a tokenizer of llm.c, not a token shard"},
    {20240327, "is a debug state of llm.c, not a token shard"},
}};

struct KnownPrefix {
  std::string_view prefix;
  std::string_view meaning;
};

constexpr auto other_files = std::to_array<KnownPrefix>({
    {"\x1f\x8b"sv, "is compressed; run gunzip on it and name the result"},
    {"BZh"sv, "is compressed; run bunzip2 on it and name the result"},
    {"\xfd\x37zXZ\0"sv, "is compressed; run unxz on it and name the result"},
    {"\x28\xb5\x2f\xfd"sv, "is compressed; run unzstd on it and name the result"},
    {"PK\x03\x04"sv, "is a zip archive; unpack it first"},
    {"BIN.TOK\n"sv,
     "is a shard of llmq (32-bit tokens), which temper does not read; tokenize the text with `temper data tokenize`"},
    {"\x93NUMPY"sv,
     "is a NumPy array file; write the bare uint16 tokens (array.astype('<u2').tofile(name)) and set data.format to raw_u16"},
    {"version https://git-lfs"sv, "is a pointer of Git LFS, not the file itself; run `git lfs pull`"},
    {"PAR1"sv, "is a Parquet file; scripts/corpora/parquet_to_jsonl.py hands its texts to `temper data tokenize` (docs/data.md)"},
    {"ARROW1\0\0"sv, "is an Arrow file; export its text as JSONL and run `temper data tokenize` on that"},
    {"SQLite format 3\0"sv, "is an SQLite database; export its text as JSONL and run `temper data tokenize` on that"},
    {"\x80\x04\x95"sv, "is a Python pickle, which temper never reads"},
    {"\x89PNG\r\n"sv, "is a picture (PNG)"},
    {"%PDF-"sv, "is a PDF; extract its text first, for instance with pdftotext"},
    {"\x7f\x45LF"sv, "is a program (ELF)"},
    {"\xff\xfe\0\0"sv, "is UTF-32; run iconv -f UTF-32 -t UTF-8 on it and name the result"},
    {"\0\0\xfe\xff"sv, "is UTF-32; run iconv -f UTF-32 -t UTF-8 on it and name the result"},
    {"\xff\xfe"sv, "is UTF-16; run iconv -f UTF-16 -t UTF-8 on it and name the result"},
    {"\xfe\xff"sv, "is UTF-16; run iconv -f UTF-16 -t UTF-8 on it and name the result"},
});

}  // namespace

std::optional<std::string> known_format(std::span<const std::byte> file) {
  for (const KnownPrefix& known : other_files)
    if (starts_with(file, known.prefix)) return std::string(known.meaning);
  return std::nullopt;
}

bool looks_like_text(std::span<const std::byte> file) {
  const auto start = file.first(std::min<std::size_t>(file.size(), 512));
  return !start.empty() && std::all_of(start.begin(), start.end(), [](std::byte value) {
    const auto byte = static_cast<unsigned char>(value);
    return (byte >= 0x20 && byte != 0x7f && byte != 0xc0 && byte != 0xc1 && byte <= 0xf4) || byte == '\n' || byte == '\t' ||
           byte == '\r';
  });
}

std::string diagnose_foreign_file(std::span<const std::byte> start, std::int64_t file_bytes) {
  if (start.empty()) return "is empty; a shard has at least its header of 1024 bytes";
  if (const auto known = known_format(start)) return *known;
  std::uint32_t magic = 0;
  if (start.size() >= sizeof magic) {
    std::memcpy(&magic, start.data(), sizeof magic);
    for (const KnownMagic& known : llmc_files)
      if (magic == known.magic) return std::string(known.meaning);
    if (__builtin_bswap32(magic) == static_cast<std::uint32_t>(shard_magic))
      return "is a shard in big-endian byte order; write it again on a little-endian machine";
  }
  if (looks_like_text(start)) return "is a text, not tokens; make shards of it with `temper data tokenize`";
  std::string message = fmt::format("is not an llm.c shard: the magic number at offset 0 is {}, expected {}", magic, shard_magic);
  if (file_bytes % 2 == 0)
    message += "; if these are uint16 tokens without a header, as nanoGPT writes them, set data.format to raw_u16";
  return message;
}

// --- Shards ---

namespace {

static_assert(std::endian::native == std::endian::little, "shards are little-endian and read in place");

constexpr std::size_t header_words = 256;
constexpr std::int32_t shard_version = 1;

[[noreturn]] void refuse(const std::string& label, const std::string& what) { throw Error(ExitCode::data, label + ": " + what); }

std::int32_t word(std::span<const std::byte> file, std::size_t index) {
  std::int32_t value = 0;
  std::memcpy(&value, file.data() + index * sizeof value, sizeof value);
  return value;
}

ShardLayout check_raw(std::span<const std::byte> start, std::int64_t file_bytes, const std::string& label) {
  if (file_bytes >= shard_header_bytes && word(start, 0) == shard_magic && word(start, 1) == shard_version)
    refuse(label, "data.format is raw_u16, but the file has the header of an llm.c shard; set data.format to auto");
  if (file_bytes % 2 != 0) {
    refuse(label,
           fmt::format("has {} bytes, but raw_u16 has two bytes for each token; the file is cut short or holds something else",
                       file_bytes));
  }
  if (file_bytes >= 512 && looks_like_text(start))
    refuse(label, "is a text, not tokens; make shards of it with `temper data tokenize`");
  return {0, file_bytes / 2};
}

ShardLayout check_llmc(std::span<const std::byte> start, std::int64_t file_bytes, const std::string& label) {
  if (file_bytes < 4 || word(start, 0) != shard_magic) refuse(label, diagnose_foreign_file(start, file_bytes));
  if (file_bytes < shard_header_bytes) {
    refuse(label, fmt::format("is cut short: {} bytes, and the header alone has {}; copy or make the file again", file_bytes,
                              shard_header_bytes));
  }
  if (word(start, 1) != shard_version)
    refuse(label, fmt::format("has version {} at offset 4; known is version 1 (uint16 tokens)", word(start, 1)));
  const std::int64_t count = word(start, 2);
  if (count < 0) {
    refuse(label,
           fmt::format("has a token count of {} at offset 8; allowed is 0 to {}; the header is damaged", count, max_shard_tokens));
  }
  const std::int64_t expected = shard_header_bytes + 2 * count;
  if (file_bytes != expected) {
    refuse(
        label,
        fmt::format("is {}: the header promises {} tokens, which makes {} bytes, and the file has {}; copy or make the file again",
                    file_bytes < expected ? "cut short" : "too long", count, expected, file_bytes));
  }
  for (std::size_t index = 3; index < header_words; ++index) {
    if (word(start, index) != 0) {
      refuse(label, fmt::format("has {} at offset {}, where an llm.c shard of version 1 has zero; the header is damaged or of a "
                                "layout temper does not know",
                                word(start, index), 4 * index));
    }
  }
  return {shard_header_bytes, count};
}

struct stat status_of(const Descriptor& file, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw_failure("examine", path, errno);
  return status;
}

std::int64_t written_at(const struct stat& status) {
  return std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
}

// Bytes from `offset` on, fewer only at the end of the file; -1 and errno where they cannot be read.
std::int64_t read_at(const Descriptor& file, std::span<std::byte> to, std::int64_t offset) {
  std::size_t done = 0;
  while (done < to.size()) {
    const ssize_t count = ::pread(file.get(), to.data() + done, to.size() - done, offset + static_cast<std::int64_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return -1;
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  return static_cast<std::int64_t>(done);
}

}  // namespace

ShardLayout check_shard(std::span<const std::byte> start, std::int64_t file_bytes, ShardFormat format, const std::string& label) {
  return format == ShardFormat::raw_u16 ? check_raw(start, file_bytes, label) : check_llmc(start, file_bytes, label);
}

Shard::Shard(const std::filesystem::path& path, ShardFormat format, const Look& look)
    : path_(path), file_(open_descriptor(path, O_RDONLY | O_NONBLOCK)) {  // of a pipe that nobody writes to, open() would wait
  if (!file_) throw_failure("open", path, errno);
  const struct stat status = status_of(file_, path);
  if (!S_ISREG(status.st_mode)) refuse(path.string(), "is no regular file; name files that hold tokens");
  file_bytes_ = status.st_size;
  written_at_ = written_at(status);
  std::array<std::byte, shard_header_bytes> start;
  const std::int64_t count = read_at(file_, start, 0);
  if (count < 0) throw_failure("read", path, errno);
  layout_ = check_shard(std::span(start).first(static_cast<std::size_t>(count)), file_bytes_, format, path.string());
  sampled_ = sample(look);
}

void Shard::lose(const std::string& what) const {
  refuse(path_.string(), what +
                             ", while it was in use; put it back as it was, or make it again (`temper data verify` compares "
                             "shards with the record of their making)");
}

void Shard::read_unchecked(std::int64_t first, std::span<std::uint16_t> to) const {
  const std::int64_t offset = layout_.first_byte + 2 * first;
  const std::int64_t count = read_at(file_, std::as_writable_bytes(to), offset);
  if (count < 0) lose(fmt::format("could not be read at offset {} ({})", offset, std::strerror(errno)));
  if (count < static_cast<std::int64_t>(to.size_bytes())) lose(fmt::format("was cut short to less than its {} bytes", file_bytes_));
}

void Shard::read(std::int64_t first, std::span<std::uint16_t> to) const {
  read_unchecked(first, to);
  // After reading: what was written before has changed the time by now.
  const struct stat now = status_of(file_, path_);
  if (now.st_size != file_bytes_) lose(fmt::format("went from {} to {} bytes", file_bytes_, now.st_size));
  const std::int64_t time = written_at(now);
  if (time == written_at_) return;
  // A new time alone may come from touch(1), which is how files are kept from a cleaner of scratch disks.
  if (sample({}) != sampled_) lose("was overwritten");
  tell("warning: " + path_.string() +
       ": was written to or touched while in use; its ends and samples are as they were, `temper data "
       "verify` compares all of it with the record of its making");
  written_at_ = time;
}

std::string Shard::sample(const Look& look) const {
  constexpr std::int64_t end_tokens = (1 << 20) / 2;
  constexpr std::int64_t sample_tokens = 4096 / 2;
  constexpr std::int64_t samples = 16;
  std::string text = std::to_string(tokens());
  std::vector<std::uint16_t> part;
  const auto add = [&](std::int64_t begin, std::int64_t end) {
    part.resize(static_cast<std::size_t>(end - begin));
    read_unchecked(begin, part);
    if (look) look(begin, part);
    text += ' ' + hash_bytes({reinterpret_cast<const char*>(part.data()), 2 * part.size()});
  };
  const std::int64_t between = tokens() - 2 * end_tokens - sample_tokens;
  if (between <= (samples - 1) * sample_tokens) {
    add(0, tokens());
    return text;
  }
  add(0, end_tokens);
  for (std::int64_t index = 0; index < samples; ++index) {
    const std::int64_t begin = end_tokens + between / (samples - 1) * index;
    add(begin, begin + sample_tokens);
  }
  add(tokens() - end_tokens, tokens());
  return text;
}

struct ShardWriter::State {
  std::filesystem::path path;
  std::filesystem::path temporary;
  std::optional<FileWriter> file;
  std::int64_t tokens = 0;

  // The header is all zeros, a file that no reader accepts, until the last token is durable.
  void complete_header() {
    std::array<std::int32_t, 3> words = {shard_magic, shard_version, static_cast<std::int32_t>(tokens)};
    const Descriptor descriptor = open_descriptor(temporary, O_WRONLY);
    if (!descriptor) throw_failure("open", temporary, errno);
    if (const int error_number = write_all(descriptor.get(), words.data(), sizeof words))
      throw_failure("write", temporary, error_number);
    if (::fsync(descriptor.get()) != 0) throw_failure("synchronise", temporary, errno);
  }
};

ShardWriter::ShardWriter(const std::filesystem::path& path) : state_(std::make_unique<State>()) {
  state_->path = path;
  state_->temporary = path;
  state_->temporary += ".tmp";
  state_->file.emplace(state_->temporary);
  const std::array<std::int32_t, header_words> header = {};
  state_->file->write(header.data(), sizeof header);
}

ShardWriter::~ShardWriter() = default;

void ShardWriter::append(std::span<const std::uint16_t> tokens) {
  if (static_cast<std::int64_t>(tokens.size()) > max_shard_tokens - state_->tokens) {
    throw Error(ExitCode::data, "{}: a shard holds at most {} tokens; choose a smaller shard size", state_->path.string(),
                max_shard_tokens);
  }
  state_->file->write(tokens.data(), tokens.size_bytes());
  state_->tokens += static_cast<std::int64_t>(tokens.size());
}

std::int64_t ShardWriter::token_count() const { return state_->tokens; }

void ShardWriter::close() {
  state_->file->close();
  try {
    state_->complete_header();
    if (::rename(state_->temporary.c_str(), state_->path.c_str()) != 0) throw_failure("replace", state_->path, errno);
  } catch (...) {
    ::unlink(state_->temporary.c_str());
    throw;
  }
  sync_folder(state_->path.parent_path());
}

namespace {

// `folder` and all below it. Folders that are links are left out, since they may lead in circles, and so are hidden ones.
void add_folders(const std::filesystem::path& folder, std::set<std::string>& found) {
  found.insert(folder.string());
  std::error_code unreadable;
  const std::filesystem::path read = folder.empty() ? "." : folder;
  for (const auto& entry : std::filesystem::directory_iterator(read, unreadable)) {
    const std::filesystem::path name = entry.path().filename();
    if (entry.symlink_status(unreadable).type() == std::filesystem::file_type::directory && !name.string().starts_with('.'))
      add_folders(folder / name, found);
  }
}

// What a pattern stands for, part by part, so that a name which exists is taken as it is wherever it stands.
std::set<std::string> matches_of(const std::filesystem::path& pattern) {
  if (pattern.filename() == "**") return matches_of(pattern / "*");
  std::set<std::string> found = {""};
  bool any_depth = false;
  for (const std::filesystem::path& part : pattern) {
    any_depth = any_depth || part == "**";
    std::set<std::string> longer;
    for (const std::filesystem::path folder : found) {
      std::error_code ignored;
      if (std::filesystem::exists(folder / part, ignored)) {
        longer.insert((folder / part).string());
      } else if (part == "**") {
        add_folders(folder, longer);
      } else if (part.string().find_first_of("*?[") != std::string::npos) {
        for (const auto& entry : std::filesystem::directory_iterator(folder.empty() ? "." : folder, ignored)) {
          const std::filesystem::path name = entry.path().filename();
          if (::fnmatch(part.c_str(), name.c_str(), FNM_PERIOD) == 0) longer.insert((folder / name).string());
        }
      }
    }
    found = std::move(longer);
  }
  if (any_depth) std::erase_if(found, [](const std::string& match) { return std::filesystem::is_directory(match); });
  return found;
}

}  // namespace

std::vector<std::filesystem::path> expand_globs(const std::vector<std::string>& patterns) {
  std::vector<std::filesystem::path> files;
  std::map<std::filesystem::path, std::string> seen;
  for (const std::string& pattern : patterns) {
    const std::set<std::string> matches = pattern.empty() ? std::set<std::string>() : matches_of(pattern);
    if (matches.empty())
      throw Error(ExitCode::data, "no file matches \"{}\"; give a path or a pattern such as data/*.bin or data/**/*.bin", pattern);
    for (const std::string& match : matches) {
      if (std::filesystem::is_directory(match)) {
        throw Error(ExitCode::data, "{}: is a folder; name its files, for instance {}", match,
                    (std::filesystem::path(match) / "*").string());
      }
      std::error_code is_pipe;  // which has no name of its own
      const std::filesystem::path place = std::filesystem::canonical(match, is_pipe);
      const auto [earlier, is_new] = seen.emplace(is_pipe ? std::filesystem::path(match) : place, match);
      if (!is_new)
        throw Error(ExitCode::data, "{}: the same file is named twice (first as {}); name it once", match, earlier->second);
      files.emplace_back(match);
    }
  }
  return files;
}

}  // namespace temper
