// The data of reports and their text, from folders that the tests write themselves.
#include "sweep/report.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "sweep/ranking_table.h"
#include "sweep_support.h"

namespace temper {
namespace {

using Json = nlohmann::json;

class ReportTest : public SweepTest {
 protected:
  /// Writes sweep.json too, as `temper sweep` does.
  Sweep begin(const std::string& members, const RunConfig& base = small_run()) const {
    Sweep sweep = make(members, base);
    std::filesystem::create_directories(sweep.folder);
    std::ofstream(sweep.folder / "sweep.json") << sweep_to_json(sweep.file);
    return sweep;
  }
  std::filesystem::path prepare(const Sweep& sweep, std::size_t configuration, std::size_t seed) const {
    const Trial& trial = sweep.trial(0, configuration, seed);
    const std::filesystem::path here = trial_folder(sweep.folder, trial);
    prepare_trial(here, trial, sweep.file, sweep.configurations[configuration]);
    return here;
  }
  void finish(const Sweep& sweep, std::size_t configuration, std::size_t seed, double loss) const {
    std::ofstream(prepare(sweep, configuration, seed) / "summary.json")
        << "{\"steps\": " << *sweep.trial(0, configuration, seed).config.train.steps << ", \"val_loss\": " << loss << "}";
  }
  Json report(const Sweep& sweep) const { return Json::parse(report_json(open_report(sweep.folder))); }

