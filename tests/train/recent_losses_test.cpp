// Which losses are spikes, and what they are compared with.
#include "train/recent_losses.h"

#include <gtest/gtest.h>

namespace temper {
namespace {

/// Alternating about 4, with a deviation of 0.1.
RecentLosses seen(std::size_t count) {
  RecentLosses recent;
  for (std::size_t i = 0; i < count; ++i) EXPECT_FALSE(recent.judge(i % 2 == 0 ? 3.9 : 4.1, 6.0)) << i;
  return recent;
}

TEST(RecentLosses, ASpikeIsFarAboveThoseBefore) {
  RecentLosses recent = seen(64);
  EXPECT_FALSE(recent.judge(4.5, 6.0));
  EXPECT_FALSE(recent.judge(0.1, 6.0)) << "a loss that falls is none";
  recent = seen(64);
  const std::optional<double> above = recent.judge(5.0, 6.0);
  ASSERT_TRUE(above);
  EXPECT_NEAR(*above, 10.0, 1e-9);
  EXPECT_FALSE(seen(64).judge(5.0, 11.0));
  EXPECT_FALSE(seen(64).judge(5.0, 0.0)) << "off";
  EXPECT_FALSE(seen(63).judge(5.0, 6.0)) << "too few to compare with";
}

TEST(RecentLosses, SpikesAreNotComparedWith) {
  RecentLosses recent = seen(200);
  EXPECT_EQ(recent.losses.size(), 128u);
  const std::vector<double> before = recent.losses;
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(recent.judge(100.0, 6.0));
  EXPECT_EQ(recent.losses, before);
  EXPECT_EQ(recent.spikes_in_row, 5);
  EXPECT_FALSE(recent.judge(4.0, 6.0));
  EXPECT_EQ(recent.spikes_in_row, 0);
}

TEST(RecentLosses, ANewLevelIsLearntAnew) {
  RecentLosses recent = seen(128);
  int spikes = 0;
  for (int i = 0; i < 300; ++i) spikes += recent.judge(i % 2 == 0 ? 8.9 : 9.1, 6.0) ? 1 : 0;
  EXPECT_EQ(spikes, 31);
  EXPECT_EQ(recent.losses.size(), 128u);
}

TEST(RecentLosses, RipplesOfAFlatCurveAreNone) {
  RecentLosses recent;
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(recent.judge(2.0, 6.0));
  EXPECT_FALSE(recent.judge(2.01, 6.0));
  EXPECT_TRUE(recent.judge(2.02, 6.0));
}

}  // namespace
}  // namespace temper
