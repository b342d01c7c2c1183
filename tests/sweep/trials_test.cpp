#include "sweep/trials.h"

#include <cmath>
#include <set>

#include "config/fields.h"
#include "sweep_support.h"

namespace temper {
namespace {

std::vector<std::string> described(const Sweep& sweep) {
  std::vector<std::string> texts;
  for (const Configuration& configuration : sweep.configurations) texts.push_back(describe(sweep.file, configuration));
  return texts;
}

std::vector<std::string> ids(const Sweep& sweep) {
  std::vector<std::string> all;
  for (const Trial& trial : sweep.rungs[0]) all.push_back(trial.id);
  return all;
}

TEST_F(SweepTest, GridVariesTheLastParameterFastest) {
  const Sweep sweep =
      make(R"("parameters": {"optimizer.weight_decay": {"values": [0, 0.5]}, "schedule.warmup_steps": {"min": 1, "max": 3}})");
  EXPECT_EQ(described(sweep),
            (std::vector<std::string>{
                "optimizer.weight_decay 0, schedule.warmup_steps 1", "optimizer.weight_decay 0, schedule.warmup_steps 2",
                "optimizer.weight_decay 0, schedule.warmup_steps 3", "optimizer.weight_decay 0.5, schedule.warmup_steps 1",
                "optimizer.weight_decay 0.5, schedule.warmup_steps 2", "optimizer.weight_decay 0.5, schedule.warmup_steps 3"}));
}

TEST_F(SweepTest, TrialsAreTheBaseWithItsSettings) {
  RunConfig base = small_run();
  base.schedule.warmup_fraction = 0.25;
  const Sweep sweep = make(R"("parameters": {"schedule.warmup_steps": {"values": [2, 4]}}, "seeds": [5, 9])", base);
  ASSERT_EQ(sweep.rungs[0].size(), 4u);
  EXPECT_EQ(sweep.rungs[0][3].config.schedule.warmup_steps, 4);
  EXPECT_EQ(sweep.rungs[0][3].config.schedule.warmup_fraction, std::nullopt);  // the other way to say it is taken back
  EXPECT_EQ(sweep.rungs[0][3].config.seed, 9u);
  RunConfig expected = base;
  expected.schedule.warmup_fraction.reset();
  expected.schedule.warmup_steps = 4;
  expected.seed = 9;
  EXPECT_EQ(sweep.rungs[0][3].id, config_identity(expected));
}

// One run under three names is trained once, and told.
TEST_F(SweepTest, SpellingsOfOneConfigurationAreOneRun) {
  const Sweep sweep = make(R"("parameters": {"spelling": {"values": [
    {"label": "by name", "log.every": 1}, {"label": "by decay", "optimizer.decay": "decoupled"}, {"label": "by beta1", "optimizer.beta1": 0.9},
    {"label": "another", "optimizer.beta1": 0.8}]}}, "seeds": 2)");
  ASSERT_EQ(sweep.configurations.size(), 2u);
  EXPECT_EQ(label_text(sweep.configurations[0].labels[0]), "by name");
  EXPECT_EQ(label_text(sweep.configurations[1].labels[0]), "another");
  EXPECT_EQ(sweep.rungs[0].size(), 4u);
  EXPECT_EQ(sweep.notes,
            (std::vector<std::string>{"spelling by decay is the same run as spelling by name, which is trained once",
                                      "spelling by beta1 is the same run as spelling by name, which is trained once"}));
}

TEST_F(SweepTest, ARateOfTheBaseThatWasGivenForAnotherOptimizerIsTold) {
  RunConfig base = small_run();
  base.optimizer.learning_rate = 1e-3;
  const Sweep sweep = make(
      R"("parameters": {"optimizer.name": {"values": ["adamw", "lion"]}, "optimizer.weight_decay": {"values": [0.1, 0.2]}})", base);
  ASSERT_EQ(sweep.notes.size(), 1u);  // not once for each trial, and not of the decay, which each trial gives
  EXPECT_EQ(sweep.notes[0],
            "optimizer.learning_rate 0.001 was given for adamw, and optimizer.name is lion, whose own default is 0.0001");
}

TEST_F(SweepTest, AFormulaKnowsWhatFollowsFromTheName) {
  const Sweep sweep = make(
      R"("parameters": {"optimizer.name": {"values": ["adamw", "lion"]}}, "ties": {"optimizer.weight_decay": "6e-5 / optimizer.learning_rate"})");
  EXPECT_EQ(sweep.rungs[0][0].config.optimizer.weight_decay, 0.1);
  EXPECT_EQ(sweep.rungs[0][1].config.optimizer.weight_decay, 0.6);
}

