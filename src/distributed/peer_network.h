// What the two sides of a meeting have in common: rank 0, the hub of all connections, and the others, spokes, each with one
// connection to it. A network lives on the thread of its io_context, in coroutines; what it learns it puts on the board, where the
// rest of the program reads.
#pragma once

#include <asio.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "distributed/peer_messages.h"
#include "distributed/peers.h"

namespace temper {

struct PeerSetup : Launch {
  std::string host;  ///< this machine's name
  std::string key;
  PeerSettings settings;
};

/// All members under `mutex`; each change is told through `changed`.
struct PeerBoard {
  mutable std::mutex mutex;
  std::condition_variable changed;

  std::optional<Welcome> met;          ///< all ranks are there
  std::optional<std::string> failure;  ///< or why they will not be
  std::optional<LostPeer> lost;        ///< the first: the others follow from it
  std::optional<Result> result;        ///< of the last exchange that is whole
  std::optional<Absent> absent;        ///< who had not come to an exchange when it was asked

  template <typename Value>
  void publish(std::optional<Value> PeerBoard::*place, std::type_identity_t<Value> value) {
    {
      const std::lock_guard lock(mutex);
      if constexpr (std::is_same_v<Value, LostPeer>)
        if (lost) return;
      this->*place = std::move(value);
    }
    changed.notify_all();
  }
};

/// All but the constructor is called on the thread of the io_context.
class PeerNetwork {
 public:
  virtual ~PeerNetwork() = default;
  /// To be called several times per heartbeat. `passed` is the time since the last call in which this process ran: while it is
  /// stopped or swapped out, what the others sent waits in the sockets and nobody is silent.
  virtual void tick(std::chrono::milliseconds passed) = 0;
  /// This rank's part of an exchange.
  virtual void offer(std::uint64_t number, const std::string& what, const std::string& value) = 0;
  /// Who has not come to this exchange?
  virtual void ask(std::uint64_t number) = 0;
  virtual void fail(const std::string& reason) = 0;
  virtual void farewell() = 0;
  virtual bool settled() const = 0;  ///< everything is sent; after the farewell, the other sides have closed as well

 protected:
  PeerNetwork(asio::io_context& io, const PeerSetup& setup, PeerBoard& board);
  bool beat_is_due(std::chrono::milliseconds passed);

  asio::io_context& io_;
  const PeerSetup setup_;
  PeerBoard& board_;
  const std::chrono::steady_clock::time_point deadline_;  // of the meeting
  const std::string silent_;                              // the reason where nothing came for too long
  bool met_ = false, farewell_ = false;
  bool over_ = false;  // the meeting failed, a rank is lost, or this one ends: nobody is lost any more

 private:
  std::chrono::milliseconds since_beat_{0};
};

/// Rank 0's side. It decides who takes part, gathers exchanges, and says who is lost.
std::unique_ptr<PeerNetwork> make_peer_hub(asio::io_context& io, const PeerSetup& setup, PeerBoard& board,
                                           asio::ip::tcp::acceptor acceptor);
/// The side of every other rank: it looks for rank 0 until it finds it.
std::unique_ptr<PeerNetwork> make_peer_spoke(asio::io_context& io, const PeerSetup& setup, PeerBoard& board);

/// "15 s", "0.25 s"
std::string duration_text(std::chrono::milliseconds duration);
/// "rank 3", "ranks 1, 2 and 5", "ranks 1, 2, 3, 4, 5, 6, 7, 8 and 40 more"
std::string ranks_text(const std::vector<std::int64_t>& ranks);

}  // namespace temper
