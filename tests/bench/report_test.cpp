#include "bench/report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "io/error.h"

namespace temper {
namespace {

Measurement example() {
  Measurement measurement;
  measurement.name = "layernorm_forward/R=4 C=8/fp32";
  measurement.iterations = 7;
  measurement.samples = {{3e-6, 6e-6}, {1e-6, 2e-6}, {2e-6, 4e-6}};
  measurement.rates = {{"bytes_per_second", 600.0}};
  measurement.shares = {{"share_of_floor", 5e-7}};
  measurement.counts = {{"planned_bytes", 12345}};
  return measurement;
}

DeviceInfo example_device() {
  DeviceInfo device;
  device.name = "a processor";
  device.features = "its features";
  device.threads = 2;
  return device;
}

nlohmann::ordered_json example_report() {
  nlohmann::ordered_json report = benchmark_report(example_device(), "abc-dirty");
  add_benchmark(report, example());
  return report;
}

TEST(Percentile, IsTheNearestValueOfUnsortedOnes) {
  const std::vector<double> values = {9, 1, 5, 3, 7, 2, 8, 4, 6, 10, 11};
  EXPECT_EQ(percentile(values, 0.0), 1);
  EXPECT_EQ(percentile(values, 0.1), 2);
  EXPECT_EQ(percentile(values, 0.5), 6);
  EXPECT_EQ(percentile(values, 0.9), 10);
  EXPECT_EQ(percentile(values, 1.0), 11);
  EXPECT_EQ(percentile({4}, 0.9), 4);
}

// What Google Benchmark's tools/compare.py reads of each entry: name, run_type, aggregate_name, real_time, cpu_time, time_unit.
TEST(Report, HasGoogleBenchmarksForm) {
  const nlohmann::ordered_json report = example_report();
  EXPECT_EQ(report["context"]["device"], "a processor, its features");
  EXPECT_EQ(report["context"]["num_cpus"], 2);
  ASSERT_TRUE(report["context"]["load_avg"].is_array());
  ASSERT_EQ(report["benchmarks"].size(), 6u);  // median, p10, p90, three repetitions
  const auto& median = report["benchmarks"][0];
  EXPECT_EQ(median["name"], "layernorm_forward/R=4 C=8/fp32_median");
  EXPECT_EQ(median["run_name"], "layernorm_forward/R=4 C=8/fp32");
  EXPECT_EQ(median["run_type"], "aggregate");
  EXPECT_EQ(median["aggregate_name"], "median");
  EXPECT_EQ(median["repetitions"], 3);
  EXPECT_DOUBLE_EQ(median["real_time"], 2.0);
  EXPECT_DOUBLE_EQ(median["cpu_time"], 4.0);
  EXPECT_EQ(median["time_unit"], "us");
  EXPECT_DOUBLE_EQ(median["bytes_per_second"], 3e8);
  EXPECT_DOUBLE_EQ(median["share_of_floor"], 0.25);
  EXPECT_EQ(median["planned_bytes"], 12345);
  EXPECT_EQ(report["benchmarks"][1]["aggregate_name"], "p10");
  EXPECT_DOUBLE_EQ(report["benchmarks"][1]["real_time"], 1.0);
  EXPECT_EQ(report["benchmarks"][2]["aggregate_name"], "p90");
  EXPECT_DOUBLE_EQ(report["benchmarks"][2]["real_time"], 3.0);
  const auto& second = report["benchmarks"][4];
  EXPECT_EQ(second["name"], "layernorm_forward/R=4 C=8/fp32");
  EXPECT_EQ(second["run_type"], "iteration");
  EXPECT_EQ(second["repetition_index"], 1);
  EXPECT_EQ(second["iterations"], 7);
  EXPECT_DOUBLE_EQ(second["real_time"], 1.0);
  EXPECT_DOUBLE_EQ(second["bytes_per_second"], 6e8);
}

TEST(Report, IsReadBack) {
  const SavedReport saved = parse_report(example_report().dump(), "a.json");
  EXPECT_EQ(saved.device, "a processor, its features");
  ASSERT_EQ(saved.benchmarks.size(), 1u);
  EXPECT_EQ(saved.benchmarks[0].name, "layernorm_forward/R=4 C=8/fp32");
  ASSERT_EQ(saved.benchmarks[0].seconds.size(), 3u);
  EXPECT_DOUBLE_EQ(saved.benchmarks[0].seconds[0], 3e-6);
  EXPECT_DOUBLE_EQ(saved.benchmarks[0].seconds[1], 1e-6);
}

TEST(Report, OfGoogleBenchmarkIsReadInItsUnits) {
  const SavedReport saved = parse_report(R"({"context": {"host_name": "x"}, "benchmarks": [
      {"name": "BM_a", "run_name": "BM_a", "run_type": "iteration", "real_time": 2.5e3, "cpu_time": 2, "time_unit": "ns"},
      {"name": "BM_a", "run_name": "BM_a", "run_type": "iteration", "error_occurred": true},
      {"name": "BM_a_median", "run_name": "BM_a", "run_type": "aggregate", "aggregate_name": "median", "real_time": 9, "time_unit": "s"},
      {"name": "BM_b_mean", "run_name": "BM_b", "run_type": "aggregate", "aggregate_name": "mean", "real_time": 9, "time_unit": "s"},
      {"name": "BM_b_median", "run_name": "BM_b", "run_type": "aggregate", "aggregate_name": "median", "real_time": 4, "time_unit": "ms"},
      {"name": "plain", "real_time": 1, "time_unit": "s"}]})",
                                         "foreign.json");
  EXPECT_EQ(saved.device, "");
  ASSERT_EQ(saved.benchmarks.size(), 3u);
  EXPECT_EQ(saved.benchmarks[0].name, "BM_a");
  EXPECT_EQ(saved.benchmarks[0].seconds, std::vector<double>({2.5e-6}));  // not its median beside it
  EXPECT_EQ(saved.benchmarks[1].name, "plain");
  EXPECT_EQ(saved.benchmarks[2].name, "BM_b");  // aggregates alone: the median
  EXPECT_EQ(saved.benchmarks[2].seconds, std::vector<double>({4e-3}));
}

