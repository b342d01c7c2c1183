// `temper train --ranks N`: the ranks of one machine, without a launcher.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/process.h"

namespace temper {

/// Rank `rank` of `ranks` of one machine, told who it is as torchrun tells it: `words` in this environment, which has no word of
/// another launcher. Rank 0 is met at `port` of the loopback interface, by who knows the secret.
Command rank_command(const std::vector<std::string>& words, const std::vector<std::string>& environment, std::int64_t rank,
                     std::int64_t ranks, int port, const std::string& secret);

/// What the whole ends with: the first exit code that a rank has of its own, 7 where ranks only missed each other, 75 where they
/// saved on a signal.
int exit_code_of(const std::vector<ProcessEnd>& ranks);

/// Starts this process' own command line so many times without --ranks, and returns the exit code of the whole. On GPUs, which talk
/// through NCCL, it waits for them and passes on signals; on CPUs mpirun, which MPI needs, takes this process' place.
int run_own_ranks(std::int64_t ranks, bool on_gpus);

}  // namespace temper
