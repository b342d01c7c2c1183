// Rank 0's side: one connection to each other rank. It decides who takes part, gathers exchanges, and says who is lost.
#pragma once

#include <asio.hpp>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "distributed/peer_connection.h"
#include "distributed/peer_network.h"

namespace temper {

class PeerHub : public PeerNetwork, public PeerConnection::Owner {
 public:
  PeerHub(asio::io_context& io, const PeerSetup& setup, PeerBoard& board, asio::ip::tcp::acceptor acceptor);

  void start() override;
  void tick(std::chrono::milliseconds passed) override;
  void offer(std::uint64_t number, const std::string& what, const std::string& value) override;
  void ask(std::uint64_t number) override;
  void fail(const std::string& reason) override;
  void farewell() override;
  bool flushed() const override;
  bool ended() const override;

 private:
  struct Member {
    std::shared_ptr<PeerConnection> connection;  // none for rank 0, and after a farewell
    std::string host;
    std::optional<Offer> offer;  // to the exchange that is under way
    bool departed = false;
  };

  void on_frame(PeerConnection& connection, const PeerFrame& frame) override;
  void on_end(PeerConnection& connection, const std::string& reason) override;

  void accept();
  void on_hello(PeerConnection& connection, const Hello& hello);
  std::string objection(const Hello& hello) const;
  void complete_meeting();
  void give_up_meeting();
  void advance_exchange();
  std::vector<std::int64_t> absent(std::uint64_t number) const;
  void lose(std::int64_t rank, const std::string& reason);
  void send_all(const PeerBytes& frame);

  PeerSetup setup_;
  PeerBoard& board_;
  asio::ip::tcp::acceptor acceptor_;
  asio::steady_timer accept_again_;
  std::vector<Member> members_;                             // by rank
  std::vector<std::shared_ptr<PeerConnection>> strangers_;  // who have not said who they are, or were refused
  std::vector<std::string> refusals_;                       // what to tell where the meeting fails
  std::int64_t other_strangers_ = 0;                        // that left without a word of ours
  std::int64_t missing_;                                    // ranks
  std::int64_t lost_rank_ = -1;
  std::chrono::steady_clock::time_point deadline_;  // of the meeting
  std::chrono::milliseconds since_beat_{0};
  std::uint64_t finished_ = 0;       // exchanges
  bool met_ = false, over_ = false;  // over: a rank is lost, this one failed or says farewell: nobody is lost any more
};

}  // namespace temper