TEST(Report, ThatIsNoneIsRefusedByName) {
  const char* wrong[] = {
      "",
      "{",
      "[]",
      "3",
      R"({"benchmarks": 3})",
      R"({"benchmarks": []})",
      R"({"benchmarks": [3]})",
      R"({"benchmarks": [{"real_time": 1, "time_unit": "s"}]})",
      R"({"benchmarks": [{"name": 1, "real_time": 1, "time_unit": "s"}]})",
      R"({"benchmarks": [{"name": "a", "time_unit": "s"}]})",
      R"({"benchmarks": [{"name": "a", "real_time": "1", "time_unit": "s"}]})",
      R"({"benchmarks": [{"name": "a", "real_time": 0, "time_unit": "s"}]})",
      R"({"benchmarks": [{"name": "a", "real_time": -1, "time_unit": "s"}]})",
      R"({"benchmarks": [{"name": "a", "real_time": 1, "time_unit": "h"}]})",
      R"({"benchmarks": [{"name": "a", "real_time": 1}]})",
  };
  for (const char* text : wrong) {
    try {
      parse_report(text, "some.json");
      ADD_FAILURE() << "taken: " << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::data) << text;
      EXPECT_NE(std::string(error.what()).find("some.json:"), std::string::npos) << error.what();
    }
  }
}

TEST(FormatTime, HasThreeDigitsAndAUnit) {
  EXPECT_EQ(format_time(12.34e-9), "12.3 ns");
  EXPECT_EQ(format_time(1.234e-6), "1.23 us");
  EXPECT_EQ(format_time(123.4e-6), "123 us");
  EXPECT_EQ(format_time(0.9996e-3), "1000 us");
  EXPECT_EQ(format_time(45.67e-3), "45.7 ms");
  EXPECT_EQ(format_time(2.0), "2.00 s");
}

}  // namespace
}  // namespace temper
