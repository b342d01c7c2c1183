// Ranking and tables from folders that the tests write themselves.
#include <cmath>
#include <iomanip>
#include <nlohmann/json.hpp>

#include "config/parse.h"
#include "sweep/ranking_table.h"
#include "sweep/report.h"
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
    std::ofstream(here / "summary.json") << std::setprecision(17) << "{\"steps\": " << *trial.config.train.steps
                                         << ", \"val_loss\": " << loss << ", \"train_seconds\": 2.0}";
  }
  /// That it found this data.
  void finish_on(const Sweep& sweep, std::size_t configuration, const std::string& data) const {
    const Trial& trial = sweep.trial(0, configuration, 0);
    finish(sweep, 0, configuration, 0, 3.0);
    std::ofstream(trial_folder(sweep.folder, trial) / "summary.json")
        << "{\"steps\": " << *trial.config.train.steps << R"(, "val_loss": 3, "inputs": {"data.train": ")" << data << "\"}}";
  }
  void fail(const Sweep& sweep, std::size_t configuration, std::size_t seed) const {
    const Trial& trial = sweep.trial(0, configuration, seed);
    const std::filesystem::path here = trial_folder(sweep.folder, trial);
    prepare_trial(here, trial, sweep.file, sweep.configurations[configuration]);
    record_failure(here, {6, 0});
  }
  static std::vector<std::size_t> order(const std::vector<SweepResult>& results) {
    std::vector<std::size_t> configurations;
    for (const SweepResult& result : results) configurations.push_back(result.configuration);
    return configurations;
  }
  static std::vector<std::string> places(const std::vector<SweepResult>& results) {
    std::vector<std::string> texts;
    for (const SweepResult& result : results)
      texts.push_back(result.place == 0 ? "" : std::to_string(result.place) + (result.shares_place ? "=" : ""));
    return texts;
  }
  std::string read(const Sweep& sweep, const std::string& name) const { return read_file(sweep.folder / name); }

  const std::string four = R"("parameters": {"optimizer.weight_decay": {"values": [0, 0.1, 0.2, 0.3]}})";
};

TEST_F(ResultsTest, TrialsOfDifferentDataAreNotRanked) {
  const Sweep sweep = make(four);
  finish_on(sweep, 0, "one");
  finish_on(sweep, 1, "one");
  EXPECT_EQ(read_plan(sweep).count(TrialState::finished), 2u);
  finish_on(sweep, 2, "another");
  try {
    read_plan(sweep);
    ADD_FAILURE() << "ranked";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::data);
    for (const std::string& part : {std::string("data.train [\"train.bin\"]"), sweep.trial(0, 0, 0).id, sweep.trial(0, 2, 0).id,
                                    std::string("one"), std::string("another")})
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
  // Under different names there may be different things.
  const Sweep data = make(R"("parameters": {"data.train": {"values": [["train.bin"], ["more.bin"]]}})");
  finish_on(data, 0, "one");
  finish_on(data, 1, "another");
  EXPECT_EQ(read_plan(data).count(TrialState::finished), 2u);
}

TEST_F(ResultsTest, ALossThatIsNotFiniteAtTheEndIsNoResult) {
  const Sweep sweep = make(four + R"(, "metric": {"name": "loss"})");
  for (const std::size_t i : {0, 1}) {
    finish(sweep, 0, i, 0, 3.0);
    std::ofstream(trial_folder(sweep.folder, sweep.trial(0, i, 0)) / "metrics.jsonl")
        << "{\"step\":19,\"loss\":3.5}\n{\"step\":20,\"loss\":" << (i == 0 ? "null" : "3.25") << "}\n";
  }
  const std::vector<SweepResult> results = rank_configurations(sweep, read_plan(sweep)).results;
  EXPECT_EQ(results[0].configuration, 1u);
  EXPECT_DOUBLE_EQ(results[0].metric->mean, 3.25);
  EXPECT_FALSE(results[1].metric);
}

