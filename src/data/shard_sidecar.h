// What a set of shards was made of: NAME.json beside NAME_train_000000.bin, NAME_val_000000.bin, ... It depends on the texts, the
// tokenizer and the way documents are split, on nothing else, so equal input gives equal bytes.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "data/shard.h"

namespace temper {

enum class Split { train = 0, validation = 1 };

/// "train" or "val", as in shards' names.
const char* split_name(Split split);

struct ShardRecord {
  std::string file;  ///< name without folder
  std::int64_t tokens = 0;
  std::string hash;     ///< XXH3-128 of the whole file
  std::string sampled;  ///< of Shard::sampled(), which takes milliseconds to compare
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
  std::string hash;                ///< XXH3-128
  std::int64_t invalid_bytes = 0;  ///< that were not UTF-8, and became U+FFFD
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

/// The record of a finished shard.
ShardRecord describe_shard(const std::filesystem::path& path);

void write_sidecar(const std::filesystem::path& path, const Sidecar& sidecar);
/// Damaged: Error(ExitCode::data).
Sidecar parse_sidecar(const std::string& json, const std::string& label);

/// A shard's place in the sidecar beside it.
struct SidecarEntry {
  std::filesystem::path path;  ///< of the sidecar
  const Sidecar* sidecar = nullptr;
  const ShardRecord* shard = nullptr;
};

/// What the sidecars beside a set of shards say of it. Each is read once.
class ShardOrigins {
 public:
  /// Looks for the shard in the sidecar beside it; none where it came without one. Error(ExitCode::data) for a shard whose length
  /// or samples are not those of its record, one with the name of a set whose sidecar does not list it, and a damaged sidecar. What
  /// is returned points into this.
  std::optional<SidecarEntry> add(const Shard& shard);

  const std::map<std::filesystem::path, Sidecar>& sidecars() const { return sidecars_; }  ///< by path
  const std::vector<std::filesystem::path>& unrecorded() const { return unrecorded_; }    ///< shards without one
  std::size_t shards() const { return shards_; }                                          ///< in all
  std::vector<std::filesystem::path> absent() const;  ///< that a sidecar lists, in a split of which there are others
  /// Of text, in the splits these shards are of: nats per token / (this * ln 2) is bits per byte. None if a shard is unrecorded.
  std::optional<double> bytes_per_token() const;

 private:
  std::map<std::filesystem::path, Sidecar> sidecars_;
  std::set<std::pair<std::filesystem::path, Split>> splits_;  // that were met
  std::vector<std::filesystem::path> unrecorded_;
  std::size_t shards_ = 0;
};

}  // namespace temper
