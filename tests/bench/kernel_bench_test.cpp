#include "bench/kernel_bench.h"

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "bench/step_bench.h"
#include "io/error.h"

namespace temper {
namespace {

// A tiny model and as little measuring as there can be: what is tested is what comes out, not how long it took.
KernelBenchSettings tiny() {
  KernelBenchSettings settings;
  settings.model = "tiny";
  settings.dimensions = {.batch = 2, .length = 8, .n_embd = 32, .n_head = 2, .vocab_size = 100, .n_ctx = 16, .layers = 1};
  settings.repetitions = 3;
  settings.min_seconds = 0.0;
  settings.warm_cache = true;
  settings.ceilings = {.copy_bytes = 1 << 20, .matmul_extent = 64};
  return settings;
}

TEST(ChooseCases, GivesAllOrThoseAskedFor) {
  const Dimensions dimensions = tiny().dimensions;
  EXPECT_EQ(choose_cases(dimensions, {}).size(), all_cases(Size::benchmark, dimensions).size());
  const std::vector<OpCase> chosen = choose_cases(dimensions, {"sum", "attention_forward"});
  ASSERT_EQ(chosen.size(), 2u);
  EXPECT_EQ(chosen[0].op, "attention_forward");
  EXPECT_EQ(chosen[1].op, "sum");
}

TEST(ChooseCases, NamesTheNearestOfAnUnknownOne) {
  const std::pair<const char*, const char*> wrong[] = {
      {"linear_fwd", "--op linear_fwd: no such operation; did you mean linear_forward?"},
      {"atention_backward", "did you mean attention_backward?"},
      {"layernorm", "did you mean layernorm_forward or layernorm_backward?"},
      {"", "There are: "},
  };
  for (const auto& [name, expected] : wrong) {
    try {
      choose_cases(tiny().dimensions, {"sum", name});
      ADD_FAILURE() << "taken: " << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::usage);
      EXPECT_NE(std::string(error.what()).find(expected), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("embedding_forward"), std::string::npos) << error.what();
    }
  }
}

TEST(DimensionsOf, FollowsTheModel) {
  const Dimensions dimensions = dimensions_of(named_model("350m", 512), 3, 512);
  EXPECT_EQ(dimensions.rows(), 3 * 512);
  EXPECT_EQ(dimensions.n_embd, 1024);
  EXPECT_EQ(dimensions.n_head, 16);
  EXPECT_EQ(dimensions.layers, 24);
  EXPECT_EQ(dimensions.n_ctx, 512);
  EXPECT_THROW(named_model("125m", 512), Error);
}

TEST(BenchKernels, MeasuresEveryOperation) {
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    KernelBenchSettings settings = tiny();
    settings.precision = precision;
    std::vector<std::string> heard;
    const KernelBenchResult result = bench_kernels(settings, *ops, [&](const std::string& name, double share, const auto& so_far) {
      // What is on disk should the next case never end: all cases before it, each with its floor.
      EXPECT_FALSE(so_far.complete);
      if (share > 0.0) {
        EXPECT_EQ(so_far.kernels.size(), heard.size() - 1);
        EXPECT_FALSE(parse_report(to_json(so_far, "abc-dirty"), "so far").benchmarks.empty());
        for (const KernelResult& each : so_far.kernels) EXPECT_GT(each.floor_seconds, 0.0) << each.op;
      }
      heard.push_back(name);
      EXPECT_GE(share, 0.0);
      EXPECT_LT(share, 1.0);
    });
    EXPECT_TRUE(result.complete);
    const std::vector<OpCase> cases = choose_cases(settings.dimensions, {});
    ASSERT_EQ(result.kernels.size(), cases.size());
    EXPECT_EQ(heard.size(), cases.size() + 2);
    EXPECT_EQ(result.copy.bytes, 2.0 * (1 << 20));
    EXPECT_EQ(result.matmul.flops, 2.0 * 64 * 64 * 64);
    EXPECT_EQ(result.copy.measurement.samples.size(), 6u);  // before and after the cases
    EXPECT_DOUBLE_EQ(result.bytes_per_second, result.copy.bytes / result.copy.measurement.percentile(0.0));
    EXPECT_DOUBLE_EQ(result.flops_per_second, result.matmul.flops / result.matmul.measurement.percentile(0.0));
    for (std::size_t i = 0; i < cases.size(); ++i) {
      const KernelResult& kernel = result.kernels[i];
      EXPECT_EQ(kernel.op, cases[i].op);
      EXPECT_EQ(kernel.bytes, cases[i].bytes(precision == Precision::bf16 ? DType::bf16 : DType::f32));
      EXPECT_GT(kernel.bytes, 0.0) << kernel.op;
      ASSERT_EQ(kernel.measurement.samples.size(), 3u) << kernel.op;
      EXPECT_GT(kernel.measurement.percentile(0.0), 0.0) << kernel.op;
      EXPECT_DOUBLE_EQ(kernel.floor_seconds,
                       std::max(kernel.bytes / result.bytes_per_second, kernel.flops / result.flops_per_second));
    }
  }
}

