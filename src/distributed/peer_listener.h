// The socket on which rank 0 is met.
#pragma once

#include <asio.hpp>
#include <memory>
#include <string>

#include "distributed/peers.h"

namespace temper {

class Peers::Listener {
 public:
  /// All addresses of this machine, IPv4 and IPv6, or the one address where a run stays on one machine. Port 0 takes any free one.
  /// Error(ExitCode::distributed) where the port is taken.
  explicit Listener(int port, const std::string& address = {});

  int port() const { return port_; }
  bool ipv6() const { return protocol_ == asio::ip::tcp::v6(); }
  /// The socket as an acceptor of `io`; this object has none afterwards.
  asio::ip::tcp::acceptor take(asio::io_context& io);

 private:
  void open(const asio::ip::tcp::endpoint& endpoint, asio::error_code& error);

  asio::io_context io_;
  asio::ip::tcp::acceptor acceptor_{io_};
  asio::ip::tcp protocol_ = asio::ip::tcp::v6();
  int port_ = 0;
};

}  // namespace temper
