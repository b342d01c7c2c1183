// Token shards: llm.c's layout, read and written, and nanoGPT's headerless uint16, read. Files are checked before they are
// trusted.
//
// llm.c's layout (dev/data/data_common.py there), little-endian: 256 int32 of header, then the tokens as uint16.
//   word 0   magic 20240520
//   word 1   version 1
//   word 2   number of tokens, at most 2^31 - 1
//   others   zero; temper writes nothing there and refuses a file that has something there, so that with the length check
//            every damaged bit of a header is noticed. What else there is to say of a shard (tokenizer, sources, hashes) is in
//            the sidecar, data/shard_sidecar.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/file.h"

namespace temper {

enum class ShardFormat { automatic, raw_u16 };

inline constexpr std::int64_t shard_header_bytes = 1024;
inline constexpr std::int64_t max_shard_tokens = 2147483647;

/// "auto" and "raw_u16", as data.format has them. Another name: Error(ExitCode::usage).
ShardFormat parse_shard_format(const std::string& name);

/// Checks an image of a shard file and returns its tokens, which stay in `file`; its start must be aligned to two bytes, as
/// maps and allocations are. Error(ExitCode::data) names `label`, what is wrong, the numbers, and the remedy. With `automatic`
/// only llm.c's magic is accepted. No tokens at all is a valid shard.
std::span<const std::uint16_t> parse_shard(std::span<const std::byte> file, ShardFormat format, const std::string& label);

/// A checked, memory-mapped shard.
class Shard {
 public:
  Shard(const std::filesystem::path& path, ShardFormat format);
  std::span<const std::uint16_t> tokens() const { return tokens_; }
  const std::filesystem::path& path() const { return path_; }
  std::int64_t file_bytes() const { return static_cast<std::int64_t>(file_.bytes().size()); }

 private:
  std::filesystem::path path_;
  MappedFile file_;
  std::span<const std::uint16_t> tokens_;
};

/// Writes one llm.c shard. Until close() it has a temporary name (`path`.tmp), which is removed if close() is never reached;
/// close() completes the header, makes the file durable and gives it its name.
class ShardWriter {
 public:
  explicit ShardWriter(const std::filesystem::path& path);
  ~ShardWriter();
  /// More than max_shard_tokens in all: Error(ExitCode::data).
  void append(std::span<const std::uint16_t> tokens);
  std::int64_t token_count() const;
  void close();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Files named by paths and globs, each pattern's matches sorted bytewise, in the patterns' order. A file named twice, under
/// whatever name, a folder, or a pattern without a match: Error(ExitCode::data).
std::vector<std::filesystem::path> expand_globs(const std::vector<std::string>& patterns);

}  // namespace temper
