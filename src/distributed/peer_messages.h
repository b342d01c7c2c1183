// What ranks say to each other over TCP: frames of a magic number, a version, a kind, a length and a payload. Bytes that came over
// a socket are hostile until they went through here: every length and number is checked before it is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "distributed/peers.h"

namespace temper {

enum class PeerMessage : std::uint16_t {
  hello = 1,       ///< to rank 0, which has answered a greeting
  welcome = 2,     ///< from rank 0 when all have come
  refused = 3,     ///< from rank 0 to one that may not take part
  beat = 4,        ///< a sign of life, without payload
  offer = 5,       ///< to rank 0: a rank's part of an exchange
  result = 6,      ///< from rank 0: all parts
  question = 7,    ///< to rank 0: who has not come to this exchange?
  absent = 8,      ///< from rank 0
  failed = 9,      ///< to rank 0: the sender ends
  lost = 10,       ///< from rank 0
  farewell = 11,   ///< the sender ends because it is done; without payload
  greeting = 12,   ///< to rank 0: a number used once
  challenge = 13,  ///< from rank 0: one of its own, and proof that it knows the secret
};

constexpr std::size_t proof_bytes = 32;  // of a proof, and of a number used once
constexpr std::size_t max_key = 512, max_host = 255, max_what = 512, max_reason = 4096, max_value = std::size_t{1} << 20;
/// Largest payloads: of one who has not said who it is, of a rank, of rank 0 in a run of `size`.
constexpr std::uint64_t max_stranger_payload = 4096, max_rank_payload = max_value + 8192;
constexpr std::uint64_t max_hub_payload(std::int64_t size) { return static_cast<std::uint64_t>(size) * (max_value + 64) + 8192; }

/// What came is no message of ours, or one that makes no sense.
class BrokenMessage : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A visitor of a message's fields that writes them into a payload, or reads them from one.
class PeerFields {
 public:
  PeerFields() = default;  ///< writes
  /// Reads `payload`, which outlives this, in a run of `size` ranks. All below throw BrokenMessage.
  PeerFields(std::string_view payload, std::int64_t size) : reads_(true), rest_(payload), size_(size) {}

  PeerFields& number(std::uint64_t& value);
  PeerFields& below(std::int64_t limit, std::int64_t& value);
  PeerFields& rank(std::int64_t& value) { return below(size_, value); }
  PeerFields& text(std::size_t limit, std::string& value);
  PeerFields& line(std::size_t limit, std::string& value);  ///< a text, readable() when it comes
  /// One for each rank; the payload does not repeat how many.
  PeerFields& texts(std::size_t limit, std::vector<std::string>& values);
  PeerFields& lines(std::size_t limit, std::vector<std::string>& values);
  PeerFields& some_ranks(std::vector<std::int64_t>& ranks);

  const std::string& written() const { return bytes_; }
  void end() const;  ///< nothing may be left to read

 private:
  std::string_view take(std::size_t bytes);

  bool reads_ = false;
  std::string bytes_;
  std::string_view rest_;
  std::int64_t size_ = 0;
};

struct Greeting {
  static constexpr PeerMessage kind = PeerMessage::greeting;
  std::string once;
  void visit(PeerFields& fields) { fields.text(proof_bytes, once); }
};
struct Challenge {
  static constexpr PeerMessage kind = PeerMessage::challenge;
  std::string once, proof;
  void visit(PeerFields& fields) { fields.text(proof_bytes, once).text(proof_bytes, proof); }
};
struct Hello {
  static constexpr PeerMessage kind = PeerMessage::hello;
  static constexpr std::int64_t many = std::int64_t{1} << 40;  // whether numbers fit the run is for rank 0 to say
  std::int64_t rank, size;
  std::string key, host, proof = {};
  void visit(PeerFields& fields) {
    fields.below(many, rank).below(many, size).text(max_key, key).line(max_host, host).text(proof_bytes, proof);
  }
};
struct Welcome {
  static constexpr PeerMessage kind = PeerMessage::welcome;
  std::vector<std::string> hosts;  ///< by rank
  void visit(PeerFields& fields) { fields.lines(max_host, hosts); }
};
template <PeerMessage message>
struct Reason {
  static constexpr PeerMessage kind = message;
  std::string why;
  void visit(PeerFields& fields) { fields.line(max_reason, why); }
};
using Refused = Reason<PeerMessage::refused>;
using Failed = Reason<PeerMessage::failed>;
struct Offer {
  static constexpr PeerMessage kind = PeerMessage::offer;
  std::uint64_t number;  ///< of the exchange, from 1
  std::string what, value;
  void visit(PeerFields& fields) { fields.number(number).line(max_what, what).text(max_value, value); }
};
struct Result {
  static constexpr PeerMessage kind = PeerMessage::result;
  std::uint64_t number;
  std::vector<std::string> values;  ///< by rank
  void visit(PeerFields& fields) { fields.number(number).texts(max_value, values); }
};
struct Question {
  static constexpr PeerMessage kind = PeerMessage::question;
  std::uint64_t number;
  void visit(PeerFields& fields) { fields.number(number); }
};
struct Absent {
  static constexpr PeerMessage kind = PeerMessage::absent;
  std::uint64_t number;
  std::vector<std::int64_t> ranks;
  void visit(PeerFields& fields) { fields.number(number).some_ranks(ranks); }
};
struct Lost {
  static constexpr PeerMessage kind = PeerMessage::lost;
  LostPeer peer;
  void visit(PeerFields& fields) { fields.rank(peer.rank).line(max_host, peer.host).line(max_reason, peer.reason); }
};

struct PeerFrame {
  PeerMessage kind;
  std::string payload;
};

/// A frame as it is sent, shared by all connections that send it.
using PeerBytes = std::shared_ptr<const std::string>;

PeerBytes frame_of(PeerMessage kind, std::string_view payload = {});

template <typename Message>
PeerBytes frame_of(Message message) {
  PeerFields fields;
  message.visit(fields);
  return frame_of(Message::kind, fields.written());
}

/// A payload back, in a run of `size` ranks. Throws BrokenMessage.
template <typename Message>
Message message_of(const PeerFrame& frame, std::int64_t size) {
  PeerFields fields(frame.payload, size);
  Message message{};
  message.visit(fields);
  fields.end();
  return message;
}

/// Both sides prove that they know the secret of the run, which itself is never sent: a keyed hash (HMAC-SHA-512/256) of what each
/// side made up for this one connection, and of what the rank says about itself.
struct Handshake {
  std::string secret, rank_once, hub_once;
  std::string hub_proof() const;
  std::string rank_proof(Hello hello) const;  ///< whatever hello.proof is
};
std::string used_once();                                            ///< proof_bytes bytes that nobody can foresee
bool same_proof(const std::string& one, const std::string& other);  ///< takes the same time wherever they differ

/// `text` as it can stand in one line of a terminal: at most `limit` bytes, control characters replaced.
std::string readable(std::string_view text, std::size_t limit);

/// Cuts a stream of bytes into frames.
class FrameReader {
 public:
  explicit FrameReader(std::uint64_t max_payload) : max_payload_(max_payload) {}
  void set_max_payload(std::uint64_t max_payload) { max_payload_ = max_payload; }

  void add(const char* data, std::size_t bytes);
  /// The next whole frame. Throws BrokenMessage as soon as the bytes cannot become one.
  std::optional<PeerFrame> next();

 private:
  std::uint64_t max_payload_;
  std::string buffer_;
  std::size_t begin_ = 0;  // of what is not yet a frame
};

}  // namespace temper