TEST_F(ResultsTest, AnyLoggedNumberRanksAsItIsInTheLastLineThatHasIt) {
  RunConfig base = small_run();
  base.diagnostics.every = 10;
  const auto ranked = [&](const std::string& name) {
    const Sweep sweep = make(four + R"(, "metric": {"name": ")" + name + R"(", "goal": "maximize"})", base);
    for (const std::size_t i : {0, 1, 2}) {
      finish(sweep, 0, i, 0, 3.0);
      const std::string value = std::to_string(i == 1 ? 9 : i + 1);
      std::ofstream(trial_folder(sweep.folder, sweep.trial(0, i, 0)) / "metrics.jsonl")
          << R"({"step":10,"loss":3,"weight_norm":50,"tokens_per_second":1e4})"
          << "\n"
          << R"({"step":19,"loss":3,"weight_norm":)" << value << R"(,"tokens_per_second":1e5})"
          << "\n"
          << R"({"step":20,"loss":3,"tokens_per_second":1e)" << value << "}\n";
      std::ofstream(trial_folder(sweep.folder, sweep.trial(0, i, 0)) / "diagnostics.jsonl")
          << R"({"step":10,"all":{"angle":50,"moment_ratio":50},"layers":{"layer 0":{"angle":7}}})"
          << "\n"
          << R"({"step":20,"all":{"angle":)" << value << R"(,"moment_ratio":)" << value << R"(},"layers":{"layer 0":{"angle":77}}})"
          << "\n";
    }
    const std::vector<SweepResult> results = rank_configurations(sweep, read_plan(sweep)).results;
    EXPECT_EQ(order(results), (std::vector<std::size_t>{1, 2, 0, 3})) << name;
    return results[0].metric->mean;
  };
  EXPECT_EQ(ranked("weight_norm"), 9.0);
  EXPECT_EQ(ranked("angle"), 9.0);
  EXPECT_EQ(ranked("moment_ratio"), 9.0);
  EXPECT_EQ(ranked("tokens_per_second"), 1e9);
}

