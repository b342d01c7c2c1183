// Ranking and tables from folders that the tests write themselves.
#include <cmath>

#include "config/parse.h"
#include "sweep/tables.h"
#include "sweep_support.h"

namespace temper {
namespace {

class ResultsTest : public SweepTest {
 protected:
  /// The trial has finished with this validation loss.
  void finish(const Sweep& sweep, std::size_t rung, std::size_t configuration, std::size_t seed, double loss) const {
    const Trial& trial = sweep.trial(rung, configuration, seed);
    const std::filesystem::path here = trial_folder(sweep.folder, trial);
    prepare_trial(here, trial, sweep.file, sweep.configurations[configuration]);
    std::ofstream(here / "summary.json") << "{\"steps\": " << trial.config.train.steps << ", \"val_loss\": " << loss
                                         << ", \"train_seconds\": 2.0}";
  }
  void fail(const Sweep& sweep, std::size_t configuration, std::size_t seed) const {
    const Trial& trial = sweep.trial(0, configuration, seed);
    const std::filesystem::path here = trial_folder(sweep.folder, trial);
    prepare_trial(here, trial, sweep.file, sweep.configurations[configuration]);
    record_failure(here, {6, 0});
  }
  std::string read(const Sweep& sweep, const std::string& name) const { return read_file(sweep.folder / name); }

