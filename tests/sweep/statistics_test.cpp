// Quantiles against published ones, and what tables of simulated sweeps claim.
#include "sweep/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "sweep/ranking.h"

namespace temper {
namespace {

TEST(Statistics, StudentsQuantilesAreThePublishedOnes) {
  const std::pair<std::size_t, double> table[] = {{1, 12.7062047}, {2, 4.3026527},  {3, 3.1824463},   {4, 2.7764451},
                                                  {5, 2.5705818},  {6, 2.4469119},  {7, 2.3646243},   {8, 2.3060041},
                                                  {9, 2.2621572},  {10, 2.2281389}, {15, 2.1314495},  {20, 2.0859634},
                                                  {30, 2.0422725}, {60, 2.0002978}, {120, 1.9799304}, {1000, 1.9623391}};
  for (const auto& [degrees, published] : table) EXPECT_NEAR(student_t(0.975, degrees), published, 1e-6) << degrees;
  EXPECT_NEAR(student_t(0.975, 100'000), 1.9599640, 1e-4);  // the normal distribution's
  EXPECT_NEAR(student_t(0.8, 1), 1.3763819, 1e-6);          // tan(0.3 pi)
  EXPECT_NEAR(student_t(0.8, 10), 0.8790578, 1e-6);         // scipy.stats.t.ppf
  EXPECT_FALSE(estimate({3.0}).interval.has_value());
}

TEST(Statistics, StudentizedRangesAreThoseOfScipy) {
  // scipy.stats.studentized_range.ppf(0.95, count, degrees) of scipy 1.17.1; Harter's tables have 17.97, 8.33, 6.82, 5.77, 5.03 ...
  const std::tuple<std::size_t, std::size_t, double> table[] = {
      {2, 1, 17.9692871},  {3, 1, 26.9755299},  {16, 1, 56.3202430}, {3, 2, 8.3307826},    {4, 3, 6.8245265},
      {3, 4, 5.0402413},   {9, 8, 5.7672661},   {9, 16, 5.0310075},  {5, 20, 4.2318567},   {4, 30, 3.8454014},
      {16, 30, 5.2712539}, {16, 60, 5.0557157}, {50, 98, 5.8371672}, {3, 1000, 3.3194449}, {1000, 999, 7.4089241}};
  for (const auto& [count, degrees, published] : table)
    EXPECT_NEAR(studentized_range95(count, degrees), published, 2e-6) << count << " of " << degrees;
}

TEST(Statistics, NoiseIsWhatConfigurationAndSeedDoNotExplain) {
  // Rows 0, 1 and columns 0, 10, 20 explain all but +-0.5 in two cells of each row.
  const std::vector<SeedMetrics> full = {{{1, 0.5}, {2, 10.0}, {3, 19.5}}, {{1, 0.5}, {2, 11.0}, {3, 21.5}}};
  const auto noise = pooled_noise(full);
  ASSERT_TRUE(noise);
  EXPECT_EQ(noise->degrees, 2u);
  EXPECT_NEAR(noise->sd, std::sqrt(4 * 0.25 / 2), 1e-12);
  // The interval of a pair is that of its paired differences: -0, -1, -2.
  const auto behind = difference(full[0], full[1], noise);
  EXPECT_NEAR(behind->mean, -1.0, 1e-12);
  EXPECT_NEAR(*behind->interval, 4.3026527 / std::sqrt(3.0), 1e-6);
  EXPECT_NEAR(noise->visible(3), (4.3026527 + 1.0606602) / std::sqrt(3.0), 1e-6);  // t at 0.8 with two degrees of freedom
  // A cell is missing: least squares on what is there, a degree less, and pairs over the seeds that both have.
  const std::vector<SeedMetrics> gap = {{{1, 0.5}, {2, 10.0}, {3, 19.5}}, {{1, 0.5}, {3, 21.5}}};
  const auto fewer = pooled_noise(gap);
  ASSERT_TRUE(fewer);
  EXPECT_EQ(fewer->degrees, 1u);
  EXPECT_NEAR(fewer->sd, 1.0, 1e-9);
  EXPECT_EQ(difference(gap[0], gap[1], fewer)->n, 2u);
  // Nothing repeats, and nothing is in common.
  EXPECT_FALSE(pooled_noise({{{1, 3.0}}, {{1, 4.0}}, {{1, 5.0}}}));
  EXPECT_FALSE(pooled_noise({{{1, 3.0}, {2, 3.5}}, {{3, 4.0}, {4, 4.5}}}));
}

struct Simulated {
  std::size_t configurations, seeds;
  double seed_effect;  // in deviations of the noise
  double best = 0.0;   // how far the last configuration is ahead of all others, in deviations of the noise
  bool gaps = false;   // every seventh trial is missing
};

struct Claims {
  int winners = 0, wrong_winners = 0, any = 0;  // tables that name a winner, the wrong one, or tell any from the best
};

Claims simulate(const Simulated& sweep, int tables) {
  std::mt19937_64 random(20240607 + sweep.configurations * 100 + sweep.seeds);
  std::normal_distribution<double> normal;
  Claims claims;
  for (int table = 0; table < tables; ++table) {
    std::vector<double> of_seed(sweep.seeds);
    for (double& one : of_seed) one = 3.0 + 0.01 * sweep.seed_effect * normal(random);
    std::vector<SweepResult> results(sweep.configurations);
    for (std::size_t i = 0; i < results.size(); ++i) {
      std::vector<double> values;
      for (std::size_t seed = 0; seed < sweep.seeds; ++seed) {
        const double value = of_seed[seed] + 0.01 * (normal(random) - (i + 1 == results.size() ? sweep.best : 0.0));
        if (sweep.gaps && (i * sweep.seeds + seed) % 7 == 6) continue;
        results[i].metrics[seed] = value;
        values.push_back(value);
      }
      results[i].configuration = i;
      results[i].metric = estimate(values);
    }
    const Ranking ranking = rank_results(results, false);
    claims.winners += ranking.winner;
    claims.wrong_winners += ranking.winner && ranking.results[0].configuration + 1 != results.size();
    claims.any += std::any_of(ranking.results.begin(), ranking.results.end(),
                              [](const SweepResult& one) { return one.behind && seen(*one.behind); });
  }
  return claims;
}

TEST(Statistics, PureNoiseHasNoWinner) {
  for (const Simulated& sweep : {Simulated{4, 2, 0},
                                 {4, 2, 10},
                                 {9, 3, 0},
                                 {9, 3, 10},
                                 {16, 3, 10},
                                 {16, 5, 0},
                                 {16, 5, 10},
                                 {9, 5, 0, 0, true},
                                 {9, 5, 3, 0, true}})
    EXPECT_LE(simulate(sweep, 200).winners, 10) << sweep.configurations << " x " << sweep.seeds;
}

// Of full tables exactly 5 % see a difference: no more, and no fewer by intervals that are too wide.
TEST(Statistics, OfPureNoiseOneTableInTwentySeesADifference) {
  for (const Simulated& sweep :
       {Simulated{2, 3, 10}, {4, 2, 10}, {9, 3, 10}, {16, 5, 0}, {9, 5, 0, 0, true}, {9, 5, 3, 0, true}, {16, 3, 3, 0, true}}) {
    const int seen = simulate(sweep, 4000).any;
    EXPECT_LE(seen, 245) << sweep.configurations << " x " << sweep.seeds;  // 3.3 standard deviations above 200
    if (sweep.gaps) continue;
    EXPECT_GE(seen, 155) << sweep.configurations << " x " << sweep.seeds;
  }
}

// Of tables with one noise at most 5 % are called unequal, and one configuration that is much noisier is found.
TEST(Statistics, NoiseThatIsNotAlikeIsTold) {
  std::mt19937_64 random(11);
  std::normal_distribution<double> normal;
  const auto told = [&](std::size_t configurations, std::size_t seeds, double of_last) {
    int unequal = 0, right = 0;
    for (int table = 0; table < 1000; ++table) {
      std::vector<double> of_seed(seeds);
      for (double& one : of_seed) one = 5.0 * normal(random);
      std::vector<SeedMetrics> rows(configurations);
      for (std::size_t i = 0; i < configurations; ++i)
        for (std::size_t seed = 0; seed < seeds; ++seed)
          rows[i][seed] = of_seed[seed] + (i + 1 == configurations ? of_last : 1.0) * normal(random);
      const std::optional<Noise> noise = pooled_noise(rows);
      unequal += noise->unequal;
      right += noise->unequal && noise->noisiest + 1 == configurations;
    }
    return std::pair(unequal, right);
  };
  for (const auto& [configurations, seeds] : {std::pair<std::size_t, std::size_t>{3, 3}, {4, 5}, {9, 3}, {16, 5}})
    EXPECT_LE(told(configurations, seeds, 1.0).first, 70) << configurations << " x " << seeds;  // 3 deviations above 50
  const auto [unequal, right] = told(9, 5, 20.0);
  EXPECT_GT(unequal, 900);
  EXPECT_GT(right, 890);
  EXPECT_EQ(told(9, 2, 20.0).first, 0);  // two seeds tell nothing of it
  EXPECT_EQ(told(2, 5, 20.0).first, 0);  // nor do two configurations, whose residuals are each other's
}

TEST(Statistics, ADifferenceThatASweepCanSeeIsSeenInFourOfFive) {
  // One pair, whose power is known in full: no other competes.
  const auto noise = pooled_noise({{{1, 0.0}, {2, 0.0}, {3, 1e-9}}, {{1, 0.0}, {2, 1e-9}, {3, 0.0}}});
  const double visible = noise->visible(3) / noise->sd;
  const Claims pair = simulate({2, 3, 10, visible}, 1000);
  EXPECT_GT(pair.winners, 700);
  EXPECT_LT(pair.winners, 900);
  EXPECT_EQ(pair.wrong_winners, 0);
  // One that is far ahead of all others is found nearly always.
  const Claims many = simulate({9, 3, 10, 8.0}, 200);
  EXPECT_GT(many.winners, 190);
  EXPECT_EQ(many.wrong_winners, 0);
}

}  // namespace
}  // namespace temper
