// Rank 0's side: one connection to each other rank.
#include <algorithm>
#include <utility>

#include "distributed/peer_connection.h"
#include "distributed/peer_network.h"
#include "kernels/check.h"

namespace temper {

using std::chrono::milliseconds;

namespace {

constexpr std::int64_t refused_rank = -2;  // PeerConnection::rank of one that was told to go
constexpr std::size_t max_refusals = 4;    // that an error message repeats
constexpr std::size_t spare_connections = 16;
constexpr milliseconds greeting_limit{5000};  // for a stranger to say who it is, however slowly it talks

class PeerHub final : public PeerNetwork {
 public:
  PeerHub(asio::io_context& io, const PeerSetup& setup, PeerBoard& board, asio::ip::tcp::acceptor acceptor)
      : PeerNetwork(io, setup, board),
        acceptor_(std::move(acceptor)),
        members_(static_cast<std::size_t>(setup.size)),
        missing_(setup.size - 1) {
    members_[0].host = setup.host;
    spawn(io.get_executor(), accept());
  }

  void tick(milliseconds passed) override {
    if (!met_ && !over_ && std::chrono::steady_clock::now() >= deadline_) give_up_meeting();
    const bool beat = beat_is_due(passed);
    const milliseconds limit = setup_.settings.heartbeat_timeout;
    for (const Member& member : members_) {
      if (!member.connection || !member.connection->open()) continue;
      if (beat) member.connection->beat();
      if (member.connection->add_silence(passed) < limit || over_) continue;
      if (met_)
        lose(member.connection->rank, silent_);
      else
        member.connection->close(silent_);
    }
    for (const Connection& stranger : strangers_)
      if ((stranger->age += passed) >= std::min(limit, greeting_limit)) stranger->close("it did not say who it is");
  }

  void offer(std::uint64_t number, const std::string& what, const std::string& value) override {
    require(number == finished_ + 1 && !members_[0].offer, "exchanges of rank 0 out of order");
    members_[0].offer = Offer{number, what, value};
    advance_exchange();
  }

  void ask(std::uint64_t number) override { board_.publish(&PeerBoard::absent, absent(number)); }

  void fail(const std::string& reason) override {
    if (!std::exchange(over_, true)) send_all(frame_of(Lost{{0, setup_.host, readable(reason, max_reason)}}));
  }

  void farewell() override {
    over_ = farewell_ = true;
    send_all(frame_of(PeerMessage::farewell));
    for (const Member& member : members_)
      if (member.connection) member.connection->finish();
  }

  bool settled() const override {
    return std::all_of(members_.begin(), members_.end(), [&](const Member& member) {
      if (!member.connection || !member.connection->open()) return true;
      return farewell_ ? member.connection->rank == lost_rank_ : member.connection->flushed();
    });
  }

 private:
  using Connection = std::shared_ptr<PeerConnection>;
  struct Member {
    Connection connection;  // none for rank 0
    std::string host;
    std::optional<Offer> offer;  // to the exchange that is under way
    bool departed = false;
  };

  asio::awaitable<void> accept() {
    asio::steady_timer pause(io_);
    while (acceptor_.is_open()) {
      asio::error_code error;
      asio::ip::tcp::socket socket = co_await acceptor_.async_accept(error_to(error));
      if (error) {  // No descriptors left, or the connection is gone already: neither gets better by asking at once.
        pause.expires_after(milliseconds(100));
        co_await pause.async_wait(asio::use_awaitable);
      } else if (acceptor_.is_open()) {
        // A rank says at once who it is: where there are too many, the one that has been silent longest goes.
        if (strangers_.size() == members_.size() + spare_connections) forget_stranger(Connection(strangers_.front()));
        strangers_.push_back(std::make_shared<PeerConnection>(std::move(socket), max_stranger_payload));
        spawn(io_.get_executor(), serve(strangers_.back()));
      }
    }
  }

  asio::awaitable<void> serve(Connection connection) {
    const std::string reason = co_await connection->receive([&](const PeerFrame& frame) { on_frame(connection, frame); });
    if (!reason.empty()) on_end(connection, reason);
  }