TEST(BenchKernels, JsonIsReadBackWithItsFloors) {
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  KernelBenchSettings settings = tiny();
  settings.ops = {"layernorm_forward"};
  const KernelBenchResult result = bench_kernels(settings, *ops);
  const std::string text = to_json(result, "abc-dirty");
  const SavedReport saved = parse_report(text, "kernels.json");
  ASSERT_EQ(saved.benchmarks.size(), 3u);
  EXPECT_EQ(saved.benchmarks[0].name, "ceiling/copy/N=262144");
  EXPECT_EQ(saved.benchmarks[1].name, "ceiling/linear_forward/R=N=K=64/fp32");
  EXPECT_EQ(saved.benchmarks[2].name, "layernorm_forward/R=16 C=32/fp32");
  EXPECT_EQ(saved.benchmarks[2].seconds.size(), 3u);

  const nlohmann::json json = nlohmann::json::parse(text);
  EXPECT_EQ(json["context"]["precision"], "fp32");
  EXPECT_EQ(json["context"]["commit"], "abc-dirty");
  EXPECT_EQ(json["context"]["copy_bytes_per_second"], result.bytes_per_second);
  const nlohmann::json& last = json["benchmarks"].back();
  const KernelResult& kernel = result.kernels.back();
  const double seconds = kernel.measurement.samples[2].seconds;
  EXPECT_DOUBLE_EQ(last["bytes_per_second"], kernel.bytes / seconds);
  EXPECT_DOUBLE_EQ(last["flops_per_second"], kernel.flops / seconds);
  EXPECT_DOUBLE_EQ(last["share_of_floor"], kernel.floor_seconds / seconds);
}

KernelBenchResult made_up() {
  KernelBenchResult result;
  result.settings = tiny();
  result.settings.warm_cache = false;
  result.device.backend = "cpu";
  result.device.threads = 2;
  result.bytes_per_second = 1e9;
  result.flops_per_second = 1e9;
  for (KernelResult* each : {&result.copy, &result.matmul}) each->measurement.samples = {{1.0, 1.0}};
  KernelResult kernel;
  kernel.op = "sum";
  kernel.shape = "N=16";
  kernel.bytes = 2e6;
  kernel.flops = 1e6;
  kernel.floor_seconds = 2e-3;
  kernel.measurement.samples = {{4e-3, 4e-3}, {5e-3, 5e-3}, {3e-3, 3e-3}};
  result.kernels = {kernel};
  return result;
}

TEST(KernelTable, HasTheFloorAndItsShare) {
  const std::string text = to_text(made_up());
  EXPECT_NE(text.find("sum        N=16   4.00 ms  3.00 ms  5.00 ms  0.50     0.25  2.00 ms     50.0%\n"), std::string::npos)
      << text;
  EXPECT_EQ(text.find("above 100%"), std::string::npos) << text;
  EXPECT_EQ(text.find("too small"), std::string::npos) << text;
  EXPECT_EQ(text.find("other work"), std::string::npos) << text;
}

TEST(KernelTable, MarksWhatCannotBeTrusted) {
  KernelBenchResult result = made_up();
  result.kernels[0].floor_seconds = 8e-3;
  result.kernels[0].warm = true;
  result.load_average = 3.0;
  result.skipped = {"a case: too large"};
  const std::string text = to_text(result);
  EXPECT_NE(text.find("200%    !w\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n!: above 100%"), std::string::npos) << text;
  EXPECT_NE(text.find("\nw: too small"), std::string::npos) << text;
  EXPECT_NE(text.find("load average was 3.00 on 2 threads"), std::string::npos) << text;
  EXPECT_NE(text.find("skipped: a case"), std::string::npos) << text;
}

TEST(BenchKernels, LeavesOutWhatDoesNotFit) {
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  KernelBenchSettings settings = tiny();
  settings.ops = {"sum", "zero"};
  settings.dimensions.n_embd = std::int64_t{1} << 40;  // zero is of the size of the token embedding
  const KernelBenchResult result = bench_kernels(settings, *ops);
  ASSERT_EQ(result.kernels.size(), 1u);
  EXPECT_EQ(result.kernels[0].op, "sum");
  ASSERT_EQ(result.skipped.size(), 1u);
  EXPECT_EQ(result.skipped[0].rfind("zero N=", 0), 0u) << result.skipped[0];
}

TEST(StepReport, HasTheStepsAndTheirPercentiles) {
  StepBenchResult result;
  result.measurement.name = "step/124m/fp32/B4/T256";
  result.measurement.samples = {{0.2, 0.4}, {0.1, 0.2}, {0.3, 0.6}};
  result.measurement.rates = {{"tokens_per_second", 1024.0}};
  result.measurement.counts = {{"peak_rss_bytes", 5}};
  const std::string text = to_json(result, "abc-dirty");
  const nlohmann::json median = nlohmann::json::parse(text)["benchmarks"][0];  // scripts/compare/compare_step.py reads this one
  EXPECT_DOUBLE_EQ(median["step_seconds"]["median"], 0.2);
  EXPECT_DOUBLE_EQ(median["step_seconds"]["p10"], 0.1);
  EXPECT_DOUBLE_EQ(median["step_seconds"]["p90"], 0.3);
  EXPECT_DOUBLE_EQ(median["tokens_per_second"], 5120.0);
  EXPECT_EQ(median["peak_rss_bytes"], 5);
  EXPECT_EQ(parse_report(text, "step.json").benchmarks[0].seconds.size(), 3u);
}

}  // namespace
}  // namespace temper