TEST_F(SweepTest, AFolderOfAnotherFormatIsNotGoneOnWith) {
  const Sweep sweep = make(R"("parameters": {"optimizer.weight_decay": {"values": [0.1, 0.2]}})");
  write("sweep.json", sweep_to_json(sweep.file));
  EXPECT_EQ(make_sweep(open_sweep(folder_ / ""), folder_ / "out").rungs[0][0].id, sweep.rungs[0][0].id);
  for (const auto& [format, says] : {std::pair("", "is of format 0"), std::pair("\"format\": 3,", "older ones do not say all"),
                                     std::pair("\"format\": 5,", "newer temper")}) {
    std::string text = sweep_to_json(sweep.file);
    text.replace(text.find("\"format\": 4,"), std::string("\"format\": 4,").size(), format);
    write("sweep.json", text);
    try {
      open_sweep(folder_ / "");
      ADD_FAILURE() << "not refused: " << format;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::checkpoint);
      EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    }
  }
}

TEST_F(SweepTest, KeysThatMoveTogether) {
  const Sweep sweep = make(R"("parameters": {"optimizer": {"values": [
      {"label": "adamw", "optimizer.name": "adamw", "optimizer.beta2": 0.95},
      {"label": "lion", "optimizer.name": "lion", "optimizer.learning_rate": 1e-4}]}})");
  EXPECT_EQ(described(sweep), (std::vector<std::string>{"optimizer adamw", "optimizer lion"}));
  EXPECT_EQ(sweep.rungs[0][0].config.optimizer.beta2, 0.95);
  EXPECT_EQ(sweep.rungs[0][1].config.optimizer.name, OptimizerName::lion);
  EXPECT_EQ(sweep.rungs[0][1].config.optimizer.beta2, 0.99);  // what its name gives
  EXPECT_EQ(sweep.rungs[0][1].config.optimizer.learning_rate, 1e-4);
}

TEST_F(SweepTest, TiesComputeKeysFromOthers) {
  const Sweep sweep = make(R"("parameters": {"optimizer.learning_rate": {"values": [3e-4, 6e-4, 0.001]}},
      "ties": {"optimizer.weight_decay": "0.06 / optimizer.learning_rate / 1000", "schedule.warmup_steps": "train.steps / 4"})");
  EXPECT_EQ(columns(sweep.file),
            (std::vector<std::string>{"optimizer.learning_rate", "optimizer.weight_decay", "schedule.warmup_steps"}));
  EXPECT_EQ(sweep.rungs[0][0].config.optimizer.weight_decay, 0.2);  // 12 digits: not 0.19999999999999998
  EXPECT_EQ(sweep.rungs[0][1].config.optimizer.weight_decay, 0.1);
  EXPECT_EQ(sweep.rungs[0][2].config.optimizer.weight_decay, 0.06);
  EXPECT_EQ(sweep.rungs[0][2].config.schedule.warmup_steps, 5);
}

TEST_F(SweepTest, ConditionsTakeConfigurationsOut) {
  const Sweep sweep =
      make(R"("parameters": {"optimizer.weight_decay": {"values": [0, 0.1, 0.2]}, "schedule.warmup_steps": {"values": [0, 5]}},
      "where": ["optimizer.weight_decay > 0 or schedule.warmup_steps == 5", "optimizer.weight_decay < 0.2"])");
  EXPECT_EQ(described(sweep), (std::vector<std::string>{"optimizer.weight_decay 0, schedule.warmup_steps 5",
                                                        "optimizer.weight_decay 0.1, schedule.warmup_steps 0",
                                                        "optimizer.weight_decay 0.1, schedule.warmup_steps 5"}));
}

constexpr const char* space = R"("parameters": {
    "optimizer.learning_rate": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2},
    "optimizer.beta2": {"distribution": "q_uniform", "q": 0.01, "min": 0.9, "max": 0.99},
    "schedule.warmup_steps": {"min": 0, "max": 9},
    "optimizer.weight_decay": {"values": [0, 0.1, 0.3]}})";

