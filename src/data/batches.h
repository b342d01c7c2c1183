// Batches for training and validation: windows of T+1 tokens cut from shards, in file order or in an order drawn by a
// counter-based permutation. What a batch holds depends only on (files, seed, position), so a position is all that
// resuming needs, and any rank can compute its own part.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/shard.h"
#include "data/shard_sidecar.h"

namespace temper {

/// A pseudo-random order of 0 .. size-1 that needs no memory: a Feistel network over the smallest even number of bits that holds
/// the index, applied again until the result is below `size` (cycle walking; Black and Rogaway, "Ciphers with arbitrary finite
/// domains", CT-RSA 2002). The round function is Philox, so the order is a pure function of (size, seed, epoch).
class Permutation {
 public:
  /// size >= 1.
  Permutation(std::uint64_t size, std::uint64_t seed, std::uint32_t epoch);

  /// Where `index` (below size) goes: a bijection of 0 .. size-1. On average at most four passes of the network.
  std::uint64_t operator()(std::uint64_t index) const;

 private:
  std::uint64_t encrypt(std::uint64_t value) const;

  std::uint64_t size_;
  std::uint64_t seed_;
  std::uint32_t epoch_;
  int half_bits_;
};

/// A micro-batch: inputs[i] is followed by targets[i]; both [sequences * n_ctx], row-major, ids below vocab_size.
struct Batch {
  std::vector<std::int32_t> inputs;
  std::vector<std::int32_t> targets;
};

/// Micro-batches of equal size at equal distances: number m is windows [first + m * stride, ... + count).
struct BatchPlan {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t stride = 0;
  std::int64_t batches = 1;
  bool operator==(const BatchPlan&) const = default;
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
  /// Opens and checks all shards, also against the sidecars beside them. The stream is the shards' tokens end to end; window w
  /// covers tokens w*T .. w*T+T (the last one a target only), so there are (tokens - 1) / T windows an epoch. None:
  /// Error(ExitCode::data) with the numbers. The tokens that the fingerprint reads are checked against the vocabulary here, so that
  /// most misfits show before step 1.
  explicit BatchSource(const BatchSettings& settings);
  ~BatchSource();

  std::int64_t tokens() const;
  std::int64_t windows_per_epoch() const;
  const ShardOrigins& origins() const;

  /// Hash of each shard's token count and of samples of its tokens (the first and the last MiB and 16 pieces of 4 KiB between
  /// them), in order: changes when the data or its order does, not when files are moved. 32 hex digits.
  const std::string& fingerprint() const;

  /// The windows [first, first + count) of the endless sequence of epochs, counted from 0; with shuffle each epoch has its own
  /// permutation. Throws Error(ExitCode::data) on a token out of range and on a shard that was lost or changed meanwhile, before
  /// anyone sees the batch. Safe from many threads.
  void read(std::int64_t first, std::int64_t count, Batch& batch) const;

  /// All batches of a plan as read() makes them, but from a thread that has fetched ahead, and goes on with those of `next`. Any
  /// others than the previous call announced are read on the spot. An error met while fetching ahead is thrown by the call that
  /// asks for those batches. From one thread at a time.
  void read_prefetched(const BatchPlan& wanted, const BatchPlan& next, std::vector<Batch>& batches);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace temper
