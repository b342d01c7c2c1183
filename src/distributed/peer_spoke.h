// The side of every rank but 0: it looks for rank 0 until it finds it, and keeps one connection to it.
#pragma once

#include <asio.hpp>
#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "distributed/peer_connection.h"
#include "distributed/peer_network.h"

namespace temper {

class PeerSpoke : public PeerNetwork, public PeerConnection::Owner {
 public:
  PeerSpoke(asio::io_context& io, const PeerSetup& setup, PeerBoard& board);

  void start() override;
  void tick(std::chrono::milliseconds passed) override;
  void offer(std::uint64_t number, const std::string& what, const std::string& value) override;
  void ask(std::uint64_t number) override;
  void fail(const std::string& reason) override;
  void farewell() override;
  bool flushed() const override { return !connection_ || connection_->flushed(); }
  bool ended() const override { return !connection_ || !connection_->open(); }

 private:
  void on_frame(PeerConnection& connection, const PeerFrame& frame) override;
  void on_end(PeerConnection& connection, const std::string& reason) override;

  // The search goes in rounds: resolve all addresses, try what they resolved to in order, pause.
  void start_round();
  void resolve_next();
  void try_next();
  void connected();
  void give_up(const std::string& why);
  void lose_hub(const std::string& reason);

  asio::io_context& io_;
  PeerSetup setup_;
  PeerBoard& board_;
  std::vector<std::string> addresses_;  // of rank 0
  asio::ip::tcp::resolver resolver_;
  asio::steady_timer pause_;
  std::chrono::steady_clock::time_point deadline_;  // of the search

  std::size_t next_address_ = 0;
  std::deque<asio::ip::tcp::endpoint> untried_;  // of this round
  asio::ip::tcp::endpoint endpoint_;             // that is being tried
  std::shared_ptr<asio::ip::tcp::socket> connecting_;
  std::chrono::milliseconds attempt_{0};  // age of it
  std::string last_problem_ = "no answer yet";
  std::string refusal_;  // of this round

  std::shared_ptr<PeerConnection> connection_;
  std::chrono::milliseconds since_beat_{0};
  std::uint64_t offered_ = 0;        // exchanges
  bool met_ = false, over_ = false;  // over: the search failed, a rank is lost, or this one ends: nobody is lost any more
  bool hub_departed_ = false;
};

}  // namespace temper
