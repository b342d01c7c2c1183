// `temper doctor --ranks`: who the ranks of a launcher are, and how fast they reach one another.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/run_config.h"

namespace temper {

/// A rank as it describes itself to rank 0.
struct RankPlace {
  std::string host, device;
  std::string interface;    ///< by which this host's routes lead to the others; empty: not known, or all ranks are on one host
  double link_gbits = 0.0;  ///< what the interface says of itself; 0: it says nothing
  std::vector<double> seconds{};  ///< until data from each rank were here, by rank; its own: 0

  std::string text() const;  ///< of one line
  static RankPlace from_text(const std::string& text);
};

/// Bytes that leave the busiest host in an all-reduce of `bytes`: in shards from each to each over MPI, around a ring over NCCL.
double bytes_between_hosts(const std::vector<RankPlace>& ranks, double bytes, bool ring);

/// Where data took more than twice as long as in the middle of all pairs: the worst of them, as a sentence; empty: nowhere.
std::string slowest_pair(const std::vector<RankPlace>& ranks, double bytes);

/// For all ranks together; rank 0 gets the report, the others nothing. `mebibytes`: of an all-reduce. Errors as a Communicator's;
/// Error(ExitCode::usage) where no launcher has started several ranks.
std::string check_ranks(std::int64_t mebibytes, DeviceChoice choice);

}  // namespace temper
