#include "distributed/peer_messages.h"

#include <algorithm>

namespace temper {
namespace {

constexpr std::string_view magic = "TMPR";
constexpr std::uint64_t version = 1;
constexpr std::size_t header_bytes = 16;  // magic 4, version 2, kind 2, payload's length 8; all numbers little-endian

void put_number(std::string& to, std::uint64_t number, int bytes = 8) {
  for (int i = 0; i < bytes; ++i) to += static_cast<char>(number >> (8 * i));
}

void put_text(std::string& to, std::string_view text) {
  put_number(to, text.size());
  to += text;
}

std::uint64_t number_at(std::string_view bytes) {
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) number |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  return number;
}

/// Takes a payload apart from the front.
class Payload {
 public:
  explicit Payload(std::string_view bytes) : rest_(bytes) {}

  std::uint64_t number() { return number_at(take(8)); }
  std::int64_t number_below(std::int64_t limit) {
    const std::uint64_t value = number();
    if (value >= static_cast<std::uint64_t>(limit)) throw BrokenMessage("a number out of range");
    return static_cast<std::int64_t>(value);
  }
  std::string text(std::size_t limit) {
    const std::uint64_t bytes = number();
    if (bytes > limit) throw BrokenMessage("a text that is too long");
    return std::string(take(static_cast<std::size_t>(bytes)));
  }
  std::string line(std::size_t limit) { return readable(text(limit), limit); }
  void end() const {
    if (!rest_.empty()) throw BrokenMessage("a message that is too long");
  }

 private:
  std::string_view take(std::size_t bytes) {
    if (bytes > rest_.size()) throw BrokenMessage("a message that is too short");
    const std::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return taken;
  }

  std::string_view rest_;
};

}  // namespace

PeerBytes frame_of(PeerMessage kind, std::string_view payload) {
  std::string frame(magic);
  put_number(frame, version, 2);
  put_number(frame, static_cast<std::uint64_t>(kind), 2);
  put_number(frame, payload.size());
  frame += payload;
  return std::make_shared<const std::string>(std::move(frame));
}

PeerBytes frame_of(const Hello& hello) {
  std::string payload;
  put_number(payload, static_cast<std::uint64_t>(hello.rank));
  put_number(payload, static_cast<std::uint64_t>(hello.size));
  put_text(payload, hello.key);
  put_text(payload, hello.host);
  return frame_of(PeerMessage::hello, payload);
}

Hello hello_of(const PeerFrame& frame) {
  constexpr std::int64_t many = std::int64_t{1} << 40;  // whether they fit the run is for rank 0 to say
  Payload payload(frame.payload);
  Hello hello;
  hello.rank = payload.number_below(many);
  hello.size = payload.number_below(many);
  hello.key = payload.text(max_key);
  hello.host = payload.line(max_host);
  payload.end();
  return hello;
}

PeerBytes frame_of(const Welcome& welcome) {
  std::string payload;
  for (const std::string& host : welcome.hosts) put_text(payload, host);
  return frame_of(PeerMessage::welcome, payload);
}

Welcome welcome_of(const PeerFrame& frame, std::int64_t size) {
  Payload payload(frame.payload);
  Welcome welcome;
  for (std::int64_t rank = 0; rank < size; ++rank) welcome.hosts.push_back(payload.line(max_host));
  payload.end();
  return welcome;
}

PeerBytes frame_of(const Offer& offer) {
  std::string payload;
  put_number(payload, offer.number);
  put_text(payload, offer.what);
  put_text(payload, offer.value);
  return frame_of(PeerMessage::offer, payload);
}

Offer offer_of(const PeerFrame& frame) {
  Payload payload(frame.payload);
  Offer offer;
  offer.number = payload.number();
  offer.what = payload.line(max_what);
  offer.value = payload.text(max_value);
  payload.end();
  return offer;
}

PeerBytes frame_of(const Result& result) {
  std::string payload;
  put_number(payload, result.number);
  for (const std::string& value : result.values) put_text(payload, value);
  return frame_of(PeerMessage::result, payload);
}

Result result_of(const PeerFrame& frame, std::int64_t size) {
  Payload payload(frame.payload);
  Result result;
  result.number = payload.number();
  for (std::int64_t rank = 0; rank < size; ++rank) result.values.push_back(payload.text(max_value));
  payload.end();
  return result;
}

PeerBytes frame_of(const Absent& absent) {
  std::string payload;
  put_number(payload, absent.number);
  put_number(payload, absent.ranks.size());
  for (const std::int64_t rank : absent.ranks) put_number(payload, static_cast<std::uint64_t>(rank));
  return frame_of(PeerMessage::absent, payload);
}

Absent absent_of(const PeerFrame& frame, std::int64_t size) {
  Payload payload(frame.payload);
  Absent absent;
  absent.number = payload.number();
  const std::int64_t count = payload.number_below(size + 1);
  for (std::int64_t i = 0; i < count; ++i) absent.ranks.push_back(payload.number_below(size));
  payload.end();
  return absent;
}

PeerBytes frame_of(const LostPeer& lost) {
  std::string payload;
  put_number(payload, static_cast<std::uint64_t>(lost.rank));
  put_text(payload, lost.host);
  put_text(payload, lost.reason);
  return frame_of(PeerMessage::lost, payload);
}

LostPeer lost_of(const PeerFrame& frame, std::int64_t size) {
  Payload payload(frame.payload);
  LostPeer lost;
  lost.rank = payload.number_below(size);
  lost.host = payload.line(max_host);
  lost.reason = payload.line(max_reason);
  payload.end();
  return lost;
}

PeerBytes question_frame(std::uint64_t number) {
  std::string payload;
  put_number(payload, number);
  return frame_of(PeerMessage::question, payload);
}

std::uint64_t question_of(const PeerFrame& frame) {
  Payload payload(frame.payload);
  const std::uint64_t number = payload.number();
  payload.end();
  return number;
}

std::string text_of(const PeerFrame& frame) {
  if (frame.payload.size() > max_reason) throw BrokenMessage("a text that is too long");
  return readable(frame.payload, max_reason);
}

std::string readable(std::string_view text, std::size_t limit) {
  std::string line(text.substr(0, limit));
  for (char& c : line)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return line;
}

void FrameReader::add(const char* data, std::size_t bytes) {
  buffer_.erase(0, begin_);
  begin_ = 0;
  buffer_.append(data, bytes);
}

std::optional<PeerFrame> FrameReader::next() {
  const std::string_view rest = std::string_view(buffer_).substr(begin_);
  const std::size_t seen = std::min(rest.size(), magic.size());
  if (rest.substr(0, seen) != magic.substr(0, seen)) throw BrokenMessage("bytes that are no message of temper");
  if (rest.size() < header_bytes) return std::nullopt;
  if (const std::uint64_t theirs = number_at(rest.substr(4, 2)); theirs != version)
    throw BrokenMessage("messages of version " + std::to_string(theirs) + ", not " + std::to_string(version));
  const std::uint64_t bytes = number_at(rest.substr(8, 8));
  if (bytes > max_payload_) throw BrokenMessage("a message of " + std::to_string(bytes) + " bytes, which is too long");
  if (rest.size() - header_bytes < bytes) return std::nullopt;
  PeerFrame frame{static_cast<PeerMessage>(number_at(rest.substr(6, 2))), std::string(rest.substr(header_bytes, bytes))};
  begin_ += header_bytes + static_cast<std::size_t>(bytes);
  return frame;
}

}  // namespace temper
