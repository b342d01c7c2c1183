// metrics.jsonl: keys, their order, and what a resumed run keeps.
#include "train/metrics.h"

#include <nlohmann/json.hpp>

#include "io/file.h"
#include "tiny_run.h"

namespace temper {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::string> keys(const Json& line) {
  std::vector<std::string> found;
  for (const auto& [key, value] : line.items()) found.push_back(key);
  return found;
}

std::vector<Json> lines(const std::filesystem::path& run, const char* name = "metrics.jsonl") {
  std::vector<Json> found;
  std::ifstream file(run / name);
  for (std::string line; std::getline(file, line);) found.push_back(Json::parse(line));
  return found;
}

StepRecord measured(StepRecord record, double seconds, std::optional<double> val_loss,
                    std::optional<double> tokens_per_second = {}) {
  record.val_loss = val_loss;
  if (val_loss) record.val_tokens = 64;
  record.tokens_per_second = tokens_per_second;
  record.seconds = seconds;
  return record;
}

TEST(Metrics, KeysAndTheirOrder) {
  const TemporaryFolder run;
  Metrics metrics(run.path(), {}, 0, false);
  metrics.write(measured({0, 0, std::nullopt, std::nullopt, 0.0, {}}, 0.0, 5.5));
  metrics.write(measured({1, 32, 5.25, 0.5, 6e-4, {}}, 0.032, {}, 1000.0));
  StepRecord all = measured({2, 64, 5.0, 0.25, 6e-4, {}}, 0.064, 4.75, 2000.0);
  all.hellaswag_items = 10;
  all.hellaswag_acc = 0.3;
  all.hellaswag_acc_norm = 0.2;
  metrics.write(all);

  const std::vector<Json> written = lines(run.path());
  ASSERT_EQ(written.size(), 3u);
  using Keys = std::vector<std::string>;
  EXPECT_EQ(keys(written[0]), (Keys{"step", "tokens", "loss", "val_loss", "val_tokens", "learning_rate", "grad_norm",
                                    "tokens_per_second", "mfu", "seconds"}));
  EXPECT_EQ(keys(written[1]),
            (Keys{"step", "tokens", "loss", "learning_rate", "grad_norm", "tokens_per_second", "mfu", "seconds"}));
  EXPECT_EQ(keys(written[2]), (Keys{"step", "tokens", "loss", "val_loss", "val_tokens", "hellaswag_acc", "hellaswag_acc_norm",
                                    "hellaswag_items", "learning_rate", "grad_norm", "tokens_per_second", "mfu", "seconds"}));
  EXPECT_EQ(
      written[0].dump(),
      R"({"step":0,"tokens":0,"loss":null,"val_loss":5.5,"val_tokens":64,"learning_rate":0.0,"grad_norm":null,"tokens_per_second":null,"mfu":null,)"
      R"("seconds":0.0})");
  EXPECT_EQ(
      written[1].dump(),
      R"({"step":1,"tokens":32,"loss":5.25,"learning_rate":0.0006,"grad_norm":0.5,"tokens_per_second":1000.0,"mfu":null,"seconds":0.032})");
  EXPECT_EQ(written[2]["hellaswag_acc"], 0.3);
  EXPECT_EQ(written[2]["hellaswag_items"], 10);
  EXPECT_EQ(written[2]["hellaswag_acc_norm"], 0.2);
  EXPECT_FALSE(std::filesystem::exists(run / "tensorboard"));
}

TEST(Metrics, AResumedRunKeepsWhatItsCheckpointKnew) {
  const TemporaryFolder run;
  LogBytes known;
  {
    Metrics metrics(run.path(), {}, 0, true);
    metrics.write({1, 32, 5.0, 0.5, 6e-4, {}});
    metrics.sync();
    known = metrics.bytes();
    metrics.write({2, 64, 4.0, 0.5, 6e-4, {}});
  }
  EXPECT_TRUE(std::filesystem::is_directory(run / "tensorboard"));
  Metrics metrics(run.path(), known, 2, false);
  EXPECT_EQ(metrics.bytes().metrics, known.metrics);
  metrics.write({2, 64, 3.0, 0.5, 6e-4, {}});
  const std::vector<Json> written = lines(run.path());
  ASSERT_EQ(written.size(), 2u);
  EXPECT_EQ(written[1]["loss"], 3.0);
}

Diagnosed some_diagnostics() {
  Diagnosed diagnosed;
  UpdateDiagnostics one{};
  one.name = "transformer.h.0.attn.c_attn.weight.q";
  one.weight_norm = 2.0;
  one.step_row_angle = 0.25;
  diagnosed.update = StepDiagnostics{one, {one}, {one}};
  diagnosed.update->all.critical_batch = 12.5;
  diagnosed.update->tensors[0].snr = 0.5;
  diagnosed.representation = {{"transformer.h.0.attn.c_attn.weight.q", 0.3, 0.5, 0.6, std::nullopt, 0.1, 0.2},
                              {"transformer.h.0.mlp.c_fc.weight", 0.4, 0.5, 0.8, std::nullopt, 0.1, 0.2}};
  diagnosed.representation_sequences = 4;
  diagnosed.batch_representation_sequences = 2;
  diagnosed.histograms.plain = {{"transformer.wpe.weight", 0.02, std::nullopt, 0.01, {1, 2}}};
  diagnosed.histograms.preconditioned = {{"transformer.wte.weight", 0.02, 0.5, 0.01, {3, 4}}};
  return diagnosed;
}

TEST(Metrics, DiagnosticsHaveAFileOfTheirOwnAndASummaryInTheLine) {
  const TemporaryFolder run;
  Metrics metrics(run.path(), {}, 0, true);
  EXPECT_FALSE(std::filesystem::exists(run / "diagnostics.jsonl"));
  StepRecord record{1, 32, 5.0, 0.5, 6e-4, summary_of(some_diagnostics())};
  metrics.write_diagnostics(record, some_diagnostics());
  metrics.write(record);

  const Json line = lines(run.path())[0];
  EXPECT_EQ(line["step_row_angle"], 0.25);
  EXPECT_EQ(line["critical_batch"], 12.5);
  EXPECT_FALSE(line.contains("snr"));  // was not measured
  EXPECT_DOUBLE_EQ(line["representation_change"].get<double>(), std::sqrt((0.09 + 0.16) / 2));
  EXPECT_DOUBLE_EQ(line["step_representation_change"].get<double>(), 0.5);
  EXPECT_DOUBLE_EQ(line["batch_representation_change"].get<double>(), std::sqrt((0.36 + 0.64) / 2));
  EXPECT_FALSE(line.contains("batch_step_representation_change"));
  EXPECT_FALSE(line.contains("relative_step"));
  const std::vector<Json> written = lines(run.path(), "diagnostics.jsonl");
  ASSERT_EQ(written.size(), 1u);
  EXPECT_EQ(keys(written[0]), (std::vector<std::string>{"step", "learning_rate", "all", "layers", "tensors",
                                                        "representation_sequences", "batch_representation_sequences",
                                                        "representation", "histograms", "preconditioned_histograms"}));
  EXPECT_EQ(written[0]["tensors"]["h.0.attn.c_attn.weight.q"]["weight_norm"], 2.0);
  EXPECT_EQ(written[0]["tensors"]["h.0.attn.c_attn.weight.q"]["snr"], 0.5);
  EXPECT_EQ(written[0]["all"]["snr"], nullptr);
  EXPECT_EQ(written[0]["representation_sequences"], 4);
  EXPECT_EQ(written[0]["batch_representation_sequences"], 2);
  EXPECT_EQ(written[0]["representation"]["h.0.attn.c_attn.weight.q"]["batch_representation_change"], 0.6);
  EXPECT_EQ(written[0]["representation"]["h.0.attn.c_attn.weight.q"]["batch_step_representation_change"], nullptr);
  EXPECT_EQ(written[0]["representation"]["h.0.attn.c_attn.weight.q"]["relative_step"], 0.2);
  EXPECT_EQ(written[0]["representation"]["h.0.mlp.c_fc.weight"]["representation_change"], 0.4);
  EXPECT_EQ(written[0]["histograms"]["wpe.weight"]["counts"], (std::vector<int>{1, 2}));
  EXPECT_EQ(written[0]["preconditioned_histograms"]["wte.weight"]["prior_deviation"], 0.5);
}

TEST(Metrics, AResumedRunCutsItsDiagnosticsToo) {
  const TemporaryFolder run;
  LogBytes known;
  {
    Metrics metrics(run.path(), {}, 0, false);
    metrics.write_diagnostics({1, 32, 5.0, 0.5, 6e-4, {}}, some_diagnostics());
    metrics.sync();
    known = metrics.bytes();
    metrics.write_diagnostics({2, 64, 5.0, 0.5, 6e-4, {}}, some_diagnostics());
  }
  { const Metrics metrics(run.path(), known, 2, false); }
  EXPECT_EQ(lines(run.path(), "diagnostics.jsonl").size(), 1u);
  { const Metrics metrics(run.path(), {}, 0, false); }
  EXPECT_TRUE(lines(run.path(), "diagnostics.jsonl").empty());
}

TEST(Metrics, DocsListEveryMeasurementAsTheTablesHaveIt) {
  const std::string page = read_file(std::filesystem::path(TEMPER_SOURCE_DIR) / "docs/diagnostics.md");
  const auto expect_row = [&](const std::string& name, const std::string& meaning) {
    const std::string row = "\n| `" + name + "` | " + meaning + " |\n";
    EXPECT_NE(page.find(row), std::string::npos) << "docs/diagnostics.md lacks the row" << row;
  };
  for_each_metric([&](const char* name, auto, Absent, const char* meaning) { expect_row(name, meaning); });
  const std::string summary = page.substr(page.find("Measured steps have in addition"), 400);
  const auto expect_rows = [&](const auto& table) {
    for (const auto& one : table) {
      expect_row(one.name, one.meaning);
      EXPECT_EQ(summary.find("`" + std::string(one.name) + "`") != std::string::npos, one.in_summary) << one.name;
    }
  };
  expect_rows(update_measurements);
  expect_rows(noise_measurements);
  expect_rows(representation_measurements);
}

TEST(Metrics, CurvesPassOverLinesTheyCannotRead) {
  const TemporaryFolder run;
  std::ofstream(run / "metrics.jsonl") << R"({"step":0,"loss":null,"val_loss":5.5}
not json
[1]
{"loss":1.0}
{"step":"two","loss":1.0}
{"step":1,"loss":5.0}
{"step":2,"loss":4.0,"val_loss":"x"}
{"step":3,"lo)";
  const std::vector<ChartSeries> curves = read_loss_curves(run / "metrics.jsonl");
  ASSERT_EQ(curves.size(), 2u);
  using Points = std::vector<std::pair<double, double>>;
  EXPECT_EQ(curves[0].points, (Points{{1, 5.0}, {2, 4.0}}));
  EXPECT_EQ(curves[1].points, (Points{{0, 5.5}}));
  EXPECT_TRUE(read_loss_curves(run / "nothing")[0].points.empty());
}

}  // namespace
}  // namespace temper
