// What is said of measured ranks.
#include "cli/ranks_check.h"

#include <gtest/gtest.h>

namespace temper {
namespace {

std::vector<RankPlace> four_on_two_hosts(double seconds) {
  std::vector<RankPlace> ranks;
  for (const char* host : {"a", "a", "a", "b"}) ranks.push_back({host, "a device", "eth0", 25.0, std::vector<double>(4, seconds)});
  return ranks;
}

TEST(RanksCheck, WhatLeavesTheBusiestHost) {
  // Over MPI three ranks of a send their fourth of the sum, and of the result, to the one of b.
  EXPECT_DOUBLE_EQ(bytes_between_hosts(four_on_two_hosts(1), 8.0, false), 12.0);
  EXPECT_DOUBLE_EQ(bytes_between_hosts(four_on_two_hosts(1), 8.0, true), 12.0);
  std::vector<RankPlace> together = four_on_two_hosts(1);
  together[3].host = "a";
  EXPECT_DOUBLE_EQ(bytes_between_hosts(together, 8.0, false), 0.0);
}

TEST(RanksCheck, NamesThePairThatIsSlow) {
  std::vector<RankPlace> ranks = four_on_two_hosts(0.25);
  EXPECT_EQ(slowest_pair(ranks, 1e9), "");
  ranks[3].seconds[1] = 0.5;
  EXPECT_EQ(slowest_pair(ranks, 1e9), "") << "twice as long is not yet told";
  ranks[3].seconds[1] = 1.0;
  ranks[2].seconds[0] = 0.75;
  EXPECT_EQ(slowest_pair(ranks, 1e9), "from rank 1 (a) to rank 3 (b) 1 GB/s, in the middle of all pairs 4 GB/s");
}

TEST(RanksCheck, APlaceIsReadAsItWasTold) {
  const RankPlace told{"node \"1\"", "cuda: x", "ib0", 200.0, {0.0, 0.125}};
  const RankPlace read = RankPlace::from_text(told.text());
  EXPECT_EQ(read.host, told.host);
  EXPECT_EQ(read.device, told.device);
  EXPECT_EQ(read.interface, told.interface);
  EXPECT_EQ(read.link_gbits, told.link_gbits);
  EXPECT_EQ(read.seconds, told.seconds);
}

}  // namespace
}  // namespace temper
