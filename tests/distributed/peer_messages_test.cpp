// Messages between ranks: whole, in pieces, cut and damaged. What comes over a socket is hostile.
#include "distributed/peer_messages.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>

namespace temper {
namespace {

constexpr std::int64_t size = 3;

PeerFrame read_one(const std::string& bytes, std::uint64_t max_payload = max_hub_payload(size)) {
  FrameReader reader(max_payload);
  reader.add(bytes.data(), bytes.size());
  return reader.next().value();
}

/// Every message with contents, and what takes its payload apart.
struct Sample {
  PeerBytes bytes;
  std::function<void(const PeerFrame&)> decode;
};

std::vector<Sample> samples() {
  return {
      {frame_of(Hello{2, 3, "key", "host"}), [](const PeerFrame& frame) { hello_of(frame); }},
      {frame_of(Welcome{{"a", "b", "c"}}), [](const PeerFrame& frame) { welcome_of(frame, size); }},
      {frame_of(Offer{7, "what", std::string(1000, '\0')}), [](const PeerFrame& frame) { offer_of(frame); }},
      {frame_of(Result{7, {"", "b", "cc"}}), [](const PeerFrame& frame) { result_of(frame, size); }},
      {frame_of(Absent{7, {0, 2}}), [](const PeerFrame& frame) { absent_of(frame, size); }},
      {frame_of(LostPeer{1, "host", "reason"}), [](const PeerFrame& frame) { lost_of(frame, size); }},
      {question_frame(9), [](const PeerFrame& frame) { question_of(frame); }},
  };
}

TEST(PeerMessages, ComeBackAsTheyWere) {
  const Hello hello = hello_of(read_one(*frame_of(Hello{2, 3, "key", "host"})));
  EXPECT_EQ(hello.rank, 2);
  EXPECT_EQ(hello.size, 3);
  EXPECT_EQ(hello.key, "key");
  EXPECT_EQ(hello.host, "host");
  EXPECT_EQ(welcome_of(read_one(*frame_of(Welcome{{"a", "", "c"}})), size).hosts, (std::vector<std::string>{"a", "", "c"}));
  const Offer offer = offer_of(read_one(*frame_of(Offer{1ull << 40, "what", std::string("a\0\n", 3)})));
  EXPECT_EQ(offer.number, 1ull << 40);
  EXPECT_EQ(offer.what, "what");
  EXPECT_EQ(offer.value, std::string("a\0\n", 3));
  const Result result = result_of(read_one(*frame_of(Result{5, {"x", "", "zz"}})), size);
  EXPECT_EQ(result.number, 5u);
  EXPECT_EQ(result.values, (std::vector<std::string>{"x", "", "zz"}));
  const Absent absent = absent_of(read_one(*frame_of(Absent{5, {0, 1, 2}})), size);
  EXPECT_EQ(absent.number, 5u);
  EXPECT_EQ(absent.ranks, (std::vector<std::int64_t>{0, 1, 2}));
  const LostPeer lost = lost_of(read_one(*frame_of(LostPeer{1, "host", "reason"})), size);
  EXPECT_EQ(lost.rank, 1);
  EXPECT_EQ(lost.host, "host");
  EXPECT_EQ(lost.reason, "reason");
  EXPECT_EQ(question_of(read_one(*question_frame(11))), 11u);
  EXPECT_EQ(text_of(read_one(*frame_of(PeerMessage::failed, "why\n"))), "why ");
}

TEST(PeerMessages, ComeInAnyPieces) {
  std::string stream;
  std::vector<PeerMessage> kinds;
  for (const Sample& sample : samples()) {
    stream += *sample.bytes;
    kinds.push_back(read_one(*sample.bytes).kind);
  }
  for (const std::size_t piece : {1, 2, 3, 15, 16, 17, 100, 100'000}) {
    FrameReader reader(max_hub_payload(size));
    std::vector<PeerMessage> came;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      reader.add(stream.data() + at, std::min(piece, stream.size() - at));
      while (const auto frame = reader.next()) came.push_back(frame->kind);
    }
    EXPECT_EQ(came, kinds) << "in pieces of " << piece;
  }
}

TEST(PeerMessages, StrangersAreToldByTheirFirstBytes) {
  for (const std::string bytes : {"G", "GET / HTTP/1.1\r\n\r\n", "\n", "TMPX", "TN"}) {
    FrameReader reader(max_stranger_payload);
    reader.add(bytes.data(), bytes.size());
    EXPECT_THROW(reader.next(), BrokenMessage) << bytes;
  }
  FrameReader reader(max_stranger_payload);
  reader.add("TMP", 3);
  EXPECT_FALSE(reader.next());
}

TEST(PeerMessages, OtherVersionsAndLongMessagesAreRefusedByTheirHeader) {
  std::string other = *frame_of(PeerMessage::beat);
  other[4] = 2;
  EXPECT_THROW(read_one(other), BrokenMessage);
  const std::string large = *frame_of(PeerMessage::offer, std::string(max_stranger_payload + 1, 'x'));
  EXPECT_THROW(read_one(large.substr(0, 16), max_stranger_payload), BrokenMessage);
  EXPECT_EQ(read_one(large, max_stranger_payload + 1).payload.size(), max_stranger_payload + 1);
  std::string endless = *frame_of(PeerMessage::offer);
  for (std::size_t i = 8; i < 16; ++i) endless[i] = '\xff';
  EXPECT_THROW(read_one(endless), BrokenMessage);
}

TEST(PeerMessages, CutOrLongerPayloadsAreRefused) {
  for (const Sample& sample : samples()) {
    const PeerFrame whole = read_one(*sample.bytes);
    sample.decode(whole);
    for (std::size_t bytes = 0; bytes < whole.payload.size(); ++bytes)
      EXPECT_THROW(sample.decode({whole.kind, whole.payload.substr(0, bytes)}), BrokenMessage) << bytes;
    EXPECT_THROW(sample.decode({whole.kind, whole.payload + '\0'}), BrokenMessage);
  }
}

TEST(PeerMessages, NumbersOutOfRangeAreRefused) {
  EXPECT_THROW(lost_of(read_one(*frame_of(LostPeer{3, "", ""})), size), BrokenMessage);
  EXPECT_THROW(lost_of(read_one(*frame_of(LostPeer{-1, "", ""})), size), BrokenMessage);
  EXPECT_THROW(absent_of(read_one(*frame_of(Absent{1, {3}})), size), BrokenMessage);
  EXPECT_THROW(absent_of(read_one(*frame_of(Absent{1, {0, 1, 2, 0}})), size), BrokenMessage);
  EXPECT_THROW(hello_of(read_one(*frame_of(Hello{-1, 3, "", ""}))), BrokenMessage);
  EXPECT_THROW(hello_of(read_one(*frame_of(Hello{0, 3, std::string(max_key + 1, 'k'), ""}))), BrokenMessage);
  EXPECT_THROW(offer_of(read_one(*frame_of(Offer{1, "", std::string(max_value + 1, 'v')}))), BrokenMessage);
}

TEST(PeerMessages, DamagedBytesAreRefusedOrRead) {
  std::mt19937 random(1);
  const auto all = samples();
  for (int round = 0; round < 20'000; ++round) {
    const Sample& sample = all[random() % all.size()];
    std::string bytes = *sample.bytes;
    for (auto changes = 1 + random() % 3; changes > 0; --changes) bytes[random() % bytes.size()] = static_cast<char>(random());
    try {
      FrameReader reader(max_rank_payload);
      reader.add(bytes.data(), bytes.size());
      while (const auto frame = reader.next())
        for (const Sample& other : all) {
          try {
            other.decode(*frame);
          } catch (const BrokenMessage&) {
          }
        }
    } catch (const BrokenMessage&) {
    }
  }
}

}  // namespace
}  // namespace temper
