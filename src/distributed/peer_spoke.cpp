// The side of every rank but 0.
#include <sstream>
#include <utility>

#include "distributed/peer_connection.h"
#include "distributed/peer_network.h"

namespace temper {

using asio::ip::tcp;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds attempt_limit{3000};  // for one address to answer: three times a lost first packet's second
constexpr milliseconds round_pause{200};

class PeerSpoke final : public PeerNetwork {
 public:
  PeerSpoke(asio::io_context& io, const PeerSetup& setup, PeerBoard& board) : PeerNetwork(io, setup, board), connecting_(io) {
    spawn(io.get_executor(), look_for_hub());
  }

  void tick(milliseconds passed) override {
    if (over_ && !met_) return;
    if (connecting_.is_open() && (attempt_ += passed) >= attempt_limit) {
      asio::error_code ignored;
      connecting_.close(ignored);
    }
    const bool open = connection_ && connection_->open();
    // Whoever found rank 0 waits for its verdict: it gives the meeting up itself, and knows who is missing.
    if (!met_ && !open && std::chrono::steady_clock::now() >= deadline_)
      return give_up(
          "rank " + std::to_string(setup_.rank) + " found no rank 0 at " + setup_.address + " port " + std::to_string(setup_.port) +
          " within " + duration_text(setup_.settings.meeting_timeout) + " (last: " + last_problem_ +
          "). Check that rank 0 runs, that MASTER_ADDR and MASTER_PORT (or the launcher) lead to its machine, and that no"
          " firewall closes the port");
    if (!open) return;
    if (beat_is_due(passed) && proven_) connection_->beat();  // before, rank 0 waits for a greeting
    if (connection_->add_silence(passed) < setup_.settings.heartbeat_timeout || over_) return;
    connection_->close(silent_);
  }

  void offer(std::uint64_t number, const std::string& what, const std::string& value) override {
    offered_ = number;
    if (hub_departed_) return lose_hub("it has ended its run");
    connection_->send(frame_of(Offer{number, what, value}));
  }

  void ask(std::uint64_t number) override { connection_->send(frame_of(Question{number})); }

  void fail(const std::string& reason) override {
    over_ = true;
    connection_->send(frame_of(Failed{readable(reason, max_reason)}));
  }

  void farewell() override {
    over_ = farewell_ = true;
    connection_->send(frame_of(PeerMessage::farewell));
    connection_->finish();
  }

  bool settled() const override { return !connection_ || !connection_->open() || (!farewell_ && connection_->flushed()); }

 private:
  /// In rounds, over all addresses of rank 0 in order.
  asio::awaitable<void> look_for_hub() {
    asio::steady_timer pause(io_);
    while (true) {
      const std::vector<tcp::endpoint> endpoints = co_await resolve();
      for (const tcp::endpoint& endpoint : endpoints) {
        if (!over_) co_await try_at(endpoint);
        if (met_ || over_) co_return;
      }
      if (over_) co_return;
      // Another address may lead to the right run where one leads to a wrong one; here none did.
      if (!refusal_.empty()) co_return give_up(refusal_);
      pause.expires_after(round_pause);
      co_await pause.async_wait(asio::use_awaitable);
    }
  }

  asio::awaitable<std::vector<tcp::endpoint>> resolve() {
    std::vector<tcp::endpoint> endpoints;
    tcp::resolver resolver(io_);
    std::istringstream list(setup_.address);
    for (std::string address; std::getline(list, address, ',');) {
      if (address.empty()) continue;
      asio::error_code error;
      const auto results = co_await resolver.async_resolve(address, std::to_string(setup_.port), error_to(error));
      if (error) last_problem_ = "the name " + address + ": " + error.message();
      for (const auto& result : results) endpoints.push_back(result.endpoint());
    }
    co_return endpoints;
  }

