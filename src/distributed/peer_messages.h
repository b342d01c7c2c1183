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
#include <vector>

#include "distributed/peers.h"

namespace temper {

enum class PeerMessage : std::uint16_t {
  hello = 1,      ///< Hello, to rank 0
  welcome = 2,    ///< Welcome, from rank 0 when all have come
  refused = 3,    ///< a text, from rank 0 to one that may not take part
  beat = 4,       ///< a sign of life, without payload
  offer = 5,      ///< Offer, to rank 0
  result = 6,     ///< Result, from rank 0
  question = 7,   ///< a number, to rank 0: who has not come to this exchange?
  absent = 8,     ///< Absent, from rank 0
  failed = 9,     ///< a text, to rank 0: the sender ends, and why
  lost = 10,      ///< LostPeer, from rank 0
  farewell = 11,  ///< the sender ends because it is done; without payload
};

struct Hello {
  std::int64_t rank, size;
  std::string key, host;
};
struct Welcome {
  std::vector<std::string> hosts;  ///< by rank
};
struct Offer {
  std::uint64_t number;  ///< of the exchange, from 1
  std::string what, value;
};
struct Result {
  std::uint64_t number;
  std::vector<std::string> values;  ///< by rank
};
struct Absent {
  std::uint64_t number;
  std::vector<std::int64_t> ranks;
};

constexpr std::size_t max_key = 512, max_host = 255, max_what = 512, max_reason = 4096, max_value = std::size_t{1} << 20;
/// Largest payloads: of one who has not said who it is, of a rank, of rank 0 in a run of `size`.
constexpr std::uint64_t max_stranger_payload = 4096, max_rank_payload = max_value + 8192;
constexpr std::uint64_t max_hub_payload(std::int64_t size) { return static_cast<std::uint64_t>(size) * (max_value + 64) + 8192; }

/// What came is no message of ours, or one that makes no sense.
class BrokenMessage : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct PeerFrame {
  PeerMessage kind;
  std::string payload;
};

/// A frame as it is sent, shared by all connections that send it.
using PeerBytes = std::shared_ptr<const std::string>;

PeerBytes frame_of(PeerMessage kind, std::string_view payload = {});
PeerBytes frame_of(const Hello& hello);
PeerBytes frame_of(const Welcome& welcome);
PeerBytes frame_of(const Offer& offer);
PeerBytes frame_of(const Result& result);
PeerBytes frame_of(const Absent& absent);
PeerBytes frame_of(const LostPeer& lost);
PeerBytes question_frame(std::uint64_t number);

/// Payloads back. `size` is the number of ranks. All throw BrokenMessage.
Hello hello_of(const PeerFrame& frame);
Welcome welcome_of(const PeerFrame& frame, std::int64_t size);
Offer offer_of(const PeerFrame& frame);
Result result_of(const PeerFrame& frame, std::int64_t size);
Absent absent_of(const PeerFrame& frame, std::int64_t size);
LostPeer lost_of(const PeerFrame& frame, std::int64_t size);
std::uint64_t question_of(const PeerFrame& frame);
std::string text_of(const PeerFrame& frame);

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
