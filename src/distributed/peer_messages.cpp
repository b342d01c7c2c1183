#include "distributed/peer_messages.h"

#include <sodium.h>

#include <algorithm>

#include "kernels/check.h"

namespace temper {
namespace {

constexpr std::string_view magic = "TMPR";
constexpr std::uint64_t version = 3;
constexpr std::size_t header_bytes = 16;  // magic 4, version 2, kind 2, payload's length 8; all numbers little-endian

void put_number(std::string& to, std::uint64_t number, int bytes = 8) {
  for (int i = 0; i < bytes; ++i) to += static_cast<char>(number >> (8 * i));
}

std::uint64_t number_at(std::string_view bytes) {
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) number |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  return number;
}

}  // namespace

PeerFields& PeerFields::number(std::uint64_t& value) {
  if (reads_)
    value = number_at(take(8));
  else
    put_number(bytes_, value);
  return *this;
}

PeerFields& PeerFields::below(std::int64_t limit, std::int64_t& value) {
  auto plain = static_cast<std::uint64_t>(value);
  number(plain);
  if (reads_ && plain >= static_cast<std::uint64_t>(limit)) throw BrokenMessage("a number out of range");
  value = static_cast<std::int64_t>(plain);
  return *this;
}

PeerFields& PeerFields::text(std::size_t limit, std::string& value) {
  std::uint64_t bytes = value.size();
  number(bytes);
  if (reads_ && bytes > limit) throw BrokenMessage("a text that is too long");
  if (reads_)
    value = take(static_cast<std::size_t>(bytes));
  else
    bytes_ += value;
  return *this;
}

PeerFields& PeerFields::line(std::size_t limit, std::string& value) {
  text(limit, value);
  if (reads_) value = readable(value, limit);
  return *this;
}

PeerFields& PeerFields::texts(std::size_t limit, std::vector<std::string>& values) {
  if (reads_) values.resize(static_cast<std::size_t>(size_));
  for (std::string& value : values) text(limit, value);
  return *this;
}

PeerFields& PeerFields::lines(std::size_t limit, std::vector<std::string>& values) {
  texts(limit, values);
  if (reads_)
    for (std::string& value : values) value = readable(value, limit);
  return *this;
}

PeerFields& PeerFields::some_ranks(std::vector<std::int64_t>& ranks) {
  auto count = static_cast<std::int64_t>(ranks.size());
  below(size_ + 1, count);
  if (reads_) ranks.resize(static_cast<std::size_t>(count));
  for (std::int64_t& one : ranks) rank(one);
  return *this;
}

void PeerFields::end() const {
  if (!rest_.empty()) throw BrokenMessage("a message that is too long");
}

std::string_view PeerFields::take(std::size_t bytes) {
  if (bytes > rest_.size()) throw BrokenMessage("a message that is too short");
  const std::string_view taken = rest_.substr(0, bytes);
  rest_.remove_prefix(bytes);
  return taken;
}

PeerBytes frame_of(PeerMessage kind, std::string_view payload) {
  std::string frame(magic);
  put_number(frame, version, 2);
  put_number(frame, static_cast<std::uint64_t>(kind), 2);
  put_number(frame, payload.size());
  frame += payload;
  return std::make_shared<const std::string>(std::move(frame));
}

namespace {

std::string keyed_hash(const std::string& secret, const PeerFields& fields) {
  static_assert(crypto_auth_hmacsha512256_BYTES == proof_bytes);
  const auto* key = reinterpret_cast<const unsigned char*>(secret.data());
  const std::string& bytes = fields.written();
  std::string hash(proof_bytes, '\0');
  crypto_auth_hmacsha512256_state state;
  crypto_auth_hmacsha512256_init(&state, key, secret.size());
  crypto_auth_hmacsha512256_update(&state, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  crypto_auth_hmacsha512256_final(&state, reinterpret_cast<unsigned char*>(hash.data()));
  return hash;
}

}  // namespace

std::string Handshake::hub_proof() const {
  std::string side = "rank 0", theirs = rank_once, ours = hub_once;
  PeerFields fields;
  fields.text(max_what, side).text(proof_bytes, theirs).text(proof_bytes, ours);
  return keyed_hash(secret, fields);
}

std::string Handshake::rank_proof(Hello hello) const {
  std::string side = "rank", ours = rank_once, theirs = hub_once;
  hello.proof.clear();
  PeerFields fields;
  fields.text(max_what, side).text(proof_bytes, ours).text(proof_bytes, theirs);
  hello.visit(fields);
  return keyed_hash(secret, fields);
}

std::string used_once() {
  require(sodium_init() >= 0, "libsodium does not start");
  std::string bytes(proof_bytes, '\0');
  randombytes_buf(bytes.data(), bytes.size());
  return bytes;
}

bool same_proof(const std::string& one, const std::string& other) {
  return one.size() == other.size() && sodium_memcmp(one.data(), other.data(), one.size()) == 0;
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
