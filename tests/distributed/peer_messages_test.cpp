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

template <typename Message>
Sample sample(Message message) {
  return {frame_of(std::move(message)), [](const PeerFrame& frame) { message_of<Message>(frame, size); }};
}

std::vector<Sample> samples() {
  return {sample(Greeting{"once"}),
          sample(Challenge{"once", "proof"}),
          sample(Hello{2, 3, "key", "host", "proof"}),
          sample(Welcome{{"a", "b", "c"}}),
          sample(Refused{"why not"}),
          sample(Offer{7, "what", std::string(1000, '\0')}),
          sample(Result{7, {"", "b", "cc"}}),
          sample(Question{9}),
          sample(Absent{7, {0, 2}}),
          sample(Failed{"why"}),
          sample(Lost{{1, "host", "reason"}})};
}

/// A message there and back.
template <typename Message>
Message back(Message message) {
  return message_of<Message>(read_one(*frame_of(std::move(message))), size);
}

TEST(PeerMessages, ComeBackAsTheyWere) {
  const Hello hello = back(Hello{2, 3, "key", "host"});
  EXPECT_EQ(hello.rank, 2);
  EXPECT_EQ(hello.size, 3);
  EXPECT_EQ(hello.key, "key");
  EXPECT_EQ(hello.host, "host");
  EXPECT_EQ(back(Welcome{{"a", "", "c"}}).hosts, (std::vector<std::string>{"a", "", "c"}));
  const Offer offer = back(Offer{1ull << 40, "what", std::string("a\0\n", 3)});
  EXPECT_EQ(offer.number, 1ull << 40);
  EXPECT_EQ(offer.what, "what");
  EXPECT_EQ(offer.value, std::string("a\0\n", 3));
  const Result result = back(Result{5, {"x", "", "zz"}});
  EXPECT_EQ(result.number, 5u);
  EXPECT_EQ(result.values, (std::vector<std::string>{"x", "", "zz"}));
  const Absent absent = back(Absent{5, {0, 1, 2}});
  EXPECT_EQ(absent.number, 5u);
  EXPECT_EQ(absent.ranks, (std::vector<std::int64_t>{0, 1, 2}));
  const LostPeer lost = back(Lost{{1, "host", "reason"}}).peer;
  EXPECT_EQ(lost.rank, 1);
  EXPECT_EQ(lost.host, "host");
  EXPECT_EQ(lost.reason, "reason");
  EXPECT_EQ(back(Question{11}).number, 11u);
  EXPECT_EQ(back(Failed{"why\n"}).why, "why ");
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
  ++other[4];
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
  EXPECT_THROW(back(Lost{{3, "", ""}}), BrokenMessage);
  EXPECT_THROW(back(Lost{{-1, "", ""}}), BrokenMessage);
  EXPECT_THROW(back(Absent{1, {3}}), BrokenMessage);
  EXPECT_THROW(back(Absent{1, {0, 1, 2, 0}}), BrokenMessage);
  EXPECT_THROW(back(Hello{-1, 3, "", ""}), BrokenMessage);
  EXPECT_THROW(back(Hello{0, 3, std::string(max_key + 1, 'k'), ""}), BrokenMessage);
  EXPECT_THROW(back(Offer{1, "", std::string(max_value + 1, 'v')}), BrokenMessage);
}

TEST(PeerMessages, ProofsTellSecretsNumbersSidesAndRanksApart) {
  const Hello hello{1, 2, "key", "host"};
  const Handshake handshake{"secret", used_once(), used_once()};
  std::vector<Handshake> others(5, handshake);
  others[0].secret = "secres";
  others[1].secret = "";
  others[2].rank_once = used_once();
  others[3].hub_once = used_once();
  std::swap(others[4].rank_once, others[4].hub_once);
  std::vector<std::string> proofs = {handshake.hub_proof(), handshake.rank_proof(hello),
                                     handshake.rank_proof({0, 2, "key", "host"}), handshake.rank_proof({1, 2, "keyh", "ost"})};
  for (const Handshake& other : others) {
    proofs.push_back(other.hub_proof());
    proofs.push_back(other.rank_proof(hello));
  }
  for (std::size_t i = 0; i < proofs.size(); ++i) {
    EXPECT_EQ(proofs[i].size(), proof_bytes);
    for (std::size_t j = 0; j < proofs.size(); ++j) EXPECT_EQ(same_proof(proofs[i], proofs[j]), i == j) << i << " " << j;
  }
  EXPECT_FALSE(same_proof(proofs[0], proofs[0].substr(1)));
  Hello proven = hello;
  proven.proof = "does not count";
  EXPECT_TRUE(same_proof(handshake.rank_proof(proven), handshake.rank_proof(hello)));
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
