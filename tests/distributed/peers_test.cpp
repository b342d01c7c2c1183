// Exchanges, farewells and reasons among ranks that are well.
#include "distributed/peers.h"

#include "distributed/peers_support.h"
#include "kernels/check.h"

namespace temper {
namespace {

/// Runs `action` for all ranks at the same time; what each ended with, by rank ("" is well).
std::vector<std::string> all(const std::vector<std::unique_ptr<Peers>>& peers,
                             const std::function<void(Peers&, std::size_t)>& action) {
  std::vector<std::future<std::string>> running;
  for (std::size_t rank = 0; rank < peers.size(); ++rank)
    running.push_back(std::async(std::launch::async, [&, rank] { return error_of([&] { action(*peers[rank], rank); }); }));
  std::vector<std::string> errors;
  for (auto& one : running) errors.push_back(one.get());
  return errors;
}

TEST(Peers, AProcessByItselfNeedsNobody) {
  Peers peers(Launch{}, "key");
  EXPECT_EQ(peers.exchange("mine", "a value", milliseconds(0)), std::vector<std::string>{"mine"});
  EXPECT_EQ(peers.hosts().size(), 1u);
  EXPECT_FALSE(peers.lost());
  peers.check("nothing");
  peers.fail("no reason");
}

TEST(Peers, ExchangesGiveEachRanksValueByRank) {
  const auto peers = meet(4, free_port(), patient_settings());
  const auto errors = all(peers, [](Peers& one, std::size_t rank) {
    for (int round = 0; round < 200; ++round) {
      const auto mine = [&](std::size_t who) {
        return who == 2 && round % 3 == 0 ? "" : std::to_string(who) + '\0' + std::to_string(round);
      };
      const auto values = one.exchange(mine(rank), "round " + std::to_string(round), patience);
      ASSERT_EQ(values.size(), 4u);
      for (std::size_t who = 0; who < 4; ++who) ASSERT_EQ(values[who], mine(who));
    }
  });
  EXPECT_EQ(errors, std::vector<std::string>(4));
  for (const auto& one : peers) {
    EXPECT_FALSE(one->lost());
    EXPECT_EQ(one->hosts().size(), 4u);
    EXPECT_EQ(one->hosts(), peers[0]->hosts());
  }
}

TEST(Peers, LargeValuesArriveWhole) {
  constexpr std::size_t mebibyte = std::size_t{1} << 20;
  const auto peers = meet(4, free_port(), patient_settings());
  const auto errors = all(peers, [](Peers& one, std::size_t rank) {
    for (std::size_t round = 0; round < 5; ++round) {
      const auto value = [&](std::size_t who) {
        std::string text(mebibyte - who * round, '\0');
        for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>((i * 31 + who * 7 + round) % 251);
        return text;
      };
      const auto values = one.exchange(value(rank), "large values", patience);
      for (std::size_t who = 0; who < 4; ++who) ASSERT_TRUE(values[who] == value(who)) << who;
    }
    EXPECT_THROW(one.exchange(std::string(mebibyte + 1, 'x'), "too much", patience), ContractViolation);
  });
  EXPECT_EQ(errors, std::vector<std::string>(4));
}

TEST(Peers, AnExchangeWithoutATimeLimitWaits) {
  const auto peers = meet(2, free_port(), patient_settings());
  const auto errors = all(peers, [](Peers& one, std::size_t rank) {
    if (rank == 1) std::this_thread::sleep_for(milliseconds(500));
    one.exchange("", "the end of a save", milliseconds::max());
  });
  EXPECT_EQ(errors, std::vector<std::string>(2));
}

TEST(Peers, AnExchangeToWhichOneDoesNotComeNamesIt) {
  const auto peers = meet(4, free_port(), patient_settings());
  const auto errors = all(peers, [](Peers& one, std::size_t rank) {
    one.exchange("", "the sums of step 6", patience);  // from here on nobody has to begin first
    if (rank != 2) one.exchange("", "the sums of step 7", milliseconds(2000));
  });
  for (const std::size_t rank : {0, 1, 3}) {
    EXPECT_CONTAINS(errors[rank], "rank " + std::to_string(rank) + " waited 2 s for the sums of step 7: rank 2 on ");
    EXPECT_CONTAINS(errors[rank], "has not come");
    EXPECT_FALSE(peers[rank]->lost());
  }
  EXPECT_THROW(peers[1]->exchange("", "another", patience), ContractViolation);
}

TEST(Peers, AnExchangeToWhichRank0DoesNotComeNamesIt) {
  const auto peers = meet(3, free_port(), patient_settings());
  const auto errors = all(peers, [](Peers& one, std::size_t rank) {
    if (rank == 1) one.exchange("", "the start", milliseconds(500));
  });
  EXPECT_CONTAINS(errors[1], "rank 1 waited 0.5 s for the start: ranks 0 and 2 have not come");
}

TEST(Peers, RanksThatComeToDifferentExchangesEnd) {
  const auto peers = meet(3, free_port(), patient_settings());
  const auto errors =
      all(peers, [](Peers& one, std::size_t rank) { one.exchange("", rank == 1 ? "the save" : "the evaluation", patience); });
  for (const auto& error : errors) EXPECT_CONTAINS(error, "it came to \"the save\" where rank 0 came to \"the evaluation\"");
  EXPECT_CONTAINS(errors[2], "rank 1 on ");
}

TEST(Peers, AReasonReachesAllOthers) {
  for (const std::size_t failing : {0u, 2u}) {
    const auto peers = meet(3, free_port(), patient_settings());
    peers[failing]->fail("the loss is not finite\x1b[31m");
    for (std::size_t rank = 0; rank < 3; ++rank) {
      if (rank == failing) continue;
      const LostPeer lost = lost_of(*peers[rank]);
      EXPECT_EQ(lost.rank, static_cast<std::int64_t>(failing));
      EXPECT_EQ(lost.reason, "the loss is not finite [31m");  // what a terminal would obey does not get through
      const std::string error = error_of([&] { peers[rank]->check("the weights"); });
      EXPECT_EQ(error, "rank " + std::to_string(failing) + " on " + lost.host +
                           " is gone (the loss is not finite [31m) while rank " + std::to_string(rank) + " waited for the weights");
      EXPECT_EQ(error_of([&] { peers[rank]->exchange("", "the weights", patience); }), error);
    }
  }
}

TEST(Peers, AReasonEndsAnExchangeThatIsUnderWay) {
  const auto peers = meet(3, free_port(), patient_settings());
  const auto errors = all(peers, [](Peers& one, std::size_t rank) {
    if (rank == 1) return one.fail("its disk is full");
    one.exchange("", "the save", patience);
  });
  EXPECT_CONTAINS(errors[0], "rank 1 on ");
  EXPECT_CONTAINS(errors[0], "is gone (its disk is full) while rank 0 waited for the save");
  EXPECT_CONTAINS(errors[2], "is gone (its disk is full) while rank 2 waited for the save");
}

TEST(Peers, WhoSaysFarewellIsNotLost) {
  for (const std::size_t leaving : {0u, 1u}) {
    auto peers = meet(3, free_port(), quick_settings());
    peers[leaving].reset();
    // Longer than the heartbeat timeout: silence after a farewell means nothing.
    std::this_thread::sleep_for(quick_settings().heartbeat_timeout + milliseconds(500));
    for (const auto& one : peers) EXPECT_FALSE(one && one->lost());
    // It is gone only for those that still need it.
    EXPECT_CONTAINS(error_of([&] { peers[2]->exchange("", "one more", patience); }),
                    "is gone (it has ended its run) while rank 2 waited for one more");
  }
}

TEST(Peers, AFarewellEndsAnExchangeThatIsUnderWay) {
  for (const std::size_t leaving : {0u, 1u}) {
    auto peers = meet(3, free_port(), patient_settings());
    auto waiting = std::async(std::launch::async, [&] { return error_of([&] { peers[2]->exchange("", "one more", patience); }); });
    std::this_thread::sleep_for(milliseconds(100));
    peers[leaving].reset();
    EXPECT_CONTAINS(waiting.get(), "rank " + std::to_string(leaving) + " on ");
  }
}

TEST(Peers, RunsEndTogetherInAnyOrder) {
  const int port = free_port();
  for (int run = 0; run < 20; ++run) {  // on the same port, at once one after the other
    auto peers = meet(3, port, patient_settings());
    const auto errors = all(peers, [&](Peers& one, std::size_t rank) {
      one.exchange("", "the end", patience);
      one.check("the end");
      peers[rank].reset();
    });
    ASSERT_EQ(errors, std::vector<std::string>(3)) << "run " << run;
  }
}

TEST(Peers, ABusyMainThreadIsAlive) {
  const auto peers = meet(3, free_port(), quick_settings());
  std::this_thread::sleep_for(2 * quick_settings().heartbeat_timeout);
  for (const auto& one : peers) EXPECT_FALSE(one->lost());
}

TEST(Peers, TheirThreadTakesNoSignals) {
  const auto peers = meet(3, free_port(), patient_settings());
  sigset_t one_signal, before;
  sigemptyset(&one_signal);
  sigaddset(&one_signal, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &one_signal, &before);
  ::kill(::getpid(), SIGUSR1);  // any thread that does not block it would take it, and end the process
  const auto errors = all(peers, [](Peers& one, std::size_t) { one.exchange("", "a value", patience); });
  EXPECT_EQ(errors, std::vector<std::string>(3));
  const timespec at_once{0, 0};
  EXPECT_EQ(sigtimedwait(&one_signal, nullptr, &at_once), SIGUSR1);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST(Peers, SettingsThatCannotWorkAreRefused) {
  try {
    Peers peers(launch_of(0, 2, free_port()), "key", {patience, milliseconds(100), milliseconds(150)});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    EXPECT_CONTAINS(error.what(), "0.15 s must be at least twice the heartbeat interval, 0.1 s");
  }
}

}  // namespace
}  // namespace temper