TEST_F(ResultsTest, AQuadraticIsFittedWhereNumbersVary) {
  const std::string rates = R"("parameters": {"optimizer.learning_rate": {"values": [1e-3, 1e-2, 1e-1, 1]},)";
  const auto fitted = [&](const std::string& members, const auto& loss_of) {
    const Sweep sweep = make(members);
    std::filesystem::remove_all(sweep.folder);
    for (std::size_t i = 0; i < sweep.configurations.size(); ++i)
      for (std::size_t seed = 0; seed < sweep.file.seeds.size(); ++seed)
        finish(sweep, 0, i, seed,
               loss_of(sweep.configurations[i]) + static_cast<double>(seed) + ((i + seed) % 3 == 0 ? 1e-3 : 0.0));
    write_tables(sweep, read_plan(sweep), sweep.folder);
    return Json::parse(read(sweep, "results.json"))["fits"];
  };
  const auto place = [](const Configuration& one, std::size_t column) { return std::log10(*as_number(one.labels[column])); };
  const auto of_rate = [&](const Configuration& one) { return 3.0 + 0.2 * std::pow(place(one, 0) + 1.6, 2.0); };

  const std::string one_axis = rates + R"("train.steps": {"values": [20, 30]}}, "seeds": 2)";
  const Json fits = fitted(one_axis, of_rate);
  ASSERT_EQ(fits.size(), 2u);  // one for each number of steps
  EXPECT_EQ(fits[0]["values"]["train.steps"], "20");
  EXPECT_EQ(fits[1]["trials"], 8);
  EXPECT_EQ(fits[1]["degrees_of_freedom"], 4);
  const Json axis = fits[0]["axes"][0];
  EXPECT_EQ(axis["scale"], "logarithmic");
  EXPECT_NEAR(axis["optimum"].get<double>(), std::pow(10.0, -1.6), 2e-4);
  EXPECT_LT(axis["low"].get<double>(), std::pow(10.0, -1.6));
  EXPECT_GT(axis["high"].get<double>(), std::pow(10.0, -1.6));
  EXPECT_EQ(fits[0]["problem"], "");
  EXPECT_FALSE(fits[0].contains("mean"));  // a report has it
  const Sweep sweep = make(one_axis);
  const Json drawn = RankingTable(sweep, read_plan(sweep)).fits().json(true)[0];
  EXPECT_EQ(drawn["x"].size(), 61u);
  EXPECT_EQ(drawn["x"][0], 1e-3);
  EXPECT_NEAR(drawn["mean"][0].get<double>(), 3.5 + 0.2 * 1.4 * 1.4, 2e-3);
  EXPECT_GT(drawn["interval"][0].get<double>(), 0.0);
  for (const char* part :
       {"| train.steps | fitted over | best at | 95 % interval | val_loss there |", "| 20 | optimizer.learning_rate | 0.02",
        "Fit train.steps 30: 8 trials, 2 seeds, residual 0.0", "lack of fit not seen", "optimizer.learning_rate by log10"})
    EXPECT_NE(read(sweep, "results.md").find(part), std::string::npos) << part << " in\n" << read(sweep, "results.md");

  // More is better: the same of the negative.
  const Json most = fitted(one_axis + R"(, "metric": {"name": "val_loss", "goal": "maximize"})",
                           [&](const Configuration& one) { return -of_rate(one); });
  EXPECT_NEAR(most[0]["axes"][0]["optimum"].get<double>(), std::pow(10.0, -1.6), 2e-4);
  // Trials at 0 are left out where enough others span a decade; otherwise the axis is linear.
  const std::string decays = R"("optimizer.weight_decay": {"values": )";
  const Json two = fitted(rates + decays + R"([0, 1e-3, 1e-2, 1e-1]}}, "seeds": 2)", [&](const Configuration& one) {
    const double y = std::max(-3.0, place(one, 1)) + 2.3;
    return of_rate(one) + 0.3 * y * y - 0.2 * (place(one, 0) + 1.6) * y;
  });
  ASSERT_EQ(two.size(), 1u);
  EXPECT_EQ(two[0]["trials"], 24);
  EXPECT_NEAR(two[0]["axes"][1]["optimum"].get<double>(), std::pow(10.0, -2.3), 2e-4);
  EXPECT_NEAR(two[0]["tilt"].get<double>(), -0.2, 2e-3);
  EXPECT_NE(read(sweep, "results.md").find("the trials at 0 are left out of the fit"), std::string::npos);
  const auto of_decay = [](const Configuration& one) { return 3.0 + 5.0 * std::pow(*as_number(one.labels[0]) - 0.1, 2.0); };
  const Json linear = fitted(R"("parameters": {)" + decays + R"([0, 0.1, 0.3]}}, "seeds": 2)", of_decay);
  EXPECT_EQ(linear[0]["axes"][0]["scale"], "linear");
  EXPECT_NEAR(linear[0]["axes"][0]["optimum"].get<double>(), 0.1, 2e-3);
  // What keeps falling has no optimum, and three axes have no fit.
  const Json falling = fitted(one_axis, [&](const Configuration& one) { return 3.0 - 0.2 * place(one, 0); });
  EXPECT_TRUE(falling[0]["axes"][0]["optimum"].is_null());
  EXPECT_NE(falling[0]["problem"].get<std::string>().find("no optimum inside the range seen"), std::string::npos);
  EXPECT_TRUE(fitted(rates + decays + R"([1e-3, 1e-2, 1e-1]}, "train.steps": {"values": [10, 20, 30]}})", of_rate).empty());
  EXPECT_NE(read(sweep, "results.md").find("3 parameters have three or more numbers"), std::string::npos);
}

TEST_F(ResultsTest, WhatIsMeasuredOnDifferentSamplesIsNotRanked) {
  refused(R"("parameters": {"eval.tokens": {"values": [64, 128]}})", {"sweep.json", "eval.tokens", "measured on"});
  refused(R"("parameters": {"data.val": {"values": [["a.bin"], ["b.bin"]]}})", {"data.val", "val_loss"});
  make(R"("parameters": {"eval.tokens": {"values": [64, 128]}}, "metric": {"name": "loss"})");
}

