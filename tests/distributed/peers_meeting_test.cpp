// How ranks find each other, and what happens to who does not belong.
#include <asio.hpp>

#include "distributed/peer_messages.h"
#include "distributed/peers.h"
#include "distributed/peers_support.h"

namespace temper {
namespace {

using asio::ip::tcp;

PeerSettings meeting_for(milliseconds time) { return {time, milliseconds(50), milliseconds(2000)}; }

/// No name of a machine: too long for one, so that nobody is asked for it over a network.
const std::string no_name(64, 'x');

std::future<std::string> coming(const Launch& launch, const std::string& key, const PeerSettings& settings) {
  return std::async(std::launch::async, [=] {
    return error_of([&] {
      Peers peers(launch, key, settings);
      peers.exchange("", "the end", patience);
    });
  });
}

/// A connection that is no Peers.
class Stranger {
 public:
  explicit Stranger(int port) {
    // Rank 0 may not listen yet.
    for (const auto end = steady_clock::now() + patience;; std::this_thread::sleep_for(milliseconds(5))) {
      asio::error_code error;
      socket_ = tcp::socket(io_);
      socket_.connect({asio::ip::address_v4::loopback(), static_cast<asio::ip::port_type>(port)}, error);
      if (!error) return;
      if (steady_clock::now() > end) throw std::runtime_error(error.message());
    }
  }
  void say(const std::string& bytes) { asio::write(socket_, asio::buffer(bytes)); }
  /// Greets rank 0, which must know the secret, and says hello as a rank that knows `secret`.
  void come(Hello hello, const std::string& secret = launch_of(0, 2, 0).secret) {
    Handshake handshake{launch_of(0, 2, 0).secret, used_once(), ""};
    say(*frame_of(Greeting{handshake.rank_once}));
    FrameReader reader(max_hub_payload(2));
    std::optional<PeerFrame> frame;
    for (char piece[4096]; !(frame = reader.next());) reader.add(piece, socket_.read_some(asio::buffer(piece)));
    const Challenge challenge = message_of<Challenge>(*frame, 2);
    handshake.hub_once = challenge.once;
    EXPECT_TRUE(same_proof(challenge.proof, handshake.hub_proof()));
    handshake.secret = secret;
    hello.proof = handshake.rank_proof(hello);
    say(*frame_of(hello));
  }
  /// What comes until some of it holds `text`; to each piece it says `answer`.
  void await(const std::string& text, const std::string& answer) {
    std::string bytes;
    for (char piece[4096]; bytes.find(text) == std::string::npos; say(answer))
      bytes.append(piece, socket_.read_some(asio::buffer(piece)));
  }
  /// What comes until the other side closes.
  std::string listen() {
    std::string bytes;
    asio::error_code error;
    asio::read(socket_, asio::dynamic_buffer(bytes), error);
    return bytes;
  }

