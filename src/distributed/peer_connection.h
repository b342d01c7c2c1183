// The sockets of a meeting: the one at which rank 0 listens, and a connection between two ranks, as frames.
#pragma once

#include <array>
#include <asio.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "distributed/peer_messages.h"
#include "distributed/peers.h"

namespace temper {

/// All is called on the thread of the io_context alone.
class PeerConnection : public std::enable_shared_from_this<PeerConnection> {
 public:
  /// `socket` is connected.
  PeerConnection(asio::ip::tcp::socket socket, std::uint64_t max_payload);

  /// Gives each frame to `take` until the connection is closed; returns why: what close() was told, "its connection closed", or
  /// what broke it, as a BrokenMessage that `take` throws. Whoever awaits it holds the connection.
  asio::awaitable<std::string> receive(std::function<void(const PeerFrame&)> take);
  void send(PeerBytes frame);
  /// Whether the system has taken everything that was sent.
  bool flushed() const { return queue_.empty(); }
  /// Nothing more will be sent: tells the other side, after what is queued.
  void finish();
  /// At once. Only the first reason counts.
  void close(const std::string& reason = {});
  bool open() const { return open_; }

  void set_max_payload(std::uint64_t max_payload) { reader_.set_max_payload(max_payload); }
  /// Sends a sign of life where nothing else is under way.
  void beat();
  /// Adds to the time in which nothing came; returns it.
  std::chrono::milliseconds add_silence(std::chrono::milliseconds passed) { return silence_ += passed; }

  // For the owner's use:
  std::int64_t rank = -1;  ///< of the other side; -1 while unknown
  std::chrono::milliseconds age{0};
  std::optional<Handshake> handshake;  ///< once both sides have said their part

 private:
  static asio::awaitable<void> write(std::shared_ptr<PeerConnection> self);

  asio::ip::tcp::socket socket_;
  FrameReader reader_;
  std::array<char, 65536> incoming_;
  std::deque<PeerBytes> queue_;  // the first is being written
  std::chrono::milliseconds silence_{0};
  bool open_ = true, finishing_ = false, can_write_ = true;
  std::string reason_;
};

class Peers::Listener {
 public:
  /// All addresses of this machine, IPv4 and IPv6, or the one address where a run stays on one machine. Port 0 takes any free one.
  /// Error(ExitCode::distributed) where the port is taken.
  explicit Listener(int port, const std::string& address = {});

  asio::ip::tcp::endpoint place() const { return acceptor_.local_endpoint(); }
  /// The socket as an acceptor of `io`; this object has none afterwards.
  asio::ip::tcp::acceptor take(asio::io_context& io);

 private:
  void open(const asio::ip::tcp::endpoint& endpoint, asio::error_code& error);

  asio::io_context io_;
  asio::ip::tcp::acceptor acceptor_{io_};
};

/// Runs `work` on `executor`; what it throws comes out of io_context::run().
void spawn(const asio::any_io_executor& executor, asio::awaitable<void> work);

/// For co_await: the operation's error goes to `error`.
inline auto error_to(asio::error_code& error) { return asio::redirect_error(asio::use_awaitable, error); }

}  // namespace temper