  /// Returns when nobody answers there, or when the connection to rank 0 has ended.
  asio::awaitable<void> try_at(tcp::endpoint endpoint) {
    const std::string place = endpoint.address().to_string() + " port " + std::to_string(endpoint.port()) + ": ";
    attempt_ = milliseconds(0);
    asio::error_code error;
    connecting_.open(endpoint.protocol(), error);
    if (!error) co_await connecting_.async_connect(endpoint, error_to(error));
    tcp::socket socket = std::exchange(connecting_, tcp::socket(io_));
    if (over_) co_return;
    if (error) {
      last_problem_ =
          place + (error == asio::error::operation_aborted ? "no answer within " + duration_text(attempt_limit) : error.message());
      co_return;
    }
    // A port that nobody listens at, among those for outgoing connections: the system can connect a socket to itself.
    if (socket.local_endpoint(error) == socket.remote_endpoint(error)) co_return;
    connection_ = std::make_shared<PeerConnection>(std::move(socket), max_hub_payload(setup_.size));
    connection_->handshake = {setup_.secret, used_once(), ""};
    connection_->send(frame_of(Greeting{connection_->handshake->rank_once}));
    proven_ = false;
    const std::string reason = co_await connection_->receive([this](const PeerFrame& frame) { on_frame(frame); });
    if (reason.empty()) co_return;
    if (met_) co_return lose_hub(reason);
    last_problem_ = place + reason;
  }

  void on_frame(const PeerFrame& frame) {
    if (frame.kind == PeerMessage::beat && proven_) return;
    if (!proven_) {
      if (frame.kind != PeerMessage::challenge) throw BrokenMessage("something before it proved that it is rank 0");
      const Challenge challenge = message_of<Challenge>(frame, setup_.size);
      Handshake& handshake = *connection_->handshake;
      handshake.hub_once = challenge.once;
      if (!same_proof(challenge.proof, handshake.hub_proof()))
        throw BrokenMessage("no proof that it knows this run's secret, TEMPER_SECRET");
      proven_ = true;
      Hello hello{setup_.rank, setup_.size, setup_.key, setup_.host};
      hello.proof = handshake.rank_proof(hello);
      return connection_->send(frame_of(hello));
    }
    if (!met_) {
      if (frame.kind == PeerMessage::refused) {
        refusal_ = message_of<Refused>(frame, setup_.size).why;
        return connection_->close();
      }
      if (frame.kind != PeerMessage::welcome) throw BrokenMessage("something before the meeting was complete");
      Welcome welcome = message_of<Welcome>(frame, setup_.size);
      hub_host_ = welcome.hosts.front();
      met_ = true;
      return board_.publish(&PeerBoard::met, std::move(welcome));
    }
    switch (frame.kind) {
      case PeerMessage::result: {
        Result result = message_of<Result>(frame, setup_.size);
        if (result.number != offered_) throw BrokenMessage("the result of an exchange that is not under way");
        finished_ = result.number;
        return board_.publish(&PeerBoard::result, std::move(result));
      }
      case PeerMessage::absent:
        return board_.publish(&PeerBoard::absent, message_of<Absent>(frame, setup_.size));
      case PeerMessage::lost:
        board_.publish(&PeerBoard::lost, message_of<Lost>(frame, setup_.size).peer);
        over_ = true;
        return;
      case PeerMessage::farewell:
        hub_departed_ = true;
        connection_->close();
        if (finished_ != offered_) lose_hub("it has ended its run");
        return;
      default:
        throw BrokenMessage("a message that rank 0 does not send");
    }
  }

  void give_up(const std::string& why) {
    over_ = true;
    board_.publish(&PeerBoard::failure, why);
  }

  void lose_hub(const std::string& reason) {
    if (std::exchange(over_, true)) return;
    connection_->close();
    board_.publish(&PeerBoard::lost, {0, hub_host_, readable(reason, max_reason)});
  }

  tcp::socket connecting_;   // open while an address is tried
  milliseconds attempt_{0};  // age of it
  std::string last_problem_ = "no answer yet";
  std::string refusal_;  // of this round of the search

  std::shared_ptr<PeerConnection> connection_;
  std::string hub_host_;
  std::uint64_t offered_ = 0, finished_ = 0;  // exchanges
  bool proven_ = false;                       // that the other side is rank 0
  bool hub_departed_ = false;
};

}  // namespace

std::unique_ptr<PeerNetwork> make_peer_spoke(asio::io_context& io, const PeerSetup& setup, PeerBoard& board) {
  return std::make_unique<PeerSpoke>(io, setup, board);
}

}  // namespace temper
