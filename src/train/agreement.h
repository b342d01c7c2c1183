// What the ranks of a run must see in one way, though each may know something else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "distributed/communicator.h"
#include "io/error.h"
#include "kernels/ops.h"
#include "model/weights.h"

namespace temper {

/// An error that all ranks throw together: none is another's reason to end.
class SharedError : public Error {
 public:
  using Error::Error;
};

/// Throws SharedError on each rank, once all are there.
[[noreturn]] void fail_together(Communicator& ranks, ExitCode code, const std::string& message);

/// Something that is known by a short text, the same on all ranks where it is the same thing.
struct Fingerprint {
  std::string name;   ///< "the training data"
  std::string value;  ///< a hash, or what there is to say in its place; a host is named beside it
};

/// Compares what each rank has in its place with what rank 0 has. Any difference: SharedError(ExitCode::data) on all ranks, which
/// names the ranks, their hosts, and what differs. All ranks give the same names in the same order.
void compare_fingerprints(Communicator& ranks, const std::vector<Fingerprint>& mine);

/// Whether any of the ranks has a reason to stop, a signal or one of its own: the same answer on all of them.
bool asked_to_stop(Communicator& ranks, bool reason_here = false);

/// Rank 0's text, on all ranks.
std::string text_of_first(Communicator& ranks, const std::string& mine, const std::string& what);

/// Hash of the weights that the model reads. Waits for the device.
std::string hash_of(const Weights& weights, Ops& ops);

/// Compares the weights that the models read, to the bit, by their hashes. Error(ExitCode::distributed) names the ranks that differ
/// from rank 0.
void compare_weights(Communicator& ranks, const Weights& weights, Ops& ops, std::int64_t step);

}  // namespace temper