  const std::string four = R"("parameters": {"optimizer.weight_decay": {"values": [0, 0.1, 0.2, 0.3]}})";
};

TEST_F(ResultsTest, SeedsAreTakenTogether) {
  const Sweep sweep = make(four + R"(, "seeds": 3)");
  for (std::size_t seed = 0; seed < 3; ++seed) finish(sweep, 0, 1, seed, 4.0 + static_cast<double>(seed));
  const SweepResult best = rank_configurations(sweep, read_plan(sweep)).front();
  EXPECT_EQ(best.configuration, 1u);
  EXPECT_EQ(best.finished, 3u);
  EXPECT_DOUBLE_EQ(*best.mean, 5.0);
  EXPECT_DOUBLE_EQ(*best.sd, 1.0);
  EXPECT_DOUBLE_EQ(*best.error, 1.0 / std::sqrt(3.0));
}

TEST_F(ResultsTest, RankedByTheGoalWithTiesInsideTheNoise) {
  const std::string members = four + R"(, "seeds": 2)";
  // The seeds' differences are the means' +- 0.2 where the signs differ: a standard error of 0.2.
  const double means[4] = {4.0, 3.0, 3.39, 3.41}, half[4] = {-0.1, -0.1, 0.1, 0.1};
  for (const bool maximize : {false, true}) {
    const Sweep sweep = make(members + (maximize ? R"(, "metric": {"goal": "maximize"})" : ""));
    for (std::size_t i = 0; i < 4; ++i) {
      finish(sweep, 0, i, 0, means[i] + half[i]);
      finish(sweep, 0, i, 1, means[i] - half[i]);
    }
    const std::vector<SweepResult> results = rank_configurations(sweep, read_plan(sweep));
    std::vector<std::size_t> order;
    std::vector<bool> tied;
    for (const SweepResult& result : results) {
      order.push_back(result.configuration);
      tied.push_back(result.tied_with_best);
    }
    EXPECT_EQ(order, maximize ? (std::vector<std::size_t>{0, 3, 2, 1}) : (std::vector<std::size_t>{1, 2, 3, 0}));
    EXPECT_EQ(tied, maximize ? (std::vector<bool>{false, false, false, false}) : (std::vector<bool>{false, true, false, false}));
  }
}

TEST_F(ResultsTest, WhatSeedsShareIsNoNoise) {
  const Sweep sweep = make(four + R"(, "seeds": 3)");
  for (std::size_t seed = 0; seed < 3; ++seed) {
    const double of_seed = 3.0 + static_cast<double>(seed);  // far apart, for all configurations alike
    finish(sweep, 0, 0, seed, of_seed);
    finish(sweep, 0, 1, seed, of_seed + 0.01 + 0.001 * static_cast<double>(seed));
    finish(sweep, 0, 2, seed, of_seed + (seed == 2 ? 0.1 : 0.01));
  }
  const std::vector<SweepResult> results = rank_configurations(sweep, read_plan(sweep));
  EXPECT_FALSE(results[1].tied_with_best);  // 0.011 +- 0.0006
  EXPECT_TRUE(results[2].tied_with_best);   // 0.04 +- 0.03
}

TEST_F(ResultsTest, OneSeedTellsNothingOfTheNoise) {
  const Sweep sweep = make(four);
  for (std::size_t i = 0; i < 4; ++i) finish(sweep, 0, i, 0, 3.0);
  for (const SweepResult& result : rank_configurations(sweep, read_plan(sweep))) {
    EXPECT_FALSE(result.error.has_value());
    EXPECT_FALSE(result.tied_with_best);
  }
}

TEST_F(ResultsTest, ConfigurationsWithFailuresComeAfterThoseWithoutAndEmptyOnesLast) {
  const Sweep sweep = make(four + R"(, "seeds": 2)");
  finish(sweep, 0, 0, 0, 1.0);
  fail(sweep, 0, 1);
  finish(sweep, 0, 2, 0, 5.0);
  finish(sweep, 0, 2, 1, 5.0);
  fail(sweep, 3, 0);
  fail(sweep, 3, 1);
  const std::vector<SweepResult> results = rank_configurations(sweep, read_plan(sweep));
  EXPECT_EQ(results[0].configuration, 2u);
  EXPECT_EQ(results[1].configuration, 0u);
  EXPECT_EQ(results[1].failed, 1u);
  EXPECT_FALSE(results[2].mean.has_value());
}

TEST_F(ResultsTest, TablesSayItInFull) {
  const Sweep sweep = make(
      R"("parameters": {"kind": {"values": [{"label": "a, \"b\"", "optimizer.eps": 1e-7}, {"label": "c|d", "optimizer.eps": 1e-6}]}},
      "seeds": 2)");
  finish(sweep, 0, 0, 0, 3.5);
  finish(sweep, 0, 0, 1, 3.25);
  finish(sweep, 0, 1, 0, 3.0);
  fail(sweep, 1, 1);
  const SweepPlan plan = read_plan(sweep);
  write_tables(sweep, plan);
  EXPECT_EQ(read(sweep, "results.csv"),
            "rank,kind,val_loss,val_loss_sd,val_loss_se,n,failed,tied_with_best\n"
            "1,\"a, \"\"b\"\"\",3.375,0.1767766952966369,0.125,2,0,\n"
            "2,c|d,3.0,,,1,1,\n");
  EXPECT_EQ(read(sweep, "results.md"),
            "| rank | kind | val_loss | sd | n |  |\n| --- | --- | --- | --- | --- | --- |\n"
            "| 1 | a, \"b\" | 3.3750 | 0.1768 | 2 |  |\n"
            "| 2 | c\\|d | 3.0000 |  | 1 | 1 failed |\n");
  const auto& trials = sweep.rungs[0];
  EXPECT_EQ(read(sweep, "trials.csv"), "trial,kind,seed,steps,state,val_loss,failure\n" + trials[0].id +
                                           ",\"a, \"\"b\"\"\",7,20,finished,3.5,\n" + trials[1].id +
                                           ",\"a, \"\"b\"\"\",8,20,finished,3.25,\n" + trials[2].id + ",c|d,7,20,finished,3.0,\n" +
                                           trials[3].id + ",c|d,8,20,failed,,exit code 6\n");
  EXPECT_NE(read(sweep, "timing.csv").find(trials[0].id + ",2.0,320.0\n"), std::string::npos);
  EXPECT_NE(read(sweep, "results.json").find("\"standard_error\": 0.125"), std::string::npos);
  const RunConfig best = load_config(sweep.folder / "best.json");
  EXPECT_EQ(best.name, "small-best");
  EXPECT_EQ(best.optimizer.eps, 1e-7);
  EXPECT_EQ(best.seed, 7u);
}

