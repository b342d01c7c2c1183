// Batches for training and validation: windows of T+1 tokens cut from shards, in file order or in an order drawn by a
// counter-based permutation. What a batch holds depends only on (files, seed, position), so a position is all that
// resuming needs, and any rank can compute its own part.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/shard.h"

namespace temper {

/// A micro-batch: inputs[i] is followed by targets[i]; both [sequences * n_ctx], row-major, ids below vocab_size.
struct Batch {
  std::vector<std::int32_t> inputs;
  std::vector<std::int32_t> targets;
};

struct BatchSettings {
  std::vector<std::string> files;  ///< paths and globs
  ShardFormat format = ShardFormat::automatic;
  std::int64_t n_ctx = 0;
  std::int64_t vocab_size = 0;  ///< a token not below this: Error(ExitCode::data) with shard and position
  bool shuffle = false;
  std::uint64_t seed = 0;
};

class BatchSource {
 public:
  /// Maps and checks all shards. The stream is the shards' tokens end to end; window w covers tokens w*T .. w*T+T (the last one
  /// a target only), so there are (tokens - 1) / T windows an epoch. None: Error(ExitCode::data) with the numbers.
  explicit BatchSource(const BatchSettings& settings);
  ~BatchSource();

  std::int64_t tokens() const;
  std::int64_t windows_per_epoch() const;
  /// Hash over names' order, sizes and contents' samples of all shards: changes when the data does.
  const std::string& fingerprint() const;

  /// The windows [first, first + count) of the endless sequence of epochs, counted from 0; with shuffle each epoch has its own
  /// permutation. Throws Error(ExitCode::data) on a token out of range, before anyone sees the batch.
  void read(std::int64_t first, std::int64_t count, Batch& batch) const;

  /// As read(), but from a thread that has fetched ahead; `first` should follow the previous call's windows.
  void read_prefetched(std::int64_t first, std::int64_t count, Batch& batch);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace temper