 private:
  asio::io_context io_;
  tcp::socket socket_{io_};
};

TEST(PeersMeeting, OthersMayComeBeforeRank0) {
  const int port = free_port();
  std::vector<std::future<std::string>> others;
  for (std::int64_t rank : {3, 1, 2}) others.push_back(coming(launch_of(rank, 4, port), "key", patient_settings()));
  std::this_thread::sleep_for(milliseconds(700));
  EXPECT_EQ(coming(launch_of(0, 4, port), "key", patient_settings()).get(), "");
  for (auto& one : others) EXPECT_EQ(one.get(), "");
}

TEST(PeersMeeting, TheListenersPlaceLeadsToIt) {
  const auto listener = Peers::listen(0);
  const auto [addresses, port] = Peers::place(*listener);
  ASSERT_FALSE(addresses.empty());
  EXPECT_GT(port, 0);
  std::string list;
  for (const std::string& address : addresses) {
    asio::error_code error;
    asio::ip::make_address(address, error);
    EXPECT_FALSE(error) << address;
    list += (list.empty() ? "" : ",") + address;
  }
  Launch launch = launch_of(1, 2, port);
  launch.address = list;
  auto rank_1 = coming(launch, "key", patient_settings());
  Peers rank_0(launch_of(0, 2, 0), listener, "key", patient_settings());
  rank_0.exchange("", "the end", patience);
  EXPECT_EQ(rank_1.get(), "");
}

TEST(PeersMeeting, AddressesAreTriedInTurn) {
  const int port = free_port();
  Launch launch = launch_of(1, 2, port);
  launch.address = no_name + ",::1,127.0.0.7,127.0.0.1";  // rank 0 listens at the last one alone
  auto rank_1 = coming(launch, "key", patient_settings());
  EXPECT_EQ(coming(launch_of(0, 2, port), "key", patient_settings()).get(), "");
  EXPECT_EQ(rank_1.get(), "");
}

TEST(PeersMeeting, NamesAndIpv6LeadToRank0) {
  asio::io_context io;
  asio::error_code error;
  tcp::acceptor probe(io);
  probe.open(tcp::v6(), error);
  if (!error) probe.bind({asio::ip::address_v6::loopback(), 0}, error);
  if (error) GTEST_SKIP() << "this machine has no IPv6: " << error.message();
  for (const std::string address : {"::1", "localhost"}) {
    Launch launch = launch_of(0, 2, free_port());
    launch.address = address;
    auto rank_0 = coming(launch, "key", patient_settings());
    launch.rank = 1;
    EXPECT_EQ(coming(launch, "key", patient_settings()).get(), "");
    EXPECT_EQ(rank_0.get(), "");
  }
}

TEST(PeersMeeting, WhoIsMissingIsNamedEverywhere) {
  const int port = free_port();
  std::vector<std::future<std::string>> ranks;
  for (std::int64_t rank : {0, 2})
    ranks.push_back(coming(launch_of(rank, 4, port), "key", rank == 0 ? meeting_for(milliseconds(3000)) : patient_settings()));
  for (auto& one : ranks) {
    const std::string error = one.get();
    EXPECT_CONTAINS(error, "ranks 1 and 3 of 4 did not come to rank 0 on ");
    EXPECT_CONTAINS(error, "port " + std::to_string(port) + " within 3 s");
    EXPECT_CONTAINS(error, "firewall");
  }
}

TEST(PeersMeeting, WithoutRank0TheAddressIsNamed) {
  const int port = free_port();
  const std::string error = coming(launch_of(1, 2, port), "key", meeting_for(milliseconds(500))).get();
  EXPECT_CONTAINS(error,
                  "rank 1 found no rank 0 at 127.0.0.1 port " + std::to_string(port) + " within 0.5 s (last: 127.0.0.1 port ");
  EXPECT_CONTAINS(error, "Connection refused");
  EXPECT_CONTAINS(error, "MASTER_ADDR");
  Launch unknown = launch_of(1, 2, port);
  unknown.address = no_name;
  EXPECT_CONTAINS(coming(unknown, "key", meeting_for(milliseconds(500))).get(), "the name " + no_name + ": ");
}

TEST(PeersMeeting, WithoutAPlaceThereIsNoMeeting) {
  try {
    Peers peers(Launch{1, 2, 1, 2, "", 0, "Open MPI"}, "key");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    EXPECT_CONTAINS(error.what(), "Open MPI names no place; set MASTER_ADDR");
  }
}

TEST(PeersMeeting, AnotherKeyIsToldOnBothSides) {
  const int port = free_port();
  auto rank_0 = coming(launch_of(0, 2, port), "key of one run", meeting_for(milliseconds(4000)));
  const std::string refused = coming(launch_of(1, 2, port), "key of another", patient_settings()).get();
  for (const std::string& error : {refused, rank_0.get()})
    EXPECT_CONTAINS(error, "it has the key key of another, rank 0 has key of one run");
  EXPECT_CONTAINS(refused, "refused rank 1 on ");
}

TEST(PeersMeeting, WhoIsRefusedDoesNotDisturb) {
  const int port = free_port();
  auto rank_0 = coming(launch_of(0, 3, port), "key", patient_settings());
  EXPECT_CONTAINS(coming(launch_of(1, 3, port), "other", patient_settings()).get(), "it has the key other");
  EXPECT_CONTAINS(coming(launch_of(1, 4, port), "key", patient_settings()).get(), "one of 4 ranks, rank 0 as one of 3");
  EXPECT_CONTAINS(coming(launch_of(3, 3, port), "key", patient_settings()).get(), "its number is not below the number of ranks, 3");
  auto rank_1 = coming(launch_of(1, 3, port), "key", patient_settings());
  // Which of the two is refused is chance; one is.
  auto twin = coming(launch_of(1, 3, port), "key", patient_settings());
  while (rank_1.wait_for(milliseconds(2)) != std::future_status::ready &&
         twin.wait_for(milliseconds(2)) != std::future_status::ready) {
  }
  EXPECT_EQ(coming(launch_of(2, 3, port), "key", patient_settings()).get(), "");
  const std::string one = rank_1.get(), other = twin.get();
  EXPECT_EQ(std::min(one, other), "");
  EXPECT_CONTAINS(std::max(one, other), "there is a rank 1 already, on ");
  EXPECT_EQ(rank_0.get(), "");
}

TEST(PeersMeeting, StrangersDoNotDisturb) {
  const int port = free_port();
  auto rank_0 = coming(launch_of(0, 2, port), "key", patient_settings());
  std::vector<std::unique_ptr<Stranger>> strangers;
  std::string endless = *frame_of(PeerMessage::hello);
  endless[15] = '\x7f';
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(100'000, '\0'), endless, *frame_of(PeerMessage::beat),
        *frame_of(PeerMessage::farewell), *frame_of(PeerMessage::hello, "short"), *frame_of(Question{1}),
        *frame_of(Offer{1, "what", "value"})}) {
    Stranger stranger(port);
    asio::error_code ignored;
    try {
      stranger.say(bytes);
    } catch (const std::system_error&) {  // refused before all of it was said
    }
    EXPECT_EQ(stranger.listen(), "");
  }
  strangers.push_back(std::make_unique<Stranger>(port));  // silent until the end
  strangers.push_back(std::make_unique<Stranger>(port));
  strangers.back()->say(frame_of(Hello{1, 2, "key", "host"})->substr(0, 20));
  EXPECT_EQ(coming(launch_of(1, 2, port), "key", patient_settings()).get(), "");
  EXPECT_EQ(rank_0.get(), "");
}

TEST(PeersMeeting, WhoDoesNotKnowTheSecretHearsNothing) {
  const int port = free_port();
  auto rank_0 = coming(launch_of(0, 2, port), "key", patient_settings());
  for (const std::string secret : {"", "what these tests alone knew"}) {
    Stranger stranger(port);
    stranger.come({1, 2, "key", "host"}, secret);
    EXPECT_EQ(stranger.listen(), "");
  }
  Stranger hasty(port);  // says hello where a greeting belongs, as if it had been asked
  hasty.say(*frame_of(Hello{1, 2, "key", "host", std::string(proof_bytes, 'p')}));
  EXPECT_EQ(hasty.listen(), "");
  EXPECT_EQ(coming(launch_of(1, 2, port), "key", patient_settings()).get(), "");
  EXPECT_EQ(rank_0.get(), "");
}

TEST(PeersMeeting, AnotherSecretIsToldOnBothSides) {
  const int port = free_port();
  auto rank_0 = coming(launch_of(0, 2, port), "key", meeting_for(milliseconds(1500)));
  Launch other = launch_of(1, 2, port);
  other.secret = "another secret of a run";
  const std::string error = coming(other, "key", meeting_for(milliseconds(1000))).get();
  EXPECT_CONTAINS(error, "it sent no proof that it knows this run's secret, TEMPER_SECRET");
  const std::string at_rank_0 = rank_0.get();
  EXPECT_CONTAINS(at_rank_0, "connections were from no rank of temper that knows this run's secret");
  for (const std::string& text : {error, at_rank_0})
    for (const std::string& secret : {other.secret, launch_of(0, 2, port).secret}) EXPECT_EQ(text.find(secret), std::string::npos);
}

TEST(PeersMeeting, ManySilentConnectionsKeepNobodyOutForLong) {
  const int port = free_port();
  auto rank_0 = coming(launch_of(0, 2, port), "key", meeting_for(patience));
  std::vector<std::unique_ptr<Stranger>> strangers;
  for (int i = 0; i < 200; ++i) strangers.push_back(std::make_unique<Stranger>(port));
  EXPECT_EQ(coming(launch_of(1, 2, port), "key", patient_settings()).get(), "");
  EXPECT_EQ(rank_0.get(), "");
}

TEST(PeersMeeting, AStrangerThatTalksSlowlyIsSentAway) {
  const int port = free_port();
  auto rank_0 = coming(launch_of(0, 2, port), "key", meeting_for(patience));
  Stranger slow(port);
  const std::string hello = *frame_of(Hello{1, 2, std::string(500, 'k'), "host"});
  std::size_t said = 0;
  EXPECT_THROW(
      {
        for (; said < hello.size(); ++said, std::this_thread::sleep_for(milliseconds(50))) slow.say(hello.substr(said, 1));
      },
      std::system_error);
  EXPECT_LT(said, hello.size());
  EXPECT_EQ(coming(launch_of(1, 2, port), "key", patient_settings()).get(), "");
  EXPECT_EQ(rank_0.get(), "");
}

TEST(PeersMeeting, SilentStrangersAreCountedWhereTheMeetingFails) {
  const int port = free_port();
  auto rank_0 = coming(launch_of(0, 2, port), "key", meeting_for(milliseconds(3000)));
  Stranger(port).say("GET / HTTP/1.1\r\n\r\n");
  EXPECT_CONTAINS(rank_0.get(), "1 connections were from no rank of temper");
}

TEST(PeersMeeting, ARankThatLeftMayComeAgain) {
  const int port = free_port();
  auto rank_0 = coming(launch_of(0, 3, port), "key", patient_settings());
  {
    Stranger gone(port);
    gone.come({1, 3, "key", "host"});
    gone.await(*frame_of(PeerMessage::beat), "");  // which only members get
  }
  auto rank_1 = coming(launch_of(1, 3, port), "key", patient_settings());
  EXPECT_EQ(coming(launch_of(2, 3, port), "key", patient_settings()).get(), "");
  EXPECT_EQ(rank_1.get(), "");
  EXPECT_EQ(rank_0.get(), "");
}

TEST(PeersMeeting, AHalfOpenConnectionIsLostAfterTheTimeout) {
  const int port = free_port();
  auto rank_0 =
      std::async(std::launch::async, [&] { return std::make_unique<Peers>(launch_of(0, 3, port), "key", meeting_for(patience)); });
  auto rank_2 =
      std::async(std::launch::async, [&] { return std::make_unique<Peers>(launch_of(2, 3, port), "key", meeting_for(patience)); });
  Stranger half_open(port);  // open, and once all have met nothing comes over it any more
  half_open.come({1, 3, "key", "silent-host"});
  half_open.await("silent-host", *frame_of(PeerMessage::beat));
  for (auto* one : {&rank_0, &rank_2}) {
    const auto peers = one->get();
    const LostPeer lost = lost_of(*peers);
    EXPECT_EQ(lost.rank, 1);
    EXPECT_EQ(lost.host, "silent-host");
    EXPECT_EQ(lost.reason, "no sign of life for 2 s");
  }
}

TEST(PeersMeeting, ARankThatTalksNonsenseIsLost) {
  std::string cut = *frame_of(Offer{1, "what", "value"});
  cut[8] = 3;  // the payload's length
  for (const std::string& bytes :
       {std::string("nonsense, and a lot of it"), *frame_of(Welcome{{"a", "b"}}), *frame_of(Offer{2, "what", ""}), cut,
        *frame_of(static_cast<PeerMessage>(77)), *frame_of(PeerMessage::offer, std::string(2u << 20, 'x'))}) {
    const int port = free_port();
    auto rank_0 =
        std::async(std::launch::async, [&] { return std::make_unique<Peers>(launch_of(0, 2, port), "key", patient_settings()); });
    Stranger rank_1(port);
    rank_1.come({1, 2, "key", "host"});
    const auto peers = rank_0.get();
    asio::error_code ignored;
    try {
      rank_1.say(bytes);
    } catch (const std::system_error&) {
    }
    const LostPeer lost = lost_of(*peers);
    EXPECT_EQ(lost.rank, 1);
    EXPECT_CONTAINS(lost.reason, "it sent ");
  }
}

/// Something else that listens where rank 0 is looked for.
TEST(PeersMeeting, WhatIsNoRank0IsNotTakenForIt) {
  for (const std::string& answer : {std::string("SSH-2.0-OpenSSH_9.2\r\n"), std::string(), *frame_of(PeerMessage::farewell),
                                    *frame_of(Welcome{{"only one"}}), *frame_of(Hello{0, 2, "key", "host"})}) {
    asio::io_context io;
    tcp::acceptor acceptor(io, {asio::ip::address_v4::loopback(), 0});
    const int port = acceptor.local_endpoint().port();
    auto rank_1 = coming(launch_of(1, 2, port), "key", meeting_for(milliseconds(500)));
    std::vector<tcp::socket> open;
    acceptor.non_blocking(true);
    while (rank_1.wait_for(milliseconds(5)) != std::future_status::ready) {
      asio::error_code error;
      tcp::socket socket = acceptor.accept(error);
      if (error) continue;
      asio::write(socket, asio::buffer(answer), error);
      open.push_back(std::move(socket));
    }
    const std::string error = rank_1.get();
    EXPECT_CONTAINS(error, "rank 1 found no rank 0 at 127.0.0.1");
    EXPECT_CONTAINS(error, answer.empty() ? "no sign of life for 2 s" : "it sent ");
  }
}

TEST(PeersMeeting, ATakenPortIsNamed) {
  const auto listener = Peers::listen(0);
  const int port = Peers::place(*listener).second;
  const std::string error = error_of([&] { Peers peers(launch_of(0, 2, port), "key", patient_settings()); });
  EXPECT_CONTAINS(error, "rank 0 cannot listen at port " + std::to_string(port));
  EXPECT_CONTAINS(error, "Address already in use");
}

TEST(PeersMeeting, APortIsFreeAtOnceAfterAKill) {
  const int port = free_port();
  for (int run = 0; run < 5; ++run) {
    const auto rank_1 = idle_rank(1, 2, port, patient_settings());
    const auto rank_0 = idle_rank(0, 2, port, patient_settings());
    ASSERT_EQ(rank_0->line(), "met");
    rank_0->signal(SIGKILL);
    rank_0->wait();
  }
}

}  // namespace
}  // namespace temper