TEST_F(ResultsTest, AFolderOfAnotherTrialIsRefused) {
  const Sweep sweep = make(four);
  for (const std::size_t i : {0, 1}) finish(sweep, 0, i, 0, 3.0 + static_cast<double>(i));
  const auto folder = [&](std::size_t i) { return trial_folder(sweep.folder, sweep.trial(0, i, 0)); };
  const auto refused = [&](const std::string& part) {
    try {
      read_plan(sweep);
      ADD_FAILURE() << "not refused: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::usage);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  const auto exchange = [&] {
    std::filesystem::rename(folder(0), folder_ / "aside");
    std::filesystem::rename(folder(1), folder(0));
    std::filesystem::rename(folder_ / "aside", folder(1));
  };
  exchange();
  refused("is of configuration " + sweep.trial(0, 1, 0).id);
  exchange();
  EXPECT_EQ(rank_configurations(sweep, read_plan(sweep)).results.front().configuration, 0u);
  std::ofstream(folder(0) / "summary.json") << R"({"steps": 20, "val_loss": 1, "config_id": "0123456789abcdef"})";
  refused("summary.json: is of configuration 0123456789abcdef");
  std::filesystem::remove(folder(0) / "summary.json");
  std::ofstream(folder(0) / "config.json") << "";
  refused("config.json");
}

TEST_F(ResultsTest, SeedsAreTakenTogether) {
  const Sweep sweep = make(four + R"(, "seeds": 3)");
  for (std::size_t seed = 0; seed < 3; ++seed) finish(sweep, 0, 1, seed, 4.0 + static_cast<double>(seed));
  const SweepResult best = rank_configurations(sweep, read_plan(sweep)).results.front();
  EXPECT_EQ(best.configuration, 1u);
  EXPECT_EQ(best.finished, 3u);
  EXPECT_DOUBLE_EQ(best.metric->mean, 5.0);
  EXPECT_DOUBLE_EQ(*best.metric->sd, 1.0);
  EXPECT_DOUBLE_EQ(*best.metric->interval, student_t(0.975, 2) / std::sqrt(3.0));
}

TEST_F(ResultsTest, NoiseThatIsNotAlikeIsWarnedOf) {
  for (const double factor : {1.0, 100.0}) {
    const Sweep sweep = make(four + R"(, "seeds": 12)");
    for (std::size_t i = 0; i < 4; ++i)
      for (std::size_t seed = 0; seed < 12; ++seed) {
        const double noise = 0.001 * std::sin(37.0 * static_cast<double>(i) + 11.7 * static_cast<double>(seed));
        finish(sweep, 0, i, seed, 3.0 + static_cast<double>(i) + (i == 2 ? factor : 1.0) * noise);
      }
    const std::string verdict = verdict_text(sweep, rank_configurations(sweep, read_plan(sweep)));
    const bool warned =
        verdict.find("Warning: the noise is not alike for all: that of optimizer.weight_decay 0.2 has ") != std::string::npos;
    EXPECT_EQ(warned, factor > 1.0) << verdict;
  }
}

TEST_F(ResultsTest, WhatIsNotSeenTiesForTheBest) {
  for (const bool maximize : {false, true}) {
    for (const std::size_t seeds : {2, 3, 5}) {
      const Sweep sweep =
          make(four + ", \"seeds\": " + std::to_string(seeds) + (maximize ? R"(, "metric": {"goal": "maximize"})" : ""));
      // Noise of 0.01 and -0.01 that leaves every mean where it is; the spread of the seeds, a hundred times as wide, tells nothing.
      const auto n = static_cast<double>(seeds);
      const double sd = std::sqrt(8 * 1e-4 / (3.0 * (n - 1.0))),
                   interval = studentized_range95(4, 3 * (seeds - 1)) * sd / std::sqrt(n);
      const double away[4] = {interval * 1.001, 0.0, interval * 0.999, 1.0};
      for (std::size_t i = 0; i < 4; ++i) {
        for (std::size_t seed = 0; seed < seeds; ++seed) {
          const double noise = seed > 1 ? 0.0 : (i % 2 == seed ? 0.01 : -0.01);
          finish(sweep, 0, i, seed, 3.0 + static_cast<double>(seed) + (maximize ? -1.0 : 1.0) * away[i] + noise);
        }
      }
      const Ranking ranking = rank_configurations(sweep, read_plan(sweep));
      EXPECT_EQ(order(ranking.results), (std::vector<std::size_t>{1, 2, 0, 3})) << seeds;
      EXPECT_EQ(places(ranking.results), (std::vector<std::string>{"1=", "1=", "3", "4"})) << seeds;
      EXPECT_NEAR(ranking.noise->sd, sd, 1e-9);
      EXPECT_NEAR(*ranking.results[3].behind->interval, interval, 1e-9);
      EXPECT_NEAR(ranking.lead->mean, 0.999 * interval, 1e-9);
      EXPECT_FALSE(ranking.winner);
      const std::string verdict = verdict_text(sweep, ranking);
      for (const std::string part :
           {"No winner: 2 configurations may be the best. best.json is the first of them. Its lead over the second is 0.",
            ", not seen.\n6 comparisons of 4 configurations", "this sweep could see a difference of "})
        EXPECT_NE(verdict.find(part), std::string::npos) << part << "\n" << verdict;
      EXPECT_EQ(verdict.find("Warning: fewer than three seeds") != std::string::npos, seeds == 2) << verdict;
    }
  }
}

TEST_F(ResultsTest, AWinnerHasALeadThatIsSeen) {
  const Sweep sweep = make(four + R"(, "seeds": 3)");
  for (std::size_t i = 0; i < 4; ++i) {
    if (i == 3) {
      EXPECT_EQ(RankingTable(sweep, read_plan(sweep)).verdict().find("The first is the best of those with a result. Its lead"), 0u);
    }
    for (std::size_t seed = 0; seed < 3; ++seed)
      finish(sweep, 0, i, seed, 3.0 + static_cast<double>(i + seed) + 0.01 * static_cast<double>((i + seed) % 2));
  }
  const SweepPlan plan = read_plan(sweep);
  const RankingTable table(sweep, plan);
  EXPECT_EQ(table.verdict().find("The first is the best. Its lead over the second is 1.0"), 0u) << table.verdict();
  const Ranking ranking = rank_configurations(sweep, plan);
  EXPECT_TRUE(ranking.winner);
  write_tables(sweep, plan, sweep.folder);
  const auto statistics = nlohmann::json::parse(read(sweep, "results.json"))["statistics"];
  EXPECT_EQ(statistics["winner"], true);
  EXPECT_EQ(statistics["lead"], ranking.lead->mean);
  EXPECT_EQ(statistics["lead_interval"], *ranking.lead->interval);
  EXPECT_EQ(statistics["noise"], ranking.noise->sd);
  EXPECT_EQ(statistics["degrees_of_freedom"], 6);
  EXPECT_EQ(statistics["comparisons"], 6);
  EXPECT_EQ(statistics["visible_difference"], ranking.noise->visible(3));
}

TEST_F(ResultsTest, OneSeedTellsNothingOfTheNoise) {
  const Sweep sweep = make(four);
  for (std::size_t i = 0; i < 4; ++i) finish(sweep, 0, i, 0, 3.0 + 2e-5 * static_cast<double>(i));
  const Ranking ranking = rank_configurations(sweep, read_plan(sweep));
  for (const SweepResult& result : ranking.results) {
    EXPECT_FALSE(result.metric->interval || (result.behind && result.behind->interval));
    EXPECT_FALSE(result.tied_for_best);
  }
  EXPECT_FALSE(ranking.winner);
  EXPECT_EQ(
      verdict_text(sweep, ranking),
      "The first is not known to be the best.\nWarning: one seed tells nothing of the noise: no interval, and no difference is judged.\n");
}

// A micro-batch changes the last digits of what is measured, and nothing else.
TEST_F(ResultsTest, EqualMetricsAreATie) {
  RunConfig base = small_run();
  base.batch.tokens_per_step = 64;
  const Sweep sweep = make(R"("parameters": {"batch.micro_batch": {"values": [1, 2, 4, 8]}})", base);
  const auto ranked = [&](const std::vector<double>& losses) {
    for (std::size_t i = 0; i < 4; ++i) finish(sweep, 0, i, 0, losses[i]);
    return rank_configurations(sweep, read_plan(sweep)).results;
  };
  std::vector<SweepResult> results = ranked({3.0000052, 3.0000021, 3.0, 3.0000097});
  EXPECT_EQ(order(results), (std::vector<std::size_t>{0, 1, 2, 3}));
  EXPECT_EQ(places(results), (std::vector<std::string>{"1=", "1=", "1=", "1="}));
  const SweepPlan plan = read_plan(sweep);
  write_tables(sweep, plan, sweep.folder);
  const std::string says = "No winner: the val_loss of 4 configurations is the same within 1e-5";
  EXPECT_NE(read(sweep, "results.md").find("| 1= | 8 | 3.0000 |  | 1 | +0.0000 |  |\n\n" + says), std::string::npos);
  EXPECT_NE(RankingTable(sweep, plan).text(9).find(says), std::string::npos);
  EXPECT_EQ(sweep_chart(sweep, plan, false).find('*'), std::string::npos);
  EXPECT_EQ(load_config(sweep.folder / "best.json").name, "small-one-of-4-tied-for-best");
  const auto json = nlohmann::json::parse(read(sweep, "results.json"));
  EXPECT_EQ(json["verdict"].get<std::string>().find(says), 0u);
  for (const auto& one : json["configurations"]) EXPECT_EQ(one["rank"], 1);
  EXPECT_NE(read(sweep, "results.csv").find("\n1,8,3.0000097,,,1,0,"), std::string::npos);

  results = ranked({3.1000001, 3.000015, 3.0, 3.1});
  EXPECT_EQ(order(results), (std::vector<std::size_t>{2, 1, 0, 3}));
  EXPECT_EQ(places(results), (std::vector<std::string>{"1", "2", "3=", "3="}));
  EXPECT_FALSE(results[0].tied_for_best);
}

TEST_F(ResultsTest, ConfigurationsWithFailuresComeAfterThoseWithoutAndEmptyOnesLast) {
  const Sweep sweep = make(four + R"(, "seeds": 2)");
  finish(sweep, 0, 0, 0, 1.0);
  fail(sweep, 0, 1);
  finish(sweep, 0, 2, 0, 5.0);
  finish(sweep, 0, 2, 1, 5.0);
  fail(sweep, 3, 0);
  fail(sweep, 3, 1);
  const std::vector<SweepResult> results = rank_configurations(sweep, read_plan(sweep)).results;
  EXPECT_EQ(results[0].configuration, 2u);
  EXPECT_EQ(results[1].configuration, 0u);
  EXPECT_EQ(results[1].failed, 1u);
  EXPECT_FALSE(results[2].metric.has_value());
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
  write_tables(sweep, plan, sweep.folder);
  const std::string interval = nlohmann::json(*estimate({3.5, 3.25}).interval).dump();
  EXPECT_EQ(read(sweep, "results.csv"),
            "rank,kind,val_loss,val_loss_sd,val_loss_ci95,n,failed,behind_best,behind_best_ci95,tied_for_best\n"
            "1,\"a, \"\"b\"\"\",3.375,0.1767766952966369," +
                interval +
                ",2,0,,,\n"
                "2,c|d,3.0,,,1,1,-0.5,,\n");
  EXPECT_EQ(read(sweep, "results.md"),
            "| rank | kind | val_loss | sd | n | behind |  |\n| --- | --- | --- | --- | --- | --- | --- |\n"
            "| 1 | a, \"b\" | 3.3750 | 0.1768 | 2 |  |  |\n"
            "| 2 | c\\|d | 3.0000 |  | 1 | -0.5000 | 1 failed |\n\n"
            "The first is not known to be the best.\nNo two configurations have enough seeds in common yet: no interval, and no "
            "difference is judged.\n");
  const auto& trials = sweep.rungs[0];
  EXPECT_EQ(read(sweep, "trials.csv"), "trial,kind,seed,steps,state,val_loss,failure\n" + trials[0].id +
                                           ",\"a, \"\"b\"\"\",7,20,finished,3.5,\n" + trials[1].id +
                                           ",\"a, \"\"b\"\"\",8,20,finished,3.25,\n" + trials[2].id + ",c|d,7,20,finished,3.0,\n" +
                                           trials[3].id + ",c|d,8,20,failed,,exit code 6\n");
  EXPECT_NE(read(sweep, "timing.csv").find(trials[0].id + ",2.0,320.0\n"), std::string::npos);
  EXPECT_NE(read(sweep, "results.json").find("\"interval\": " + interval), std::string::npos);
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
  EXPECT_EQ(order(rank_configurations(sweep, read_plan(sweep)).results), (std::vector<std::size_t>{3, 1, 0, 2}));
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
  const auto state = [&] { return read_trial(here, trial, sweep.file).state; };
  EXPECT_EQ(state(), TrialState::waiting);
  prepare_trial(here, trial, sweep.file, sweep.configurations[0]);
  EXPECT_EQ(state(), TrialState::waiting);
  std::ofstream(here / "metrics.jsonl") << "{\"step\": 3, \"seconds\": 1.5}\n{\"step\": 4, \"sec";
  EXPECT_EQ(state(), TrialState::interrupted);
  EXPECT_EQ(read_trial(here, trial, sweep.file).steps, 3);
  std::ofstream(here / "summary.json") << "{\"steps\": 20, \"val_";
  EXPECT_EQ(state(), TrialState::interrupted);
  std::ofstream(here / "summary.json") << "{\"steps\": 19, \"val_loss\": 3}";
  EXPECT_EQ(state(), TrialState::interrupted);
  std::ofstream(here / "summary.json") << "{\"steps\": 20, \"val_loss\": 3}";
  EXPECT_EQ(state(), TrialState::finished);
}

}  // namespace
}  // namespace temper
