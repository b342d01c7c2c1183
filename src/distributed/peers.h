// The other processes of a run, over TCP and beside the communicator: they meet here, exchange small things, and learn within
// seconds that one of them is gone, whatever library is stuck in a collective meanwhile.
//
// Rank 0 listens; each other rank keeps one connection to it. A connection that closes without a farewell, or over which nothing
// came for heartbeat_timeout, is a lost rank; rank 0 tells all others. A rank that fails by itself tells why before it goes.
// Time in which this process itself was stopped or swapped out does not count as others' silence (RunningTime).
//
// The key keeps runs apart; the secret of Launch keeps strangers out: each side proves to the other that it knows it before
// anything else is said. Where no launcher told a secret, who can reach the port of a meeting and knows the key can take part. What
// is sent afterwards is neither hidden nor sealed, like the collectives beside it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "distributed/launch.h"

namespace temper {

/// The time in which this process ran, as told by one that looks often: of a gap between two looks, `longest_gap` counts at most. While a process is
/// stopped or swapped out, or its machine sleeps, what others sent waits in its sockets, and they are not late.
class RunningTime {
 public:
  explicit RunningTime(std::chrono::steady_clock::duration longest_gap = std::chrono::milliseconds(500))
      : longest_gap_(longest_gap) {}
  /// Since the last look, or the beginning.
  std::chrono::steady_clock::duration look() {
    const auto before = std::exchange(looked_, std::chrono::steady_clock::now());
    return std::min(looked_ - before, longest_gap_);
  }

 private:
  std::chrono::steady_clock::duration longest_gap_;
  std::chrono::steady_clock::time_point looked_ = std::chrono::steady_clock::now();
};

struct PeerSettings {
  std::chrono::milliseconds meeting_timeout = std::chrono::minutes(2);  ///< for all ranks to come
  std::chrono::milliseconds heartbeat_interval = std::chrono::seconds(1);
  std::chrono::milliseconds heartbeat_timeout = std::chrono::seconds(15);
};

/// A rank that is gone.
struct LostPeer {
  std::int64_t rank;
  std::string host;
  std::string reason;  ///< "its connection closed", "no sign of life for 15 s", or what it said itself
};

class Peers {
 public:
  /// Meets the others at launch.address and launch.port; returns when all are there. All of them give the same `key`, a hash of
  /// what must agree (the program's version, the resolved configuration); one that does not, a rank that two processes claim, or a
  /// size that differs is refused. Error(ExitCode::distributed) names who is missing or what disagrees, and what to check. A run of
  /// one process has no connections. A thread of its own beats and listens. Where Launch names a loopback address, rank 0 listens
  /// there alone.
  Peers(const Launch& launch, const std::string& key, const PeerSettings& settings = {});
  /// Says farewell, so that the others do not take this rank for lost; waits two seconds at most. After rank 0's farewell nobody
  /// watches over the others any more: a run ends with an exchange.
  ~Peers();
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;

  /// Rank 0's address and port as others reach it, for launchers without one: rank 0 listens first (here), tells the place by other
  /// means, and the others put it into their Launch, the addresses with commas between them. 0 takes any free port. A Listener
  /// serves one Peers; null for the other ranks.
  class Listener;
  static std::shared_ptr<Listener> listen(int port, const std::string& address = {});  ///< a loopback address, or all
  static std::pair<std::vector<std::string>, int> place(const Listener& listener);     ///< addresses of this host, best first; port
  static std::string new_secret();  ///< for launchers without one, to be told like the place; 64 hexadecimal digits
  Peers(const Launch& launch, std::shared_ptr<Listener> listener, const std::string& key, const PeerSettings& settings = {});

  /// What each rank gave, by rank; returns when all have given. Every rank calls it the same number of times with the same `what`,
  /// one call at a time, and no more after an error. Up to 1 MiB each. milliseconds::max() waits for ever.
  /// Error(ExitCode::distributed) where a rank is lost, or has said farewell, or `timeout` passes; it names the ranks that have not
  /// come and `what`.
  std::vector<std::string> exchange(const std::string& mine, const std::string& what, std::chrono::milliseconds timeout);

  /// The first rank that was lost, if any: cheap, to be asked again and again while something else is waited for.
  std::optional<LostPeer> lost() const;
  /// Throws Error(ExitCode::distributed) "rank 2 on HOST is gone (REASON) while rank 0 waited for WHAT" where one is lost.
  void check(const std::string& what) const;
  /// Tells the others that this rank ends, and why; they see it as lost. Where a library reports that a connection broke, look at
  /// lost() for a second first: the first rank that is lost is the one all others name.
  void fail(const std::string& reason);

  const std::vector<std::string>& hosts() const;  ///< host name of each rank

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace temper