TEST_F(ResultsTest, HalvingPromotesTheBestAndRanksByTheFurthestRung) {
  const Sweep sweep = make(four + R"(, "seeds": 2, "method": "halving", "halving": {"eta": 2, "rungs": [0.5, 1]})");
  SweepPlan plan = read_plan(sweep);
  ASSERT_EQ(plan.rungs.size(), 1u);
  EXPECT_EQ(plan.trials_to_come, 4u);
  const double losses[4] = {4.0, 3.0, 5.0, 3.5};
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t seed = 0; seed < 2; ++seed) finish(sweep, 0, i, seed, losses[i]);
  }
  plan = read_plan(sweep);
  ASSERT_EQ(plan.rungs.size(), 2u);
  EXPECT_EQ(plan.trials_to_come, 0u);
  ASSERT_EQ(plan.rungs[1].size(), 4u);
  EXPECT_EQ(plan.rungs[1][0].trial->configuration, 1u);
  EXPECT_EQ(plan.rungs[1][2].trial->configuration, 3u);
  EXPECT_FALSE(plan.ended());
  for (std::size_t seed = 0; seed < 2; ++seed) {
    finish(sweep, 1, 1, seed, 2.9);
    finish(sweep, 1, 3, seed, 2.8);
  }
  std::vector<std::size_t> order;
  for (const SweepResult& result : rank_configurations(sweep, read_plan(sweep))) order.push_back(result.configuration);
  EXPECT_EQ(order, (std::vector<std::size_t>{3, 1, 0, 2}));
}

TEST_F(ResultsTest, CostsAreListedAndTimeOnlyWhereMeasured) {
  const Sweep sweep = make(four);
  const auto memory = [](const RunConfig&) { return std::size_t{3} << 20; };
  const std::string before = cost_text(sweep, read_plan(sweep), memory);
  EXPECT_NE(before.find("3.0 MiB   -   "), std::string::npos) << before;
  EXPECT_NE(before.find("4 configurations x 1 seeds, 4 trials: 2560 tokens"), std::string::npos) << before;
  finish(sweep, 0, 0, 0, 3.0);
  const std::string after = cost_text(sweep, read_plan(sweep), memory);
  EXPECT_NE(after.find("3.0 MiB   2 s"), std::string::npos) << after;
  EXPECT_NE(after.find("trials: 1 finished, 3 waiting; about 6 s of training left"), std::string::npos) << after;
}

TEST_F(ResultsTest, TornAndForeignFilesDoNotCountAsFinished) {
  const Sweep sweep = make(four);
  const Trial& trial = sweep.rungs[0][0];
  const std::filesystem::path here = trial_folder(sweep.folder, trial);
  const auto state = [&] { return read_trial(here, trial, sweep.file.metric).state; };
  EXPECT_EQ(state(), TrialState::waiting);
  prepare_trial(here, trial, sweep.file, sweep.configurations[0]);
  EXPECT_EQ(state(), TrialState::waiting);
  std::ofstream(here / "metrics.jsonl") << "{\"step\": 3, \"seconds\": 1.5}\n{\"step\": 4, \"sec";
  EXPECT_EQ(state(), TrialState::interrupted);
  EXPECT_EQ(read_trial(here, trial, sweep.file.metric).steps, 3);
  std::ofstream(here / "summary.json") << "{\"steps\": 20, \"val_";
  EXPECT_EQ(state(), TrialState::interrupted);
  std::ofstream(here / "summary.json") << "{\"steps\": 19, \"val_loss\": 3}";
  EXPECT_EQ(state(), TrialState::interrupted);
  std::ofstream(here / "summary.json") << "{\"steps\": 20, \"val_loss\": 3}";
  EXPECT_EQ(state(), TrialState::finished);
}

}  // namespace
}  // namespace temper