  void on_frame(const Connection& connection, const PeerFrame& frame) {
    if (connection->rank == refused_rank) return;
    if (connection->rank < 0) {
      if (frame.kind != (connection->handshake ? PeerMessage::hello : PeerMessage::greeting))
        throw BrokenMessage("no greeting first");
      if (connection->handshake) return on_hello(connection, message_of<Hello>(frame, setup_.size));
      connection->handshake = {setup_.secret, message_of<Greeting>(frame, setup_.size).once, used_once()};
      return connection->send(frame_of(Challenge{connection->handshake->hub_once, connection->handshake->hub_proof()}));
    }
    Member& member = members_[static_cast<std::size_t>(connection->rank)];
    if (!met_ && frame.kind != PeerMessage::beat) throw BrokenMessage("something before the meeting was complete");
    switch (frame.kind) {
      case PeerMessage::beat:
        return;
      case PeerMessage::offer: {
        Offer offer = message_of<Offer>(frame, setup_.size);
        if (offer.number != finished_ + 1 || member.offer) throw BrokenMessage("its part of an exchange that is not under way");
        member.offer = std::move(offer);
        return advance_exchange();
      }
      case PeerMessage::question:
        return connection->send(frame_of(absent(message_of<Question>(frame, setup_.size).number)));
      case PeerMessage::failed:
        return lose(connection->rank, message_of<Failed>(frame, setup_.size).why);
      case PeerMessage::farewell:
        member.departed = true;
        connection->close();
        return advance_exchange();
      default:
        throw BrokenMessage("a message that only rank 0 sends");
    }
  }

  void on_end(const Connection& connection, const std::string& reason) {
    if (connection->rank < 0) {
      forget_stranger(connection);
    } else if (met_) {
      lose(connection->rank, reason);
    } else {  // Who leaves before the meeting is complete may come again.
      Member& member = members_[static_cast<std::size_t>(connection->rank)];
      if (refusals_.size() < max_refusals)
        refusals_.push_back("rank " + std::to_string(connection->rank) + " on " + member.host + " came and went (" + reason + ")");
      member = Member();
      ++missing_;
    }
  }

  /// `stranger` is no element of strangers_, from which it goes.
  void forget_stranger(const Connection& stranger) {
    if (stranger->rank != refused_rank) ++other_strangers_;
    stranger->close();
    std::erase(strangers_, stranger);
  }

  void on_hello(const Connection& connection, const Hello& hello) {
    if (!same_proof(hello.proof, connection->handshake->rank_proof(hello)))
      throw BrokenMessage("no proof that it knows this run's secret");
    if (const std::string why = objection(hello); !why.empty()) {
      const std::string who = "rank " + std::to_string(hello.rank) + " on " + hello.host;
      if (refusals_.size() < max_refusals) refusals_.push_back(who + " was refused (" + why + ")");
      connection->rank = refused_rank;
      connection->send(frame_of(Refused{"rank 0 on " + setup_.host + " refused " + who + ": " + why}));
      return connection->finish();
    }
    Member& member = members_[static_cast<std::size_t>(hello.rank)];
    member.connection = connection;
    member.host = hello.host;
    std::erase(strangers_, connection);
    connection->rank = hello.rank;
    connection->set_max_payload(max_rank_payload);
    if (--missing_ == 0) complete_meeting();
  }

  std::string objection(const Hello& hello) const {
    if (hello.key != setup_.key)
      return "it has the key " + readable(hello.key, max_key) + ", rank 0 has " + setup_.key +
             ": all ranks must run the same program with the same configuration, and two runs need two ports";
    if (hello.size != setup_.size)
      return "it was started as one of " + std::to_string(hello.size) + " ranks, rank 0 as one of " + std::to_string(setup_.size);
    if (hello.rank >= setup_.size) return "its number is not below the number of ranks, " + std::to_string(setup_.size);
    const Member& member = members_[static_cast<std::size_t>(hello.rank)];
    if (hello.rank == 0 || member.connection)
      return "there is a rank " + std::to_string(hello.rank) + " already, on " + member.host +
             ": each process needs a number of its own";
    return "";
  }

