// What the ranks of a run must see in one way, though each may know something else.
#pragma once

#include <cstdint>
#include <string>

#include "distributed/communicator.h"
#include "kernels/ops.h"
#include "model/weights.h"

namespace temper {

/// Whether a signal asked any of the ranks to stop: the same answer on all of them.
bool asked_to_stop(Communicator& ranks);

/// Rank 0's text, on all ranks.
std::string text_of_first(Communicator& ranks, const std::string& mine, const std::string& what);

/// Compares the weights that the models read, to the bit, by their hashes. Error(ExitCode::distributed) names the ranks that differ
/// from rank 0. Waits for the device.
void compare_weights(Communicator& ranks, const Weights& weights, Ops& ops, std::int64_t step);

}  // namespace temper
