// One TCP connection between two ranks, as frames. Everything here is called on the thread of the io_context alone.
#pragma once

#include <array>
#include <asio.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "distributed/peer_messages.h"

namespace temper {

class PeerConnection : public std::enable_shared_from_this<PeerConnection> {
 public:
  /// Whoever keeps connections.
  class Owner {
   public:
    virtual ~Owner() = default;
    /// A BrokenMessage thrown here ends the connection.
    virtual void on_frame(PeerConnection& connection, const PeerFrame& frame) = 0;
    /// The connection is closed, not by close(): "its connection closed", or what broke it.
    virtual void on_end(PeerConnection& connection, const std::string& reason) = 0;
  };

  /// `socket` is connected. `owner` outlives the connection.
  PeerConnection(asio::ip::tcp::socket socket, Owner& owner, std::uint64_t max_payload);

  void start();
  void send(PeerBytes frame);
  /// Whether the system has taken everything that was sent.
  bool flushed() const { return queue_.empty(); }
  /// Nothing more will be sent: tells the other side, after what is queued.
  void finish();
  /// At once; the owner hears nothing more.
  void close();
  bool open() const { return open_; }

  void set_max_payload(std::uint64_t max_payload) { reader_.set_max_payload(max_payload); }
  /// Sends a sign of life where nothing else is under way.
  void beat();
  /// Adds to the time in which nothing came; returns it.
  std::chrono::milliseconds add_silence(std::chrono::milliseconds passed) { return silence_ += passed; }
  const std::string& remote() const { return remote_; }  ///< address of the other side

  std::int64_t rank = -1;  ///< of the other side; -1 while unknown. For the owner's use.

 private:
  void read();
  void write();
  void take_frames();
  void end(const std::string& reason);

  asio::ip::tcp::socket socket_;
  Owner& owner_;
  FrameReader reader_;
  std::string remote_;
  std::array<char, 65536> incoming_;
  std::deque<PeerBytes> queue_;  // the first is being written
  std::chrono::milliseconds silence_{0};
  bool open_ = true, finishing_ = false, can_write_ = true;
};

/// "10.0.0.5 port 29500"
std::string endpoint_text(const asio::ip::tcp::endpoint& endpoint);

/// Keeps a socket from processes that this one starts: they would hold the connection open after this one died.
void close_on_exec(int descriptor);

}  // namespace temper