  void complete_meeting() {
    met_ = true;
    asio::error_code ignored;
    acceptor_.close(ignored);
    for (const Connection& stranger : strangers_) stranger->close();
    strangers_.clear();
    Welcome welcome;
    for (const Member& member : members_) welcome.hosts.push_back(member.host);
    send_all(frame_of(welcome));
    board_.publish(&PeerBoard::met, std::move(welcome));
  }

  void give_up_meeting() {
    over_ = true;
    std::vector<std::int64_t> missing;
    for (std::size_t rank = 1; rank < members_.size(); ++rank)
      if (!members_[rank].connection) missing.push_back(static_cast<std::int64_t>(rank));
    std::string text = ranks_text(missing) + " of " + std::to_string(setup_.size) + " did not come to rank 0 on " + setup_.host +
                       " port " + std::to_string(setup_.port) + " within " + duration_text(setup_.settings.meeting_timeout);
    for (const std::string& refusal : refusals_) text += "; " + refusal;
    if (other_strangers_ > 0)
      text += "; " + std::to_string(other_strangers_) + " connections were from no rank of temper that knows this run's secret";
    text +=
        ". Check that all ranks were started, that MASTER_ADDR and MASTER_PORT (or the launcher) lead them to this machine, and"
        " that no firewall closes the port";
    send_all(frame_of(Refused{readable(text, max_reason)}));
    board_.publish(&PeerBoard::failure, std::move(text));
  }

  void advance_exchange() {
    const auto came = [](const Member& member) { return member.offer.has_value(); };
    if (over_ || std::none_of(members_.begin(), members_.end(), came)) return;
    for (std::size_t rank = 1; rank < members_.size(); ++rank)
      if (members_[rank].departed) return lose(static_cast<std::int64_t>(rank), "it has ended its run");
    if (!std::all_of(members_.begin(), members_.end(), came)) return;
    const std::string what = members_[0].offer->what;
    for (std::size_t rank = 1; rank < members_.size(); ++rank)
      if (const std::string& theirs = members_[rank].offer->what; theirs != what)
        return lose(static_cast<std::int64_t>(rank), "it came to \"" + theirs + "\" where rank 0 came to \"" + what + "\"");
    Result result{++finished_, {}};
    for (Member& member : members_) {
      result.values.push_back(std::move(member.offer->value));
      member.offer.reset();
    }
    send_all(frame_of(result));
    board_.publish(&PeerBoard::result, std::move(result));
  }

  Absent absent(std::uint64_t number) const {
    Absent absent{number, {}};
    for (std::size_t rank = 0; rank < members_.size(); ++rank)
      if (number == finished_ + 1 && !members_[rank].offer) absent.ranks.push_back(static_cast<std::int64_t>(rank));
    return absent;
  }

  void lose(std::int64_t rank, const std::string& reason) {
    if (std::exchange(over_, true)) return;
    lost_rank_ = rank;
    const LostPeer lost{rank, members_[static_cast<std::size_t>(rank)].host, readable(reason, max_reason)};
    send_all(frame_of(Lost{lost}));  // to the lost rank as well: it may go on after a pause
    board_.publish(&PeerBoard::lost, lost);
  }

  void send_all(const PeerBytes& frame) {
    for (const Member& member : members_)
      if (member.connection) member.connection->send(frame);
  }

  asio::ip::tcp::acceptor acceptor_;
  std::vector<Member> members_;        // by rank
  std::vector<Connection> strangers_;  // who have not said who they are, or were refused
  std::vector<std::string> refusals_;  // what to tell where the meeting fails
  std::int64_t other_strangers_ = 0;   // that left without a word of ours
  std::int64_t missing_;               // ranks
  std::int64_t lost_rank_ = -1;
  std::uint64_t finished_ = 0;  // exchanges
};

}  // namespace

std::unique_ptr<PeerNetwork> make_peer_hub(asio::io_context& io, const PeerSetup& setup, PeerBoard& board,
                                           asio::ip::tcp::acceptor acceptor) {
  return std::make_unique<PeerHub>(io, setup, board, std::move(acceptor));
}

}  // namespace temper