  const std::string rates = R"("parameters": {"optimizer.learning_rate": {"values": [0.01, 0.001, 0.1]}})";
};

/// A line of metrics.jsonl.
std::string metrics_line(std::int64_t step, double loss) {
  return "{\"step\":" + std::to_string(step) + ",\"loss\":" + std::to_string(loss) + ",\"learning_rate\":0.5,\"grad_norm\":2.0}\n";
}

TEST_F(ReportTest, WhatIsNoSweepIsRefusedWithWhatToNameInstead) {
  const auto refusal = [](const std::filesystem::path& folder) -> std::string {
    try {
      open_report(folder);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::usage);
      return error.what();
    }
    return "not refused";
  };
  const std::filesystem::path here = folder_.path();
  EXPECT_NE(refusal(here / "absent").find("absent does not exist; name the --out folder"), std::string::npos);
  EXPECT_NE(refusal(here).find("holds neither a sweep (sweep.json) nor a run"), std::string::npos);
  write("text", "x");
  EXPECT_NE(refusal(here / "text").find("is not a folder"), std::string::npos);
}

TEST_F(ReportTest, ConfigurationsComeRankedWithTheirTrialsAndWhatTheyChange) {
  const Sweep sweep = begin(rates + R"(, "seeds": [1, 2])");
  finish(sweep, 0, 0, 3.0);
  finish(sweep, 0, 1, 3.5);
  finish(sweep, 2, 0, 2.0);
  record_failure(prepare(sweep, 1, 0), {6, 0});
  const Json json = report(sweep);
  EXPECT_EQ(json["kind"], "sweep");
  EXPECT_EQ(json["metric"], "val_loss");
  EXPECT_EQ(json["seeds"], Json({1, 2}));
  EXPECT_EQ(json["trials"],
            Json({{"finished", 3}, {"stopped", 0}, {"failed", 1}, {"interrupted", 0}, {"waiting", 2}, {"to be chosen", 0}}));
  const Json& best = json["configurations"][0];
  EXPECT_EQ(best["rank"], 1);
  EXPECT_EQ(best["values"]["optimizer.learning_rate"], 0.1);
  EXPECT_EQ(best["n"], 1);
  EXPECT_TRUE(best["sd"].is_null());
  EXPECT_EQ(best["changes"], Json::parse(R"([{"key": "optimizer.learning_rate", "base": "0.0006", "value": "0.1"}])"));
  const Json& second = json["configurations"][1];
  EXPECT_EQ(second["mean"], 3.25);
  EXPECT_DOUBLE_EQ(second["sd"].get<double>(), std::sqrt(0.125));
  EXPECT_DOUBLE_EQ(second["interval"].get<double>(), 0.25 * student_t(0.975, 1));
  EXPECT_EQ(second["rank"], 2);
  EXPECT_EQ(second["behind_best"], 1.0);
  EXPECT_TRUE(second["behind_best_interval"].is_null());  // of one seed that both have
  EXPECT_EQ(second["trials"][1]["metric"], 3.5);
  EXPECT_EQ(second["trials"][1]["seed"], 2);
  const Json& last = json["configurations"][2];
  EXPECT_TRUE(last["rank"].is_null());
  EXPECT_TRUE(last["mean"].is_null());
  EXPECT_EQ(last["failed"], 1);
  EXPECT_EQ(last["trials"][0]["state"], "failed");
  EXPECT_EQ(last["trials"][0]["failure"], "exit code 6");
  EXPECT_EQ(last["trials"][1]["state"], "waiting");
  EXPECT_EQ(last["trials"][1]["command"], "");
  const std::string id = sweep.trial(0, 1, 0).id;
  EXPECT_EQ(last["trials"][0]["command"],
            "temper train " + (sweep.folder / "trials" / id / "config.json").string() + " --out runs/" + id);
  EXPECT_EQ(json["commands"]["best"], "temper train " + (sweep.folder / "best.json").string());
}

TEST_F(ReportTest, ASweepWithoutResultsHasAReportToo) {
  const Sweep sweep = begin(rates);
  const Json json = report(sweep);
  EXPECT_EQ(json["commands"]["best"], "");
  EXPECT_EQ(json["configurations"].size(), 3u);
  EXPECT_TRUE(json["configurations"][0]["mean"].is_null());
  EXPECT_EQ(sweep_chart(sweep, read_plan(sweep), false), "");
}

TEST_F(ReportTest, AFolderWithSpacesIsQuotedInCommands) {
  Sweep sweep = make(rates);
  sweep.folder = folder_ / "it's here";
  std::filesystem::create_directories(sweep.folder);
  std::ofstream(sweep.folder / "sweep.json") << sweep_to_json(sweep.file);
  const std::string command = report(sweep)["commands"]["sweep"];
  EXPECT_TRUE(command.ends_with("/it'\\''s here'")) << command;
  EXPECT_TRUE(command.starts_with("temper sweep '/")) << command;
}

TEST_F(ReportTest, AxesFollowTheValues) {
  const auto scale = [&](const std::string& values, const char* key = "optimizer.learning_rate") {
    const Sweep sweep = begin("\"parameters\": {\"" + std::string(key) + "\": {\"values\": " + values + "}}");
    return report(sweep)["parameters"][0]["scale"].get<std::string>();
  };
  EXPECT_EQ(scale("[0.1, 0.001, 0.01]"), "logarithmic");
  EXPECT_EQ(scale("[0.0003, 0.001, 0.003, 0.01]"), "logarithmic");
  EXPECT_EQ(scale("[0.001, 0.1]"), "logarithmic");
  EXPECT_EQ(scale("[0.1, 0.2, 0.3]"), "linear");
  EXPECT_EQ(scale("[0.01, 0.05, 0.1, 0.15]"), "linear");
  EXPECT_EQ(scale("[0, 0.1, 1]", "optimizer.weight_decay"), "even");
  EXPECT_EQ(scale("[0, 0.1, 0.2]", "optimizer.weight_decay"), "linear");
  EXPECT_EQ(scale("[\"cosine\", \"constant\"]", "schedule.name"), "even");
  const Sweep sweep = begin(rates);
  EXPECT_EQ(report(sweep)["parameters"][0]["values"], Json({0.001, 0.01, 0.1}));
}

TEST_F(ReportTest, CurvesAreSmoothedAndThinned) {
  RunConfig base = small_run();
  base.train.steps = 1000;
  base.eval.every = 100;
  const Sweep sweep = begin(rates, base);
  std::ofstream metrics(prepare(sweep, 0, 0) / "metrics.jsonl");
  metrics << "{\"step\":0,\"loss\":null,\"val_loss\":9.0,\"learning_rate\":0.0,\"grad_norm\":null}\n";
  // A line through the origin, which a mean over as many points on both sides leaves where it is, with a spike at 500.
  for (std::int64_t step = 1; step <= 1000; ++step) {
    if (step == 300) metrics << "{\"step\":300,\"lo\n";  // torn
    if (step == 301)
      metrics << "garbage\n{\"step\":12,\"loss\":7}\n{\"step\":5000,\"loss\":7}\n";  // foreign, of the past, beyond the end
    if (step == 600) {
      metrics << "{\"step\":600,\"loss\":null,\"learning_rate\":0.5,\"grad_norm\":null,\"val_loss\":1.5}\n";
      continue;
    }
    metrics << metrics_line(step, 0.01 * static_cast<double>(step) + (step == 500 ? 21.0 : 0.0));
  }
  metrics.close();
  const Json json = report(sweep);
  const Json& trial = json["configurations"][0]["trials"][0];
  const Json& curve = trial["training"];
  EXPECT_EQ(curve["smoothed_over"], 21);
  const std::size_t points = curve["step"].size();
  EXPECT_GT(points, 200u);
  EXPECT_LE(points, 302u);
  EXPECT_EQ(curve["step"][0], 1);
  EXPECT_EQ(curve["step"].back(), 1000);
  for (const char* key : {"loss", "grad_norm", "learning_rate"}) EXPECT_EQ(curve[key].size(), points) << key;
  for (std::size_t i = 0; i < points; ++i) {
    const auto step = curve["step"][i].get<std::int64_t>();
    if (step == 600) {
      EXPECT_TRUE(curve["loss"][i].is_null());  // was not finite
      continue;
    }
    // At the end nothing is ahead, and the mean lies in the past. The torn line and the one without a loss move it by at most 10
    // steps of 0.01 / 20 beside them; otherwise there are six digits of at most 11.
    const double ahead = static_cast<double>(std::min<std::int64_t>({10, step - 1, 1000 - step}));
    const double back = static_cast<double>(std::min<std::int64_t>(10, step - 1));
    const double spike = std::abs(step - 500) <= 10 ? 1.0 : 0.0;
    const double tolerance = std::abs(step - 300) <= 11 || std::abs(step - 600) <= 11 ? 0.01 : 1e-4;
    EXPECT_NEAR(curve["loss"][i].get<double>(), 0.01 * (static_cast<double>(step) + (ahead - back) / 2) + spike, tolerance) << step;
  }
  EXPECT_EQ(trial["validation"], Json::parse(R"({"step": [0, 600], "val_loss": [9.0, 1.5]})"));
  EXPECT_EQ(trial["diagnostics"], Json::object());
}

TEST_F(ReportTest, ACurveThatEndsEarlyShowsItsLastStep) {
  RunConfig base = small_run();
  base.train.steps = 1000;
  const Sweep sweep = begin(rates, base);
  const std::filesystem::path here = prepare(sweep, 0, 0);
  std::ofstream metrics(here / "metrics.jsonl");
  for (std::int64_t step = 1; step <= 333; ++step) metrics << metrics_line(step, 1.0);
  metrics.close();
  record_failure(here, {6, 0});
  const Json json = report(sweep);
  const Json& last = json["configurations"][2]["trials"][0];  // what has failed ranks behind what has not begun
  EXPECT_EQ(last["state"], "failed");
  EXPECT_EQ(last["training"]["step"].back(), 333);
  EXPECT_EQ(last["steps_done"], 333);
}

TEST_F(ReportTest, DiagnosticsAreTakenTogetherByLayerAndKind) {
  RunConfig base = small_run();
  base.diagnostics.every = 5;
  base.diagnostics.representation_every = 10;
  const Sweep sweep = begin(rates, base);
  const std::string numbers =
      R"({"grad_norm": 3, "weight_norm": 2, "update_norm": 0.2, "relative_update": 0.1, "step_row_angle": 0.3, "snr": 0.25})";
  const std::string others =
      R"({"grad_norm": 4, "weight_norm": 0, "update_norm": null, "relative_update": 0.1, "step_row_angle": 0.1})";
  std::ofstream lines(prepare(sweep, 0, 0) / "diagnostics.jsonl");
  for (const char* step : {"1", "5", "10"}) {
    lines << "{\"step\":" << step << ", \"all\": " << numbers << R"(, "layers": {"layer 0": )" << numbers << R"(, "layer 7": )"
          << numbers << R"(}, "tensors": {"h.0.mlp.c_fc.weight": )" << numbers << R"(, "h.1.mlp.c_fc.weight": )" << others
          << R"(, "h.0.ln_1.weight": )" << numbers << R"(, "ln_f.weight": )" << numbers << R"(, "made up": )" << numbers
          << R"(}, "representation": {"a": {"representation_change": 3.0, "batch_representation_change": 0.5}, )"
          << R"("b": {"representation_change": 4.0, "batch_representation_change": 0.5}}})"
          << "\n";
  }
  lines << "{\"step\":15,\"all\":5,\"layers\":[1],\"tensors\":7,\"representation\":\"x\"}\n";  // nothing in it fits
  lines << "{\"step\":20,\"al";
  lines.close();
  const Json all = report(sweep)["configurations"][0]["trials"][0]["diagnostics"];
  EXPECT_EQ(all["all"]["step"], Json({1, 5, 10, 15}));
  EXPECT_EQ(all["all"]["grad_norm"], Json({3.0, 3.0, 3.0, nullptr}));
  EXPECT_EQ(all["all"]["snr"], Json({0.25, 0.25, 0.25, nullptr}));
  EXPECT_EQ(all["layer 0"]["snr"], Json({0.25, 0.25, 0.25}));
  EXPECT_EQ(all["layer 0"]["relative_update"], Json({0.1, 0.1, 0.1}));
  EXPECT_FALSE(all.contains("layer 7"));  // the model has one layer
  EXPECT_EQ(all["MLP in"]["grad_norm"][0], 5.0);
  EXPECT_EQ(all["MLP in"]["weight_norm"][0], 2.0);
  EXPECT_TRUE(all["MLP in"]["update_norm"][0].is_null());
  EXPECT_EQ(all["MLP in"]["step_row_angle"][0], 0.223607);  // sqrt((0.09 + 0.01) / 2) in six digits
  EXPECT_EQ(all["layer norms"]["grad_norm"][0], 4.24264);   // 3 sqrt(2)
  EXPECT_EQ(all["layer norms"]["relative_update"][0], 0.1);
  EXPECT_EQ(all["other"]["grad_norm"][0], 3.0);
  EXPECT_EQ(all["representation"],
            Json::parse(R"({"step": [1, 10], "representation_change": [3.53553, 3.53553],
                            "step_representation_change": [null, null], "batch_representation_change": [0.5, 0.5],
                            "batch_step_representation_change": [null, null]})"));  // 5 / sqrt(2); an older run's
}

TEST_F(ReportTest, CurvesHaveAFewHundredPointsAndFewerOfManyTrials) {
  RunConfig base = small_run();
  base.train.steps = 10'000;
  base.diagnostics.every = 5;
  const auto points = [&](const std::string& seeds) {
    const Sweep sweep = begin(rates + ", \"seeds\": " + seeds, base);
    std::ofstream lines(prepare(sweep, 0, 0) / "diagnostics.jsonl");
    for (int step = 5; step <= 10'000; step += 5)
      lines << "{\"step\":" << step << ",\"all\":{\"grad_norm\":1},\"layers\":{\"layer 0\":{}}}\n";
    lines.close();
    const Json json = report(sweep);
    for (const Json& one : json["configurations"]) {
      const Json& curves = one["trials"][0]["diagnostics"];
      if (!curves.empty()) return std::pair(curves["all"]["step"].size(), curves["layer 0"]["step"].size());
    }
    return std::pair<std::size_t, std::size_t>(0, 0);
  };
  const auto [few, few_of_parts] = points("1");
  EXPECT_GT(few, 250u);
  EXPECT_LE(few, 302u);
  EXPECT_EQ(few_of_parts, few);
  const auto [many, many_of_parts] = points("100");  // 300 trials: 200,000 numbers in 18 curves each, and in 84
  EXPECT_NEAR(static_cast<double>(many), 37, 2);
  EXPECT_NEAR(static_cast<double>(many_of_parts), 20, 2);
}

TEST_F(ReportTest, ARunIsASweepOfOneTrial) {
  RunConfig config = small_run();
  config.data.val = {};
  const std::filesystem::path run = folder_ / "run";
  std::filesystem::create_directories(run);
  std::ofstream(run / "config.json") << config_to_json(config);
  std::ofstream(run / "metrics.jsonl") << metrics_line(10, 4.0) << metrics_line(20, 3.0);
  std::ofstream(run / "summary.json") << R"({"steps": 20})";
  const ReportSource source = open_report(run);
  EXPECT_EQ(run_text(source.sweep, source.plan), "small: finished, 20 of 20 steps, loss 3.0000\n");
  const Json json = Json::parse(report_json(source));
  EXPECT_EQ(json["kind"], "run");
  EXPECT_EQ(json["metric"], "loss");
  EXPECT_EQ(json["configurations"][0]["mean"], 3.0);
  EXPECT_EQ(json["configurations"][0]["trials"][0]["training"]["step"].size(), 2u);
  EXPECT_EQ(json["parameters"], Json::array());
}

TEST_F(ReportTest, TheRankingStandsInColumns) {
  const Sweep sweep = begin(
      R"("parameters": {"kind": {"values": [{"label": "a\u001b[31m long one that no line of a terminal has room for", "optimizer.eps": 1e-7},
                                           {"label": "ümlaut", "optimizer.eps": 1e-6}, {"label": "c", "optimizer.eps": 1e-5}]}}, "seeds": 2)");
  finish(sweep, 0, 0, 3.0);
  finish(sweep, 0, 1, 3.5);
  finish(sweep, 1, 0, 3.2);
  finish(sweep, 1, 1, 3.4);
  EXPECT_EQ(
      RankingTable(sweep, read_plan(sweep)).text(2),
      "rank                                      kind  val_loss      sd  n                behind\n"
      "  1=  a\\x1b[31m long one that n...has room for    3.2500  0.3536  2  lead 0.0500 ± 1.9059  not seen\n"
      "  1=                                    ümlaut    3.3000  0.1414  2      +0.0500 ± 1.9059  not seen\n"
      "... and 1 more in results.md\n"
      "No winner: 2 configurations may be the best. best.json is the first of them. Its lead over the second is 0.0500 ± 1.9059, "
      "not seen.\n"
      "1 comparison of 2 configurations, each with each since the best was chosen after looking; the 95 % intervals are corrected "
      "for that number and hold together (Tukey's studentized range).\n"
      "Noise within seeds: 0.1500, pooled over all configurations (1 degree of freedom). With 2 seeds this sweep could see a "
      "difference of 2.1124 (80 % power at 5 %).\n"
      "Warning: fewer than three seeds: intervals are wide, and one odd trial decides.\n");
}

