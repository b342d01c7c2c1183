// What a set of shards was made of: NAME.json beside NAME_train_000000.bin, NAME_val_000000.bin, ... It depends on the texts, the
// tokenizer and the way documents are split, on nothing else, so equal input gives equal bytes.
// And who reads or writes such sets: where shards come from, a series of them, the tokenizer that they have in common.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
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

/// What was met in a text.
struct TextFindings {
  std::int64_t documents = 0;      ///< that were taken
  std::int64_t invalid_bytes = 0;  ///< that were not UTF-8, and became U+FFFD
  std::int64_t skipped = 0;        ///< lines of JSON, or documents of a text, that were left out
  std::string first_bad;           ///< "line 7: ...", empty if there is nothing of these two
  std::int64_t marks = 0;          ///< <|endoftext|> in the text, taken as text

  /// Of a later part of the text.
  void add(const TextFindings& later);
};

struct SourceRecord {
  std::string file;  ///< name without folder
  std::int64_t bytes = 0;
  std::string hash;  ///< XXH3-128
  std::string kind;  ///< "text", "JSON lines in gzip"
  TextFindings found;
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

/// Writes one split as shards of equal size, NAME_train_000000.bin and on. A shard is begun when there is a token for it, so an
/// empty stream makes no file. What of it stays after an error is the caller's to remove.
class ShardSeries {
 public:
  /// `shard_tokens`: 1 to max_shard_tokens; documents run over from one shard to the next, as in llm.c.
  ShardSeries(std::filesystem::path folder, std::string name, Split split, std::int64_t shard_tokens);

  void append(std::span<const std::uint16_t> tokens);
  /// Completes the last shard.
  void close();
  /// The shards written, in order.
  const std::vector<ShardRecord>& shards() const { return shards_; }

 private:
  void finish_shard();

  std::filesystem::path folder_;
  std::string name_;
  Split split_;
  std::int64_t shard_tokens_;
  std::unique_ptr<ShardWriter> writer_;
  std::vector<ShardRecord> shards_;
};

/// Which tokenizer things belong to, compared wherever tokens meet tokens or a model: the number of a token means nothing without
/// the tokenizer it came from, and a model that reads others' numbers gives a loss all the same.
class TokenizerIdentity {
 public:
  /// `thing` goes with the tokenizer of this hash (Tokenizer::hash); empty where that is not known. A hash unlike that of something
  /// added before: Error(ExitCode::data) that names both things and both hashes.
  void add(const std::string& thing, const std::string& hash);
  /// All shards of one use, called `use` in errors ("data.train"), by the sidecars they have.
  void add_shards(const std::string& use, const ShardOrigins& origins);

  /// Empty while nothing is known.
  const std::string& hash() const { return hash_; }
  /// What could not be compared though others could ("data.val: 2 of 8 shards have no record of their tokenizer (...)"), and shards
  /// that a sidecar lists and nobody finds.
  std::vector<std::string> notes() const;

 private:
  std::string thing_;  // the first whose hash is known
  std::string hash_;
  std::vector<std::string> absent_, unknown_;
};

}  // namespace temper
