// What ranks that temper starts itself are told, and what their end is to the whole.
#include "cli/own_ranks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "distributed/launch.h"

namespace temper {
namespace {

TEST(OwnRanks, AreToldWhoTheyAreAndNothingOfAnotherLauncher) {
  const std::vector<std::string> before = {"HOME=/root", "RANK=7", "MASTER_ADDR=10.0.0.1", "RANKING=1",
                                           "TORCHELASTIC_USE_AGENT_STORE=True"};
  const Command command = rank_command({"/bin/temper", "train", "a.json"}, before, 2, 4, 2900, "0123456789abcdef");
  std::map<std::string, std::string> variables;
  for (const std::string& one : command.environment) {
    const std::size_t equals = one.find('=');
    EXPECT_TRUE(variables.emplace(one.substr(0, equals), one.substr(equals + 1)).second) << one << " is there twice";
  }
  EXPECT_EQ(variables["HOME"], "/root");
  EXPECT_EQ(variables["RANKING"], "1");
  const Launch launch = read_launch([&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
  EXPECT_EQ(launch.rank, 2);
  EXPECT_EQ(launch.size, 4);
  EXPECT_EQ(launch.local_rank, 2);
  EXPECT_EQ(launch.local_size, 4);
  EXPECT_EQ(launch.address, "127.0.0.1");
  EXPECT_EQ(launch.port, 2900);
  EXPECT_EQ(launch.secret, "0123456789abcdef");
}

TEST(OwnRanks, EndWithTheReasonAndNotWithWhoMissedIt) {
  EXPECT_EQ(exit_code_of({{0, 0}, {0, 0}}), 0);
  EXPECT_EQ(exit_code_of({{75, 0}, {75, 0}}), 75);
  EXPECT_EQ(exit_code_of({{7, 0}, {6, 0}, {7, 0}}), 6);
  EXPECT_EQ(exit_code_of({{7, 0}, {0, 9}}), 7) << "killed: the others missed it";
  EXPECT_EQ(exit_code_of({{0, 0}, {0, 11}}), 7);
  EXPECT_EQ(exit_code_of({{75, 0}, {7, 0}}), 7) << "not all have saved";
}

}  // namespace
}  // namespace temper