TEST_F(SweepTest, RandomDrawsStayInTheirRangesAndFillThem) {
  const Sweep sweep = make(R"("method": "random", "count": 1000, )" + std::string(space));
  double below = 0;
  std::set<std::int64_t> warmups;
  std::set<double> decays;
  for (const Trial& trial : sweep.rungs[0]) {
    const double rate = *trial.config.optimizer.learning_rate, beta2 = *trial.config.optimizer.beta2;
    EXPECT_TRUE(rate >= 1e-4 && rate <= 1e-2) << rate;
    below += rate < 1e-3;
    EXPECT_NEAR(beta2 * 100, std::round(beta2 * 100), 1e-6);
    warmups.insert(*trial.config.schedule.warmup_steps);
    decays.insert(*trial.config.optimizer.weight_decay);
  }
  EXPECT_NEAR(below / 1000, 0.5, 0.05);  // the logarithm's middle; three standard deviations of 1000 draws
  EXPECT_EQ(warmups.size(), 10u);
  EXPECT_EQ(decays.size(), 3u);
}

TEST_F(SweepTest, RandomDrawsAreAFunctionOfSeedAndNumber) {
  const std::vector<std::string> ten = ids(make(R"("method": "random", "count": 10, "seed": 4, )" + std::string(space)));
  std::vector<std::string> twenty = ids(make(R"("method": "random", "count": 20, "seed": 4, )" + std::string(space)));
  twenty.resize(10);
  EXPECT_EQ(ten, twenty);
  EXPECT_NE(ten, ids(make(R"("method": "random", "count": 10, "seed": 5, )" + std::string(space))));
}

TEST_F(SweepTest, RandomDrawsDifferAndEndWithTheSpace) {
  const std::string three = R"("parameters": {"optimizer.weight_decay": {"values": [0, 0.1, 0.3]}})";
  const std::vector<std::string> all = ids(make(R"("method": "random", "count": 3, )" + three));
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), 3u);
  refused(R"("method": "random", "count": 4, )" + three, {"count is 4", "after 3 configurations", "lower count"});
}

// Refused before they are made: the draws and values of each of these would fill the memory.
TEST_F(SweepTest, MoreTrialsThanASweepMayHave) {
  const char* many = R"("parameters": {"seed": {"min": 0, "max": 200000}})";
  refused(R"("method": "random", "count": 1000000000, )" + std::string(space),
          {"1000000000 configurations", "at most 100000 trials"});
  refused(R"("method": "random", "count": 60000, "seeds": 2, )" + std::string(space), {"60000 configurations", "x 2 seeds"});
  refused(R"("method": "halving", "count": 40000, )" + std::string(space), {"40000 configurations", "x 3 rungs"});
  refused(many, {"100001 configurations or more", "at most 100000 trials"});
  refused(many + std::string(R"(, "where": ["seed > 2000000"])"), {"the grid is empty"});
  refused(R"("parameters": {"seed": {"min": 0, "max": 1000000000}})", {"the grid has 1000000001", "too many"});
  refused(
      R"("parameters": {"train.steps": {"min": 1, "max": 100000}, "seed": {"min": 0, "max": 9000000000000000},
             "schedule.warmup_steps": {"min": 0, "max": 9}})",
      {"too many"});
  refused(R"("parameters": {"seed": {"min": 0, "max": 1}}, "resources": {"trials_at_once": 1000000000})",
          {"trials_at_once", "10000"});
}

TEST_F(SweepTest, RungsShortenRunsAndTheLastIsTheRunOfAGrid) {
  const std::string values = R"("parameters": {"optimizer.weight_decay": {"values": [0, 0.1, 0.2, 0.3]}})";
  const Sweep halving = make(R"("method": "halving", "halving": {"eta": 2, "rungs": [0.25, 0.5, 1]}, )" + values);
  const Sweep grid = make(values);
  ASSERT_EQ(halving.rungs.size(), 3u);
  EXPECT_EQ(halving.rungs[0][0].config.train.steps, 5);
  EXPECT_EQ(halving.rungs[1][0].config.train.steps, 10);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(halving.rungs[2][i].id, grid.rungs[0][i].id);
  EXPECT_EQ(rung_size(halving.file, 1, 4), 2u);
  EXPECT_EQ(rung_size(halving.file, 2, 4), 1u);
  EXPECT_EQ(rung_size(halving.file, 2, 1), 1u);
}

TEST_F(SweepTest, BudgetOfHalvingCountsWhatRungsTake) {
  // 4 of 5 steps, 2 of 10, 1 of 20, each step 32 tokens: 1920
  const std::string members =
      R"("method": "halving", "halving": {"eta": 2, "rungs": [0.25, 0.5, 1]}, "parameters": {"optimizer.weight_decay": {"values": [0, 0.1, 0.2, 0.3]}}, )";
  EXPECT_NO_THROW(make(members + R"("budget": {"trials": 7, "tokens": 1920})"));
  refused(members + R"("budget": {"tokens": 1919})", {"1920 tokens in 7 trials"});
}

}  // namespace
}  // namespace temper
