// What a set of shards was made of: NAME.json beside NAME_train_000000.bin, NAME_val_000000.bin, ... It depends on the texts, the
// tokenizer and the way documents are split, on nothing else, so equal input gives equal bytes.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace temper {

enum class Split { train = 0, validation = 1 };

/// "train" or "val", as in shards' names.
const char* split_name(Split split);

struct ShardRecord {
  std::string file;  ///< name without folder
  std::int64_t tokens = 0;
  std::string hash;  ///< XXH3-128 of the whole file
};

struct SplitRecord {
  std::int64_t tokens = 0;     ///< with one <|endoftext|> for each document
  std::int64_t documents = 0;  ///< a document cut between the splits counts in both
  std::int64_t bytes = 0;      ///< of text, without separators and JSON
  std::vector<ShardRecord> shards;
};

struct SourceRecord {
  std::string file;  ///< name without folder
  std::int64_t bytes = 0;
  std::string hash;  ///< XXH3-128
};

struct Sidecar {
  std::string tokenizer_hash;
  std::int64_t vocab_size = 0;
  std::int64_t end_of_text = 0;
  std::vector<SourceRecord> sources;
  std::array<SplitRecord, 2> splits;  ///< by Split

  SplitRecord& split(Split which) { return splits[static_cast<std::size_t>(which)]; }
  const SplitRecord& split(Split which) const { return splits[static_cast<std::size_t>(which)]; }
};

/// FOLDER/NAME.json, FOLDER/NAME_train_000000.bin
std::filesystem::path sidecar_path(const std::filesystem::path& folder, const std::string& name);
std::filesystem::path shard_path(const std::filesystem::path& folder, const std::string& name, Split split, std::int64_t number);

void write_sidecar(const std::filesystem::path& path, const Sidecar& sidecar);
/// Damaged: Error(ExitCode::data).
Sidecar parse_sidecar(const std::string& json, const std::string& label);

/// A shard's place in the sidecar beside it.
struct SidecarEntry {
  std::filesystem::path path;  ///< of the sidecar
  Sidecar sidecar;
  Split split = Split::train;
  ShardRecord shard;
};

/// The sidecar that lists `shard`; none for a shard that came without one. A shard whose length is not the one listed, or a damaged
/// sidecar: Error(ExitCode::data).
std::optional<SidecarEntry> find_sidecar(const std::filesystem::path& shard);

/// What a trainer wants to know of its data.
struct ShardOrigin {
  std::string tokenizer_hash;
  std::int64_t vocab_size = 0;
  double bytes_per_token = 0.0;  ///< of text, in the splits these shards are of: nats per token / (this * ln 2) is bits per byte
};

/// From the sidecars of these shards; none if one of them has none. Shards made with different tokenizers: Error(ExitCode::data).
std::optional<ShardOrigin> read_sidecar(const std::vector<std::filesystem::path>& shards);

}  // namespace temper