TEST_F(ReportTest, TwoParametersAreAMapInTheTerminal) {
  const Sweep sweep = begin(
      R"("parameters": {"optimizer.learning_rate": {"values": [0.01, 0.001]}, "optimizer.weight_decay": {"values": [0, 0.1]},
         "optimizer.beta1": {"value": 0.8}})");
  finish(sweep, 0, 0, 3.0);
  finish(sweep, 1, 0, 3.25);
  record_failure(prepare(sweep, 2, 0), {6, 0});
  EXPECT_EQ(sweep_chart(sweep, read_plan(sweep), false),
            "                         optimizer.weight_decay\n"
            "optimizer.learning_rate        0       0.1 \n"
            "                  0.001   failed         - \n"
            "                   0.01   3.0000*   3.2500 \n"
            "* first   ! trials failed\n");
  EXPECT_NE(sweep_chart(sweep, read_plan(sweep), true).find("\033[48;5;185m\033[38;5;16m  3.0000*\033[0m"), std::string::npos);
}

TEST_F(ReportTest, OneParameterIsALinePerValue) {
  for (const bool maximize : {false, true}) {
    const Sweep sweep = begin(rates + R"(, "seeds": 2)" + (maximize ? R"(, "metric": {"goal": "maximize"})" : ""));
    const double sign = maximize ? -1.0 : 1.0;
    finish(sweep, 0, 0, sign * 3.0 - 0.05);
    finish(sweep, 0, 1, sign * 3.0 + 0.05);
    finish(sweep, 1, 0, sign * 4.0);
    finish(sweep, 1, 1, sign * 4.0);
    finish(sweep, 2, 0, sign * 1e6);
    finish(sweep, 2, 1, sign * 1e6);
    const std::string text = sweep_chart(sweep, read_plan(sweep), false);
    const std::string minus = maximize ? "-" : " ";
    EXPECT_NE(text.find("0.01   " + minus + "3.0000 *"), std::string::npos) << text;
    EXPECT_NE(text.find("\u2500\u25cf\u2500"), std::string::npos) << text;  // the spread around the best
    EXPECT_LT(text.find("0.001"), text.find("0.01 ")) << text;
    EXPECT_NE(text.find(minus + "1.00e+06"), std::string::npos) << text;
    EXPECT_EQ(text.find("\033"), std::string::npos);
  }
}

}  // namespace
}  // namespace temper
