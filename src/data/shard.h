// Token shards: llm.c's layout (256 int32 header: magic 20240520, version 1, token count; then uint16 tokens), read and
// written; nanoGPT's headerless uint16, read. Files are checked before they are trusted.
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

/// Checks an image of a shard file and returns its tokens, which stay in `file`. Error(ExitCode::data) names `label`, what is
/// wrong, the numbers, and the remedy. With `automatic` only llm.c's magic is accepted.
std::span<const std::uint16_t> parse_shard(std::span<const std::byte> file, ShardFormat format, const std::string& label);

/// A checked, memory-mapped shard.
class Shard {
 public:
  Shard(const std::filesystem::path& path, ShardFormat format);
  std::span<const std::uint16_t> tokens() const { return tokens_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  MappedFile file_;
  std::span<const std::uint16_t> tokens_;
};

/// Writes one llm.c shard; the header is completed by close(), which makes the file durable under its name.
class ShardWriter {
 public:
  explicit ShardWriter(const std::filesystem::path& path);
  ~ShardWriter();
  void append(std::span<const std::uint16_t> tokens);
  std::int64_t token_count() const;
  void close();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Files named by paths and globs, each pattern's matches sorted, duplicates refused, at least one match for each.
std::vector<std::filesystem::path> expand_globs(const std::vector<std::string>& patterns);

}  // namespace temper
