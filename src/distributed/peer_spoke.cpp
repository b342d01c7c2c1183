#include "distributed/peer_spoke.h"

#include <sstream>
#include <utility>

namespace temper {

using asio::ip::tcp;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {
constexpr milliseconds attempt_limit{3000};  // for one address to answer: three times a lost first packet's second
constexpr milliseconds round_pause{200};
}  // namespace

PeerSpoke::PeerSpoke(asio::io_context& io, const PeerSetup& setup, PeerBoard& board)
    : io_(io), setup_(setup), board_(board), resolver_(io), pause_(io) {
  std::istringstream list(setup.address);
  for (std::string address; std::getline(list, address, ',');)
    if (!address.empty()) addresses_.push_back(address);
}

void PeerSpoke::start() {
  deadline_ = steady_clock::now() + setup_.settings.meeting_timeout;
  start_round();
}

void PeerSpoke::start_round() {
  refusal_.clear();
  next_address_ = 0;
  resolve_next();
}

void PeerSpoke::resolve_next() {
  if (next_address_ == addresses_.size()) return try_next();
  const std::string& address = addresses_[next_address_++];
  resolver_.async_resolve(address, std::to_string(setup_.port),
                          [this, &address](const asio::error_code& error, const tcp::resolver::results_type& results) {
                            if (over_) return;
                            if (error) last_problem_ = "the name " + address + ": " + error.message();
                            for (const auto& result : results) untried_.push_back(result.endpoint());
                            resolve_next();
                          });
}

void PeerSpoke::try_next() {
  if (untried_.empty()) {
    // Another address may lead to the right run where one leads to a wrong one; here none did.
    if (!refusal_.empty()) return give_up(refusal_);
    pause_.expires_after(round_pause);
    pause_.async_wait([this](const asio::error_code& error) {
      if (!error && !over_) start_round();
    });
    return;
  }
  endpoint_ = untried_.front();
  untried_.pop_front();
  attempt_ = milliseconds(0);
  connecting_ = std::make_shared<tcp::socket>(io_);
  connecting_->async_connect(endpoint_, [this, socket = connecting_](const asio::error_code& error) {
    if (over_) return;
    if (!error) return connected();
    last_problem_ =
        endpoint_text(endpoint_) + ": " +
        (error == asio::error::operation_aborted ? "no answer within " + duration_text(attempt_limit) : error.message());
    connecting_.reset();
    try_next();
  });
}

void PeerSpoke::connected() {
  const std::shared_ptr<tcp::socket> socket = std::exchange(connecting_, nullptr);
  asio::error_code error;
  // A port that nobody listens at, among those for outgoing connections: the system can connect a socket to itself.
  if (socket->local_endpoint(error) == socket->remote_endpoint(error)) return try_next();
  connection_ = std::make_shared<PeerConnection>(std::move(*socket), *this, max_hub_payload(setup_.size));
  connection_->rank = 0;
  connection_->start();
  connection_->send(frame_of(Hello{setup_.rank, setup_.size, setup_.key, setup_.host}));
}

void PeerSpoke::on_frame(PeerConnection& connection, const PeerFrame& frame) {
  if (frame.kind == PeerMessage::beat) return;
  if (!met_) {
    if (frame.kind == PeerMessage::refused) {
      refusal_ = text_of(frame);
      connection.close();
      return try_next();
    }
    if (frame.kind != PeerMessage::welcome) throw BrokenMessage("something before the meeting was complete");
    Welcome welcome = welcome_of(frame, setup_.size);
    met_ = true;
    return board_.publish([&] {
      board_.hosts = std::move(welcome.hosts);
      board_.met = true;
    });
  }
  switch (frame.kind) {
    case PeerMessage::result: {
      Result result = result_of(frame, setup_.size);
      if (result.number != offered_) throw BrokenMessage("the result of an exchange that is not under way");
      return board_.publish([&] {
        board_.finished = result.number;
        board_.values = std::move(result.values);
      });
    }
    case PeerMessage::absent: {
      Absent absent = absent_of(frame, setup_.size);
      return board_.publish([&] {
        board_.answered = absent.number;
        board_.absent = std::move(absent.ranks);
      });
    }
    case PeerMessage::lost: {
      const LostPeer lost = lost_of(frame, setup_.size);
      over_ = true;
      return board_.publish_lost(lost);
    }
    case PeerMessage::farewell: {
      hub_departed_ = true;
      connection.close();
      bool waiting = false;
      board_.publish([&] { waiting = board_.finished != offered_; });
      if (waiting) lose_hub("it has ended its run");
      return;
    }
    default:
      throw BrokenMessage("a message that rank 0 does not send");
  }
}

void PeerSpoke::on_end(PeerConnection&, const std::string& reason) {
  if (met_) return lose_hub(reason);
  if (over_) return;
  last_problem_ = endpoint_text(endpoint_) + ": " + reason;
  try_next();
}

void PeerSpoke::tick(milliseconds passed) {
  if (over_ && !met_) return;
  if (connecting_ && (attempt_ += passed) >= attempt_limit) {
    asio::error_code ignored;
    connecting_->close(ignored);
  }
  const bool open = connection_ && connection_->open();
  // Whoever found rank 0 waits for its verdict: it gives the meeting up itself, and knows who is missing.
  if (!met_ && !open && steady_clock::now() >= deadline_)
    return give_up("rank " + std::to_string(setup_.rank) + " found no rank 0 at " + setup_.address + " port " +
                   std::to_string(setup_.port) + " within " + duration_text(setup_.settings.meeting_timeout) +
                   " (last: " + last_problem_ +
                   "). Check that rank 0 runs, that MASTER_ADDR and MASTER_PORT (or the launcher) lead to its machine, and that no"
                   " firewall closes the port");
  if (!open) return;
  since_beat_ += passed;
  if (since_beat_ >= setup_.settings.heartbeat_interval) {
    since_beat_ = milliseconds(0);
    connection_->beat();
  }
  const milliseconds limit = setup_.settings.heartbeat_timeout;
  if (connection_->add_silence(passed) < limit || over_) return;
  const std::string reason = "no sign of life for " + duration_text(limit);
  if (met_) return lose_hub(reason);
  connection_->close();
  on_end(*connection_, reason);
}

void PeerSpoke::give_up(const std::string& why) {
  over_ = true;
  board_.publish([&] { board_.failure = why; });
}

void PeerSpoke::lose_hub(const std::string& reason) {
  if (std::exchange(over_, true)) return;
  connection_->close();
  board_.publish([&] {
    if (!board_.lost) board_.lost = LostPeer{0, board_.hosts.front(), readable(reason, max_reason)};
  });
}

void PeerSpoke::offer(std::uint64_t number, const std::string& what, const std::string& value) {
  offered_ = number;
  if (hub_departed_) return lose_hub("it has ended its run");
  connection_->send(frame_of(Offer{number, what, value}));
}

void PeerSpoke::ask(std::uint64_t number) { connection_->send(question_frame(number)); }

void PeerSpoke::fail(const std::string& reason) {
  over_ = true;
  connection_->send(frame_of(PeerMessage::failed, readable(reason, max_reason)));
}

void PeerSpoke::farewell() {
  over_ = true;
  connection_->send(frame_of(PeerMessage::farewell));
  connection_->finish();
}

}  // namespace temper
