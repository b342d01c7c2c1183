#include "data/shard.h"

#include <fcntl.h>
#include <glob.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <optional>

#include "data/shard_diagnosis.h"
#include "io/descriptor.h"
#include "io/error.h"

namespace temper {
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

std::span<const std::uint16_t> as_tokens(std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  return {reinterpret_cast<const std::uint16_t*>(bytes.data()), bytes.size() / 2};
}

std::span<const std::uint16_t> parse_raw(std::span<const std::byte> file, const std::string& label) {
  if (file.size() >= static_cast<std::size_t>(shard_header_bytes) && word(file, 0) == shard_magic &&
      word(file, 1) == shard_version) {
    refuse(label, "data.format is raw_u16, but the file has the header of an llm.c shard; set data.format to auto");
  }
  if (file.size() % 2 != 0) {
    refuse(label, "has " + std::to_string(file.size()) +
                      " bytes, but raw_u16 has two bytes for each token; the file is cut short or " + "holds something else");
  }
  if (file.size() >= 512 && looks_like_text(file))
    refuse(label, "is a text, not tokens; make shards of it with `temper data tokenize`");
  return as_tokens(file);
}

std::span<const std::uint16_t> parse_llmc(std::span<const std::byte> file, const std::string& label) {
  if (file.size() < 4 || word(file, 0) != shard_magic) refuse(label, diagnose_foreign_file(file));
  if (file.size() < static_cast<std::size_t>(shard_header_bytes)) {
    refuse(label, "is cut short: " + std::to_string(file.size()) + " bytes, and the header alone has " +
                      std::to_string(shard_header_bytes) + "; copy or make the file again");
  }
  if (word(file, 1) != shard_version) {
    refuse(label, "has version " + std::to_string(word(file, 1)) + " at offset 4; known is version 1 (uint16 tokens)");
  }
  const std::int64_t count = word(file, 2);
  if (count < 0) {
    refuse(label, "has a token count of " + std::to_string(count) + " at offset 8; allowed is 0 to " +
                      std::to_string(max_shard_tokens) + "; the header is damaged");
  }
  const std::int64_t expected = shard_header_bytes + 2 * count;
  const auto actual = static_cast<std::int64_t>(file.size());
  if (actual != expected) {
    refuse(label, "is " + std::string(actual < expected ? "cut short" : "too long") + ": the header promises " +
                      std::to_string(count) + " tokens, which makes " + std::to_string(expected) + " bytes, and the file has " +
                      std::to_string(actual) + "; copy or make the file again");
  }
  for (std::size_t index = 3; index < header_words; ++index) {
    if (word(file, index) != 0) {
      refuse(label, "has " + std::to_string(word(file, index)) + " at offset " + std::to_string(4 * index) +
                        ", where an llm.c shard of version 1 has zero; the header is damaged or of a layout temper does not know");
    }
  }
  return as_tokens(file.subspan(static_cast<std::size_t>(shard_header_bytes)));
}

}  // namespace

ShardFormat parse_shard_format(const std::string& name) {
  if (name == "auto") return ShardFormat::automatic;
  if (name == "raw_u16") return ShardFormat::raw_u16;
  throw Error(ExitCode::usage, "unknown shard format \"" + name + "\"; allowed are auto (llm.c's shards) and raw_u16 (headerless)");
}

std::span<const std::uint16_t> parse_shard(std::span<const std::byte> file, ShardFormat format, const std::string& label) {
  if (reinterpret_cast<std::uintptr_t>(file.data()) % alignof(std::uint16_t) != 0) {
    throw std::invalid_argument("parse_shard: the image is not aligned to two bytes");
  }
  return format == ShardFormat::raw_u16 ? parse_raw(file, label) : parse_llmc(file, label);
}

Shard::Shard(const std::filesystem::path& path, ShardFormat format)
    : path_(path), file_(path), tokens_(parse_shard(file_.bytes(), format, path.string())) {}

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
    if (const int error_number = write_all(descriptor.get(), words.data(), sizeof words)) {
      throw_failure("write", temporary, error_number);
    }
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
    throw Error(ExitCode::data, state_->path.string() + ": a shard holds at most " + std::to_string(max_shard_tokens) +
                                    " tokens; choose a smaller shard size");
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

std::vector<std::filesystem::path> expand_globs(const std::vector<std::string>& patterns) {
  std::vector<std::filesystem::path> files;
  std::map<std::filesystem::path, std::string> seen;
  for (const std::string& pattern : patterns) {
    std::vector<std::string> matches;
    // A name that exists is that file, whatever characters it has.
    if (std::error_code ignored; std::filesystem::exists(pattern, ignored)) {
      matches.push_back(pattern);
    } else {
      glob_t found = {};
      const int status = ::glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found);
      for (std::size_t index = 0; index < found.gl_pathc; ++index) matches.emplace_back(found.gl_pathv[index]);
      ::globfree(&found);
      if (status == GLOB_NOSPACE) throw std::bad_alloc();
      if (status != 0)
        throw Error(ExitCode::data, "no file matches \"" + pattern + "\"; give a path or a pattern such as data/*.bin");
    }
    std::sort(matches.begin(), matches.end());
    for (const std::string& match : matches) {
      if (std::filesystem::is_directory(match)) {
        throw Error(ExitCode::data,
                    match + ": is a folder; name its files, for instance " + (std::filesystem::path(match) / "*").string());
      }
      const auto [earlier, is_new] = seen.emplace(std::filesystem::canonical(match), match);
      if (!is_new) {
        throw Error(ExitCode::data, match + ": the same file is named twice (first as " + earlier->second + "); name it once");
      }
      files.emplace_back(match);
    }
  }
  return files;
}

}  // namespace temper
