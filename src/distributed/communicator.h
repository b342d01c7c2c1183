// Collectives of a data-parallel run on device buffers.
//
// They are queued in the order of the calls, which is the same on all ranks, and return at once; each begins when the device work
// that was queued before the call is done. wait() makes device work that is queued after it see the results; until then nobody but
// the collective touches the buffer. They are no part of a recording: not to be called inside Ops::replay. One thread makes all
// calls.
//
// Sums are taken in an order that depends on the ranks' numbers alone: the same ranks give the same bits, whatever the network does
// and however a buffer is cut. Over MPI it is rank order, ((r0 + r1) + r2) + ...; NCCL's own order is fixed for a fixed world size,
// on the same machines, with NCCL_ALGO=Ring.
//
// Everything may throw Error(ExitCode::distributed) naming the rank that is gone, or this rank, the collective, the time it waited
// and the ranks that did not come. What went wrong is found on a thread beside the main one; it writes the message to stderr at
// once, since a launcher that saw the same may end this process any moment, and the next call throws it. After that nothing but the
// end of the process is useful: destroy the communicator within 5 s, or it ends the process itself with exit code 7, and leave main
// through _exit(code), as after every run of several ranks: a library that still waits for others has no say in when a process
// ends.
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

/// `count` elements in `size` shards of equal length, but for one element.
Shards even_shards(std::int64_t count, std::int64_t size);

class Communicator {
 public:
  /// Waits for what is queued and for the other ranks to come here too, no longer than the timeout; where something failed, or an
  /// exception is on its way, it waits for nobody and tells the others.
  virtual ~Communicator() = default;

  virtual std::int64_t rank() const = 0;
  virtual std::int64_t size() const = 0;
  virtual std::string description() const = 0;  ///< "Open MPI 4.1.4, 4 ranks on 2 hosts"

  /// values (f32) = sum over ranks of values. `what` names it in errors.
  virtual void all_reduce(TensorView values, const std::string& what) = 0;
  /// The same of `count` f64 in device memory, for sums of statistics.
  virtual void all_reduce(double* values, std::int64_t count, const std::string& what) = 0;
  /// values (f32): this rank's shard = the same sum; the other elements are left undefined.
  virtual void reduce_scatter(TensorView values, const Shards& shards, const std::string& what) = 0;
  /// sum (f32, as long as this rank's shard) = ((sum + r0) + r1) + ...: every rank's values of that shard, added in rank order. So
  /// a sum over things that are dealt out to ranks in turn has the same bits for any number of ranks. In host memory only: over
  /// NCCL it is Error(ExitCode::usage).
  virtual void accumulate(TensorView values, const Shards& shards, TensorView sum, const std::string& what) = 0;
  /// values (any type): each shard as its rank has it, on all ranks. Shards in elements.
  virtual void all_gather(TensorView values, const Shards& shards, const std::string& what) = 0;

  /// Device work queued from now on sees the results of all collectives so far. On a CPU, where work is done when its call returns,
  /// this waits.
  virtual void wait() = 0;
  /// Throws what went wrong so far, without waiting. A device that runs behind the host computes with what a failed collective
  /// left: call this after reading results from it and before believing them.
  virtual void check() = 0;

  /// Host side: what each rank gave, by rank. Does not touch the device. Deadlines as the collectives'.
  virtual std::vector<std::string> exchange(const std::string& mine, const std::string& what) = 0;
  /// Returns when all ranks have called it, however long another rank takes: for what is no collective, as saving a checkpoint; a
  /// rank that is lost meanwhile ends it all the same.
  virtual void meet(const std::string& what) = 0;
  /// This rank ends for a reason of its own, which the others are told: they throw and name it. To be called with the message of an
  /// error that the others do not find by themselves.
  virtual void fail(const std::string& reason) noexcept = 0;
};

/// What a run by itself uses: collectives of one rank, which do nothing.
std::unique_ptr<Communicator> make_self_communicator();
/// Rank 0 of so many that are not there, for plans: its collectives do nothing.
std::unique_ptr<Communicator> make_planned_communicator(std::int64_t ranks);

struct CommunicatorSettings {
  /// How long a collective waits without anything coming in, and an exchange for all ranks to come.
  std::chrono::milliseconds timeout = std::chrono::minutes(2);
  PeerSettings peers;
};

/// Whether this build has them.
bool mpi_is_built();
bool nccl_is_built();

/// MPI on host memory; at most one in the life of a process. Initializes MPI and meets the peers; `key` as in Peers. The process
/// must have been started by mpirun, or srun with a PMI that the MPI library speaks: Error(ExitCode::usage) where MPI counts the
/// ranks differently than `launch`. In a build without MPI: Error(ExitCode::usage) that says how to get one.
///
/// A thread of its own makes all calls of MPI. It takes up to 32 MiB of memory, whatever the number of ranks.
///
/// mpirun needs no option for failures: the ranks notice a lost one before mpirun ends them, and each says which ("temper: rank 1
/// on HOST is gone"); what mpirun itself says at the end is only who was first to go. Not `--enable-recovery`: with it mpirun waits
/// for ever for a rank that is stopped, and returns 0. `--bind-to none` gives a rank more than one processor.
std::unique_ptr<Communicator> make_mpi_communicator(const Launch& launch, const std::string& key,
                                                    const CommunicatorSettings& settings);
/// NCCL on the memory of `ops`, which must be a CUDA device and outlive it; needs no MPI, but launch.address where there are
/// several ranks: Error(ExitCode::usage) without, or in a build without NCCL.
std::unique_ptr<Communicator> make_nccl_communicator(const Launch& launch, const std::string& key,
                                                     const CommunicatorSettings& settings, Ops& ops);

}  // namespace temper
