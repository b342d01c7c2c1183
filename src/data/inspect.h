// What token shards hold: a full scan of each, for `temper data inspect`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/shard.h"
#include "data/tokenizer.h"

namespace temper {

struct InspectSettings {
  std::vector<std::string> files;  ///< paths and globs
  ShardFormat format = ShardFormat::automatic;
  const Tokenizer* tokenizer = nullptr;  ///< with one, tokens are shown as text and checked against its vocabulary
  std::int64_t top = 10;                 ///< how many of the most frequent tokens
  std::int64_t first = 64;               ///< how many of each shard's first tokens
};

struct TokenCount {
  std::uint16_t token = 0;
  std::int64_t count = 0;
};

struct ShardReport {
  std::filesystem::path path;
  std::int64_t file_bytes = 0;
  std::int64_t tokens = 0;
  std::int64_t documents = 0;             ///< <|endoftext|> tokens
  std::optional<std::uint16_t> smallest;  ///< none in an empty shard
  std::optional<std::uint16_t> largest;
  std::vector<std::uint32_t> first;
  std::optional<std::filesystem::path> sidecar;  ///< that lists the shard; its hash of the file was compared
  std::string tokenizer_hash;                    ///< as the sidecar has it
};

struct InspectReport {
  ShardFormat format = ShardFormat::automatic;
  std::vector<ShardReport> shards;
  std::int64_t tokens = 0;
  std::int64_t documents = 0;
  std::int64_t distinct = 0;
  std::uint32_t end_of_text = 0;  ///< the tokenizer's, else the sidecar's, else GPT-2's 50256
  std::vector<TokenCount> top;    ///< of all shards, most frequent first, ties by id
};

/// Reads all tokens. Damaged shards, a shard whose contents are not those its sidecar has the hash of, a tokenizer that is not
/// the sidecar's, a token outside the tokenizer's vocabulary: Error(ExitCode::data).
InspectReport inspect_shards(const InspectSettings& settings);

/// Compares each shard (paths and globs) with the record of its making, whole, and looks for shards that a sidecar lists and that
/// are not there. `say` is told each shard and what was found ("ok", what is wrong, or that there is no record). Anything but "ok":
/// Error(ExitCode::data) at the end.
void verify_shards(const std::vector<std::string>& files, const std::function<void(const std::string&)>& say);

/// For people to read. `tokenizer` may be null. Control characters in tokens are escaped, so that no shard can command a terminal.
std::string to_text(const InspectReport& report, const Tokenizer* tokenizer);

/// `text` in one line: control and invisible characters as \n, \t, \r or \xNN, backslash doubled, bytes that are not UTF-8 as U+FFFD.
std::string escape_for_terminal(std::string_view text);

}  // namespace temper
