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

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/descriptor.h"
#include "io/file.h"

namespace temper {

enum class ShardFormat { automatic, raw_u16 };

inline constexpr std::int64_t shard_header_bytes = 1024;
inline constexpr std::int64_t max_shard_tokens = 2147483647;

/// Where the tokens of a shard lie.
struct ShardLayout {
  std::int64_t first_byte = 0;
  std::int64_t tokens = 0;
};

/// Checks a shard file of `file_bytes` bytes by its start: the first shard_header_bytes, or all of a shorter one.
/// Error(ExitCode::data) names `label`, what is wrong, the numbers, and the remedy. With `automatic` only llm.c's magic is
/// accepted. No tokens at all is a valid shard.
ShardLayout check_shard(std::span<const std::byte> start, std::int64_t file_bytes, ShardFormat format, const std::string& label);

/// A checked shard, open for reading. Files can be lost while a run of days reads them; where a map would end the process by a
/// signal, read() throws.
class Shard {
 public:
  /// Is shown tokens and the position of the first of them.
  using Look = std::function<void(std::int64_t position, std::span<const std::uint16_t> tokens)>;
  /// `look` is shown all that sampled() is made of.
  Shard(const std::filesystem::path& path, ShardFormat format, const Look& look = {});

  std::int64_t tokens() const { return layout_.tokens; }
  /// Tokens first, first + 1, ... as many as `to` has room for. Safe from many threads. A file that cannot be read any more, has
  /// another length than when it was opened, or was written to since and differs in what sampled() looks at: Error(ExitCode::data).
  void read(std::int64_t first, std::span<std::uint16_t> to) const;
  /// The token count and hashes of samples of the tokens: the first and the last MiB and 16 pieces of 4 KiB between them.
  const std::string& sampled() const { return sampled_; }
  const std::filesystem::path& path() const { return path_; }
  std::int64_t file_bytes() const { return file_bytes_; }

 private:
  std::string sample(const Look& look) const;
  void read_unchecked(std::int64_t first, std::span<std::uint16_t> to) const;
  [[noreturn]] void lose(const std::string& what) const;

  std::filesystem::path path_;
  Descriptor file_;
  std::int64_t file_bytes_ = 0;
  ShardLayout layout_;
  mutable std::atomic<std::int64_t> written_at_;  // the file's time in nanoseconds at which its samples were last compared
  std::string sampled_;
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

/// Files named by paths and globs, each pattern's matches sorted bytewise, in the patterns' order. `**` stands for folders of any
/// depth, also none; what exists under a name with such characters in it is taken as it is. A file named twice, under whatever
/// name, a folder, or a pattern without a match: Error(ExitCode::data).
std::vector<std::filesystem::path> expand_globs(const std::vector<std::string>& patterns);

// What a file is that was taken for a token shard or a text: common mistakes, recognised so that the message can say what to do.

inline constexpr std::int32_t shard_magic = 20240520;

/// Why a file of `file_bytes` bytes, which starts with `start` and not with the magic of a shard, is none, and the remedy; to
/// follow "NAME: ".
std::string diagnose_foreign_file(std::span<const std::byte> start, std::int64_t file_bytes);

/// What a file is that begins like one of a known format, neither text nor tokens, and the remedy; to follow "NAME: ".
std::optional<std::string> known_format(std::span<const std::byte> file);

/// Whether the first 512 bytes (or all, if fewer) are bytes of UTF-8 text: no control characters but white space, no byte that
/// UTF-8 never has. 256 tokens in a row that look so do not happen; a few may.
bool looks_like_text(std::span<const std::byte> file);

}  // namespace temper
