// What keys do by themselves, in sweeps whose results the tests make up.
#include "sweep/main_effects.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>

#include "sweep/ranking_table.h"
#include "sweep_support.h"

namespace temper {
namespace {

class MainEffectsTest : public SweepTest {
 protected:
  /// A result of each trial by its configuration's number and its seed's; none where that is not finite.
  static Ranking rank(const Sweep& sweep, const std::function<double(std::size_t, std::size_t)>& metric) {
    std::vector<SweepResult> results(sweep.configurations.size());
    for (std::size_t i = 0; i < results.size(); ++i) {
      std::vector<double> values;
      results[i].configuration = i;
      for (std::size_t k = 0; k < sweep.file.seeds.size(); ++k) {
        const double one = metric(i, k);
        if (!std::isfinite(one)) continue;
        values.push_back(one);
        results[i].metrics[sweep.file.seeds[k]] = one;
      }
      results[i].finished = values.size();
      if (!values.empty()) results[i].metric = estimate(values);
    }
    return rank_results(std::move(results), sweep.file.metric.maximize());
  }

  const std::string three_by_two =  // configuration i: decay i / 2, warmup i % 2
      R"("parameters": {"optimizer.weight_decay": {"values": [0, 0.1, 1]}, "schedule.warmup_steps": {"values": [0, 5]}}, "seeds": 3)";
  /// What seed k does to decays, to warmup, and to both together; each adds to nothing over whatever it is summed over.
  static double residual(std::size_t i, std::size_t k) {
    constexpr double decay[3][3] = {{0.01, -0.02, 0.01}, {-0.01, 0.02, -0.01}, {0.0, 0.0, 0.0}};
    constexpr double warmup[3] = {0.003, 0.0, -0.003};
    constexpr double both[3][3] = {{0.005, -0.005, 0.0}, {-0.005, 0.005, 0.0}, {0.0, 0.0, 0.0}};
    const double sign = i % 2 == 0 ? 1.0 : -1.0;
    return decay[i / 2][k] + sign * (warmup[k] + both[i / 2][k]);
  }
};

TEST_F(MainEffectsTest, AValueIsComparedAtTheSameValuesOfTheOthers) {
  const Sweep sweep = make(three_by_two);
  constexpr double decays[] = {0.3, 0.0, 0.1}, warmups[] = {0.02, 0.0};
  const Ranking ranking = rank(sweep, [&](std::size_t i, std::size_t k) {
    return 4.0 + decays[i / 2] + warmups[i % 2] + 0.5 * static_cast<double>(k) + residual(i, k);
  });
  const std::vector<MainEffect> effects = main_effects(sweep, ranking);
  ASSERT_EQ(effects.size(), 2u);
  const MainEffect& decay = effects[0];
  EXPECT_EQ(decay.key, "optimizer.weight_decay");
  EXPECT_EQ(decay.settings, 2u);
  EXPECT_EQ(decay.best, 1u);
  ASSERT_EQ(decay.values.size(), 3u);
  EXPECT_EQ(decay.values[0].value, "0");
  EXPECT_NEAR(decay.values[0].mean, 4.0 + 0.3 + 0.01 + 0.5, 1e-12);
  EXPECT_NEAR(decay.values[0].behind.mean, 0.3, 1e-12);
  EXPECT_NEAR(decay.values[0].least, 0.3, 1e-12);  // residuals add to nothing over seeds
  EXPECT_NEAR(decay.values[0].most, 0.3, 1e-12);
  EXPECT_EQ(decay.values[1].behind.mean, 0.0);
  EXPECT_FALSE(decay.values[1].behind.interval);
  EXPECT_EQ(decay.values[2].behind.n, 3u);
  // Each key by what seeds do to it: of decay squares of 12e-4 in all with (3 - 1)(3 - 1) degrees of freedom, of warmup 3.6e-5 with 2.
  EXPECT_NEAR(*decay.values[2].behind.interval, 5.0402413 * std::sqrt(12e-4 / 4.0 / 3.0),
              1e-6);  // scipy.stats.studentized_range.ppf(0.95, 3, 4)
  EXPECT_NEAR(*effects[1].values[0].behind.interval, 4.3026527 * std::sqrt(2.0 * 1.8e-5 / 3.0), 1e-6);  // of a pair: Student's t
  EXPECT_TRUE(seen(decay.values[2].behind));
  EXPECT_NEAR(*decay.interaction_p, 1.0, 1e-9);
  const TextRows rows = effect_rows(effects, "val_loss");
  ASSERT_EQ(rows.size(), 6u);
  EXPECT_EQ(rows[1],
            (std::vector<std::string>{"optimizer.weight_decay", "0", "4.8100", "+0.3000 ± 0.0504", "+0.3000", "+0.3000", ""}));
  EXPECT_EQ(rows[2], (std::vector<std::string>{"", "0.1", "4.5100", "", "", "", "best"}));
  EXPECT_EQ(rows[4][0], "schedule.warmup_steps");
  EXPECT_EQ(effect_remarks(effects).find("depends"), std::string::npos);
  const Json json = effects_json(effects)["keys"];
  EXPECT_EQ(json[0]["best"], 1);
  EXPECT_EQ(json[0]["values"][0]["behind"], 0.3);
  EXPECT_TRUE(json[0]["values"][1]["interval"].is_null());
}

TEST_F(MainEffectsTest, WhatDependsOnTheOtherKeysIsTold) {
  const Sweep sweep = make(three_by_two);
  const auto crossed = [&](std::size_t i, std::size_t k) {
    return 4.0 + (i == 2 ? 0.4 : 0.0) - (i == 5 ? 0.2 : 0.0) + residual(i, k);
  };
  const std::vector<MainEffect> effects = main_effects(sweep, rank(sweep, crossed));
  // Four cells are 0.1 from what rows and columns make of them, each with three seeds; against 2e-4 with four degrees of freedom.
  EXPECT_NEAR(*effects[0].interaction_p, f_exceeds(3.0 * 4.0 * 0.01 / 2.0 / (2e-4 / 4.0), 2, 4), 1e-9);
  EXPECT_LT(*effects[0].interaction_p, 1e-4);
  EXPECT_EQ(effects[0].best, 2u);  // 0, 0.2 and -0.1 on average
  EXPECT_NEAR(effects[0].values[1].least, 0.2, 1e-12);
  EXPECT_NEAR(effects[0].values[1].most, 0.4, 1e-12);
  EXPECT_NE(effect_remarks(effects).find("What optimizer.weight_decay does depends on the other keys (p "), std::string::npos);
  // Of two keys the interaction is one and the same.
  EXPECT_NEAR(*effects[0].interaction_p, *effects[1].interaction_p, 1e-12);
}

TEST_F(MainEffectsTest, MoreMayBeBetter) {
  const Sweep sweep = make(three_by_two + R"(, "metric": {"name": "val_loss", "goal": "maximize"})");
  const std::vector<MainEffect> effects =
      main_effects(sweep, rank(sweep, [](std::size_t i, std::size_t k) { return (i / 2 == 0 ? 1.0 : 0.5) + residual(i, k); }));
  EXPECT_EQ(effects[0].best, 0u);
  EXPECT_NEAR(effects[0].values[1].behind.mean, -0.5, 1e-12);
  // Least and most are how far behind, whatever the sign.
  const std::vector<MainEffect> two = main_effects(sweep, rank(sweep, [](std::size_t i, std::size_t k) {
                                                     return (i / 2 == 0 ? 1.0 : i % 2 == 0 ? 0.5 : 0.8) + residual(i, k);
                                                   }));
  EXPECT_NEAR(two[0].values[1].least, -0.2, 1e-12);
  EXPECT_NEAR(two[0].values[1].most, -0.5, 1e-12);
}

TEST_F(MainEffectsTest, OnlySettingsWithAllValuesAndSeedsCount) {
  const Sweep sweep = make(three_by_two);
  constexpr double none = std::numeric_limits<double>::quiet_NaN();
  // A seed of decay 1 with warmup 5 is missing: of decay one setting is left, which is no average; of warmup two.
  const auto gap = [&](std::size_t i, std::size_t k) { return i == 5 && k == 2 ? none : 4.0 + residual(i, k); };
  std::vector<MainEffect> effects = main_effects(sweep, rank(sweep, gap));
  ASSERT_EQ(effects.size(), 2u);
  EXPECT_TRUE(effects[0].values.empty());
  EXPECT_EQ(effects[1].key, "schedule.warmup_steps");
  EXPECT_EQ(effects[1].settings, 2u);
  EXPECT_EQ(effects[1].all_settings, 3u);
  EXPECT_EQ(effect_rows(effects, "val_loss").size(), 3u);
  const std::string remarks = effect_remarks(effects);
  for (
      const char* part :
      {"optimizer.weight_decay: at 1 of the 2 settings of the other keys all of its values have all their seeds; its average takes two.\n",
       "schedule.warmup_steps: at 2 of the 3 settings of the other keys"})
    EXPECT_NE(remarks.find(part), std::string::npos) << part << "\nin: " << remarks;
  // A decay that fails everywhere takes nothing from the others.
  const auto failing = [&](std::size_t i, std::size_t k) { return i / 2 == 2 ? none : 4.0 + residual(i, k); };
  effects = main_effects(sweep, rank(sweep, failing));
  ASSERT_EQ(effects[0].values.size(), 2u);
  EXPECT_EQ(effects[0].without_result, (std::vector<std::string>{"1"}));
  EXPECT_NE(effect_remarks(effects).find("optimizer.weight_decay 1: no configuration has all its seeds; left out.\n"),
            std::string::npos);
  // One key beside nothing has the ranking, and what follows from a key is not a key.
  const std::string decays = R"("parameters": {"optimizer.weight_decay": {"values": [0, 0.1, 1]})";
  const auto level = [](std::size_t i, std::size_t k) { return 4.0 + residual(i, k); };
  const Sweep one = make(decays + R"(}, "seeds": 3)");
  EXPECT_TRUE(main_effects(one, rank(one, level)).empty());
  EXPECT_TRUE(effect_rows({}, "val_loss").empty());
  EXPECT_EQ(effect_remarks({}), "");
  const Sweep tied = make(three_by_two + R"json(, "ties": {"optimizer.eps": "1e-8 * (1 + optimizer.weight_decay)"})json");
  EXPECT_EQ(main_effects(tied, rank(tied, level)).size(), 2u);
  // Without a second seed there is no noise to judge by.
  const Sweep single =
      make(R"("parameters": {"optimizer.weight_decay": {"values": [0, 0.1]}, "train.steps": {"values": [10, 20]}})");
  const std::vector<MainEffect> unjudged =
      main_effects(single, rank(single, [](std::size_t i, std::size_t) { return i < 2 ? 4.0 : 4.1; }));
  ASSERT_EQ(unjudged.size(), 2u);
  EXPECT_NEAR(unjudged[0].values[1].behind.mean, 0.1, 1e-12);
  EXPECT_FALSE(unjudged[0].values[1].behind.interval || unjudged[0].interaction_p);
  EXPECT_EQ(effect_remarks(unjudged).find("95 %"), std::string::npos);
  // What is drawn, and what survived shorter runs, is no design.
  const Sweep halving = make(three_by_two + R"(, "method": "halving", "halving": {"eta": 2, "rungs": [0.5, 1]})");
  EXPECT_TRUE(main_effects(halving, rank(halving, level)).empty());
}

// Where a key makes no difference on average, one table in twenty sees one, and one in twenty an interaction: no more, no fewer, whatever single seeds do to the key.
TEST_F(MainEffectsTest, OfNoEffectOneTableInTwentySeesOne) {
  const Sweep sweep = make(three_by_two);
  std::mt19937_64 random(23);
  std::normal_distribution<double> normal;
  constexpr int tables = 2000;
  for (const double of_seed_and_decay : {0.0, 2.0}) {
    int differ = 0, interact = 0;
    for (int table = 0; table < tables; ++table) {
      double seeds[3][3];
      for (auto& decays : seeds) {
        const double common = 5.0 * normal(random);
        for (double& one : decays) one = common + of_seed_and_decay * normal(random);
      }
      const MainEffect decay =
          main_effects(sweep, rank(sweep, [&](std::size_t i, std::size_t k) { return seeds[k][i / 2] + normal(random); }))[0];
      const auto [low, high] = std::ranges::minmax(decay.values, {}, &ValueEffect::mean);  // of three means the farthest apart
      const std::size_t other = decay.best == 0 ? 1 : 0;
      differ += high.mean - low.mean > *decay.values[other].behind.interval;
      interact += *decay.interaction_p < 0.05;
    }
    for (const int count : {differ, interact}) {  // 100 expected, deviation 9.7
      EXPECT_GE(count, 68) << of_seed_and_decay;
      EXPECT_LE(count, 132) << of_seed_and_decay;
    }
  }
}

}  // namespace
}  // namespace temper
