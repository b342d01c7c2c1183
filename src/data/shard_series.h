// A stream of tokens written as a series of shards of equal size: NAME_train_000000.bin, NAME_train_000001.bin, ...
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/shard.h"
#include "data/shard_sidecar.h"

namespace temper {

/// Writes one split. A shard is begun when there is a token for it, so an empty stream makes no file. What of it
/// stays after an error is the caller's to remove.
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

}  // namespace temper
