// Collectives of a data-parallel run on device buffers.
//
// They are queued in the order of the calls, which is the same on all ranks, and return at once; each begins when the device work
// that was queued before the call is done. wait() makes device work that is queued after it see the results. Sums are taken in an
// order that depends on the ranks' numbers alone: the same ranks give the same bits, whatever the network does.
//
// Everything may throw Error(ExitCode::distributed) naming the rank that is gone, or this rank, the collective and the time it
// waited. After that nothing but the end of the process is useful; destructors do not wait for other ranks then.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "distributed/launch.h"
#include "distributed/peers.h"
#include "kernels/ops.h"
#include "kernels/tensor.h"

namespace temper {

/// Which elements of a flat buffer are whose: rank r has [begins[r], begins[r+1]). size + 1 of them, from 0 to all, never falling.
using Shards = std::vector<std::int64_t>;

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual std::int64_t rank() const = 0;
  virtual std::int64_t size() const = 0;
  virtual std::string description() const = 0;  ///< "Open MPI 4.1.4, 4 ranks on 2 hosts"

  /// values (f32 or f64) = sum over ranks of values, in rank order: ((r0 + r1) + r2) + ... `what` names it in errors.
  virtual void all_reduce(TensorView values, const std::string& what) = 0;
  /// values (f32): this rank's shard = the same sum; the other elements are left undefined.
  virtual void reduce_scatter(TensorView values, const Shards& shards, const std::string& what) = 0;
  /// values (any type): each shard as its rank has it, on all ranks. Shards in elements.
  virtual void all_gather(TensorView values, const Shards& shards, const std::string& what) = 0;
  /// values (any type) as rank 0 has them.
  virtual void broadcast(TensorView values, const std::string& what) = 0;

  /// Device work queued from now on sees the results of all collectives so far. On a CPU, where work is done when its call returns,
  /// this waits.
  virtual void wait() = 0;

  /// Host side: what each rank gave, by rank. Does not touch the device. Deadlines as the collectives'.
  virtual std::vector<std::string> exchange(const std::string& mine, const std::string& what) = 0;
  /// Returns when all ranks have called it, however long another rank takes: for what is no collective, as saving a checkpoint; a
  /// rank that is lost meanwhile ends it all the same.
  virtual void meet(const std::string& what) = 0;
};

/// What a run by itself uses: collectives of one rank, which do nothing.
std::unique_ptr<Communicator> make_self_communicator();

struct CommunicatorSettings {
  std::chrono::milliseconds timeout = std::chrono::minutes(2);  ///< for a collective
  PeerSettings peers;
};

/// MPI on host memory. Initializes MPI and meets the peers; `key` as in Peers. In a build without MPI: Error(ExitCode::usage) that
/// says how to get one.
std::unique_ptr<Communicator> make_mpi_communicator(const Launch& launch, const std::string& key,
                                                    const CommunicatorSettings& settings);
/// NCCL on the memory of `ops`, which must be a CUDA device; needs no MPI.
std::unique_ptr<Communicator> make_nccl_communicator(const Launch& launch, const std::string& key,
                                                     const CommunicatorSettings& settings, Ops& ops);

}  // namespace temper
