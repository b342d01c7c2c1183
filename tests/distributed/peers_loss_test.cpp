// Processes that die, stop and go on.

#include <fcntl.h>

#include "distributed/peers.h"
#include "distributed/peers_support.h"

namespace temper {
namespace {

TEST(PeersLoss, AKilledRankIsLostAtOnce) {
  const int port = free_port();
  const auto rank_2 = idle_rank(2, 3, port, patient_settings());
  const auto peers = meet(2, port, patient_settings(), 0, 3);
  auto waiting = std::async(std::launch::async, [&] { return error_of([&] { peers[1]->exchange("", "the loss", patience); }); });
  ASSERT_EQ(rank_2->line(), "met");
  rank_2->signal(SIGKILL);
  // Heartbeats are not missed within this test: only the closed connection can tell.
  for (const auto& one : peers) {
    const LostPeer lost = lost_of(*one);
    EXPECT_EQ(lost.rank, 2);
    EXPECT_EQ(lost.reason, "its connection closed");
    EXPECT_EQ(lost.host, one->hosts()[2]);
  }
  EXPECT_CONTAINS(waiting.get(), "is gone (its connection closed) while rank 1 waited for the loss");
}

TEST(PeersLoss, AProcessThatTheKilledRankStartedDoesNotHideIt) {
  const int port = free_port();
  Child rank_1([&](const Child::Say& say) {
    Peers peers(launch_of(1, 2, port), "key", patient_settings());
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    const pid_t other = ::fork();
    if (other == 0) {
      ::execlp("sleep", "sleep", "3600", nullptr);  // longer than this test waits
      ::_exit(1);
    }
    ::close(ends[1]);
    char nothing;
    while (::read(ends[0], &nothing, 1) != 0) {  // its end of the pipe closes when it becomes another program
    }
    say(std::to_string(other));
    std::this_thread::sleep_for(patience);
  });
  const auto peers = meet(1, port, patient_settings(), 0, 2);
  const pid_t other = std::stoi(rank_1.line());
  rank_1.signal(SIGKILL);
  const LostPeer lost = lost_of(*peers[0]);
  ::kill(other, SIGKILL);
  EXPECT_EQ(lost.rank, 1);
  EXPECT_EQ(lost.reason, "its connection closed");
}

TEST(PeersLoss, AKilledRank0IsNoticedByEachOther) {
  const int port = free_port();
  const auto rank_0 = idle_rank(0, 3, port, patient_settings());
  const auto peers = meet(2, port, patient_settings(), 1, 3);
  rank_0->signal(SIGKILL);
  for (const auto& one : peers) {
    const LostPeer lost = lost_of(*one);
    EXPECT_EQ(lost.rank, 0);
    EXPECT_EQ(lost.reason, "its connection closed");
  }
}

TEST(PeersLoss, AStoppedRankIsLostAfterTheTimeoutAndLearnsIt) {
  const int port = free_port();
  Child rank_2([&](const Child::Say& say) {
    Peers peers(launch_of(2, 3, port), "key", quick_settings());
    say("met");
    peers.exchange("", "the loss", patience);
  });
  const auto peers = meet(2, port, quick_settings(), 0, 3);
  ASSERT_EQ(rank_2.line(), "met");
  rank_2.signal(SIGSTOP);
  for (const auto& one : peers) {
    const LostPeer lost = lost_of(*one);
    EXPECT_EQ(lost.rank, 2);
    EXPECT_EQ(lost.reason, "no sign of life for 2 s");
  }
  rank_2.signal(SIGCONT);
  EXPECT_CONTAINS(rank_2.line(), "(this process) was given up by the others (no sign of life for 2 s)");
}

TEST(PeersLoss, AStoppedRank0IsNoticedByEachOther) {
  const int port = free_port();
  const auto rank_0 = idle_rank(0, 3, port, quick_settings());
  const auto peers = meet(2, port, quick_settings(), 1, 3);
  rank_0->signal(SIGSTOP);
  for (const auto& one : peers) {
    const LostPeer lost = lost_of(*one);
    EXPECT_EQ(lost.rank, 0);
    EXPECT_EQ(lost.reason, "no sign of life for 2 s");
  }
}

TEST(PeersLoss, DestructorsDoNotWaitForARankThatIsLost) {
  const int port = free_port();
  constexpr std::int64_t many = 16;
  const auto rank_0 = idle_rank(0, many + 1, port, quick_settings());
  auto peers = meet(many, port, quick_settings(), 1, many + 1);
  rank_0->signal(SIGSTOP);
  for (const auto& one : peers) lost_of(*one);
  const auto before = steady_clock::now();
  peers.clear();  // one after another, in a millisecond each or in the two seconds that each may wait for others
  EXPECT_LT(steady_clock::now() - before, many * milliseconds(1000));
}

TEST(PeersLoss, AShortStopIsNoLoss) {
  const int port = free_port();
  PeerSettings settings = quick_settings();
  settings.heartbeat_timeout = milliseconds(20'000);  // stopped for a tenth of it; the rest is for a busy machine
  Child rank_1([&](const Child::Say& say) {
    Peers peers(launch_of(1, 2, port), "key", settings);
    say("met");
    peers.exchange("", "the loss", patience);
    say("well");
  });
  const auto peers = meet(1, port, settings, 0, 2);
  ASSERT_EQ(rank_1.line(), "met");
  rank_1.signal(SIGSTOP);
  std::this_thread::sleep_for(milliseconds(2000));
  rank_1.signal(SIGCONT);
  EXPECT_EQ(peers[0]->exchange("", "the loss", patience).size(), 2u);
  EXPECT_EQ(rank_1.line(), "well");
}

TEST(PeersLoss, AProcessThatWasStoppedDoesNotTakeTheOthersForSilent) {
  // It sleeps for three times its own timeout and finds all their beats waiting when it goes on: the others were never silent.
  const int port = free_port();
  for (const std::int64_t stopped : {0, 1}) {
    Child child([&](const Child::Say& say) {
      Peers peers(launch_of(stopped, 2, port), "key", {patience, milliseconds(50), milliseconds(1000)});
      say("met");
      for (const auto end = steady_clock::now() + milliseconds(4500); steady_clock::now() < end;
           std::this_thread::sleep_for(milliseconds(10)))
        peers.check("time to pass");
      peers.exchange("", "the loss", patience);
      say("well");
    });
    const auto peers = meet(1, port, patient_settings(), 1 - stopped, 2);
    ASSERT_EQ(child.line(), "met");
    child.signal(SIGSTOP);
    std::this_thread::sleep_for(milliseconds(3000));
    child.signal(SIGCONT);
    EXPECT_EQ(error_of([&] { peers[0]->exchange("", "the loss", patience); }), "");
    EXPECT_EQ(child.line(), "well");
  }
}

TEST(PeersLoss, TheFirstLossIsTheOneThatCounts) {
  const int port = free_port();
  const auto rank_1 = idle_rank(1, 4, port, patient_settings());
  const auto rank_2 = idle_rank(2, 4, port, patient_settings());
  auto rank_0 = std::async(std::launch::async, [&] { return meet(1, port, patient_settings(), 0, 4); });
  const auto rank_3 = meet(1, port, patient_settings(), 3, 4);
  const auto hub = rank_0.get();
  rank_2->signal(SIGKILL);
  EXPECT_EQ(lost_of(*hub[0]).rank, 2);
  rank_1->signal(SIGKILL);
  rank_1->wait();
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_EQ(lost_of(*hub[0]).rank, 2);
  EXPECT_EQ(lost_of(*rank_3[0]).rank, 2);
}

TEST(PeersLoss, KillsAmongExchangesAreAlwaysNoticedByAll) {
  const int port = free_port();
  for (unsigned round = 0; round < 10; ++round) {
    const std::int64_t victim = 1 + round % 3;
    Child child([&](const Child::Say& say) {
      Peers peers(launch_of(victim, 4, port), "key", patient_settings());
      say("met");
      while (true) {
        peers.exchange(std::string(10'000, 'x'), "a value", patience);
        say("exchanged");
      }
    });
    std::vector<std::future<std::string>> others;
    for (std::int64_t rank = 0; rank < 4; ++rank) {
      if (rank == victim) continue;
      others.push_back(std::async(std::launch::async, [=] {
        Peers peers(launch_of(rank, 4, port), "key", patient_settings());
        return error_of([&] {
          while (true) peers.exchange(std::string(10'000, 'y'), "a value", patience);
        });
      }));
    }
    ASSERT_EQ(child.line(), "met");
    for (unsigned exchanged = 0; exchanged < round * round; ++exchanged) ASSERT_EQ(child.line(), "exchanged");
    child.signal(SIGKILL);
    for (auto& one : others) EXPECT_CONTAINS(one.get(), "rank " + std::to_string(victim) + " on ");
  }
}

}  // namespace
}  // namespace temper
