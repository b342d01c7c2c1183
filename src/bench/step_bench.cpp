#include "bench/step_bench.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <deque>

#include "io/error.h"
#include "io/json.h"
#include "io/text.h"
#include "kernels/philox.h"
#include "train/engine.h"

namespace temper {

namespace {

void fill_random(Batch& batch, std::int64_t count, std::int64_t vocab_size, std::uint32_t step) {
  batch.inputs.resize(static_cast<std::size_t>(count));
  batch.targets.resize(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < batch.inputs.size(); ++i) {
    const PhiloxBlock block = random_block(1, RandomPurpose::benchmark, step, i);
    batch.inputs[i] = static_cast<std::int32_t>(block.word[0] % static_cast<std::uint32_t>(vocab_size));
    batch.targets[i] = static_cast<std::int32_t>(block.word[1] % static_cast<std::uint32_t>(vocab_size));
  }
}

}  // namespace

namespace {

struct NamedModel {
  const char* name;
  std::int64_t n_layer, n_head, n_embd, vocab_size;
};
constexpr std::int64_t gpt2_vocabulary = 50257, small_vocabulary = 2048;
constexpr NamedModel named_models[] = {
    {"124m", 12, 12, 768, gpt2_vocabulary},   {"350m", 24, 16, 1024, gpt2_vocabulary}, {"774m", 36, 20, 1280, gpt2_vocabulary},
    {"1558m", 48, 25, 1600, gpt2_vocabulary}, {"11m", 6, 6, 384, small_vocabulary},    {"4m", 4, 4, 256, small_vocabulary},
    {"1m", 4, 4, 128, small_vocabulary},      {"0.2m", 2, 2, 64, small_vocabulary},    {"tiny", 2, 2, 32, gpt2_vocabulary}};

}  // namespace

std::string named_models_text() {
  std::string text;
  for (const NamedModel& known : named_models) text += fmt::format("{}{}", text.empty() ? "" : ", ", known.name);
  return text;
}

ModelConfig named_model(const std::string& name, std::int64_t context) {
  for (const NamedModel& known : named_models) {
    if (name != known.name) continue;
    ModelConfig config;
    config.n_layer = known.n_layer;
    config.n_head = known.n_head;
    config.n_embd = known.n_embd;
    config.n_ctx = context;
    config.vocab_size = known.vocab_size;
    return config;
  }
  throw Error(ExitCode::usage, "--model " + name + ": expected one of " + named_models_text());
}

StepBenchResult bench_step(const StepBenchSettings& settings, Ops& ops) {
  RunConfig config;
  config.model = named_model(settings.model, settings.context);
  config.precision = settings.precision;
  config.batch.micro_batch = settings.batch;
  config.batch.tokens_per_step = settings.batch * settings.context;
  config.train.steps = settings.warmup + settings.steps;
  config.optimizer.learning_rate = 1e-4;

  Engine engine(config, &ops);
  engine.weights.initialize(config.seed);
  Batch batch;
  StepBenchResult result;
  result.settings = settings;
  result.device = ops.device();
  Measurement& measurement = result.measurement;
  measurement.name =
      fmt::format("step/{}/{}/B{}/T{}", settings.model, name_of(settings.precision), settings.batch, settings.context);
  // As in training, an asynchronous device always has the next step queued; a sample is the time from one step's end to the next's.
  const std::size_t ahead = result.device.asynchronous ? 1 : 0;
  std::deque<std::uint64_t> started;
  Stopwatch watch;
  std::int64_t finished = 0;
  for (std::int64_t step = 0; finished < settings.warmup + settings.steps; ++step) {
    if (step < settings.warmup + settings.steps) {
      fill_random(batch, config.batch.tokens_per_step, config.model.vocab_size, static_cast<std::uint32_t>(step));
      if (started.empty()) watch = Stopwatch();
      started.push_back(
          engine.start_step(step, 1, [&](std::int64_t) { engine.batch.upload(batch, settings.batch, settings.context); }));
      if (started.size() <= ahead) continue;
    }
    const StepScalars scalars = engine.finish_step(started.front());
    started.pop_front();
    const Sample sample = watch.elapsed();
    watch = Stopwatch();
    if (scalars.finite == 0) throw Error(ExitCode::numeric, "bench step: the loss is not finite");
    if (finished++ >= settings.warmup) measurement.samples.push_back(sample);
  }
  const auto tokens = static_cast<double>(config.batch.tokens_per_step);
  const double flops = tokens * training_flops_per_token(config.model, settings.context);
  measurement.rates = {{"tokens_per_second", tokens}, {"flops_per_second", flops}};
  result.tokens_per_second = tokens / measurement.percentile(0.5);
  result.flops_per_second = flops / measurement.percentile(0.5);
  result.planned_bytes = engine.memory.total_bytes();
  rusage usage = {};
  if (getrusage(RUSAGE_SELF, &usage) == 0) result.peak_rss_bytes = static_cast<std::size_t>(usage.ru_maxrss) * 1024;
  measurement.counts = {{"planned_bytes", static_cast<std::int64_t>(result.planned_bytes)},
                        {"peak_rss_bytes", static_cast<std::int64_t>(result.peak_rss_bytes)}};
  return result;
}

std::string to_text(const StepBenchResult& result) {
  return fmt::format(
      "GPT-2 {}, {}, B={}, T={}: {:.1f} ms a step (p10 {:.1f}, p90 {:.1f}, {} steps), {:.0f} tokens/s, {:.1f} GFLOP/s, memory "
      "planned {}, peak {}\n",
      result.settings.model, name_of(result.settings.precision), result.settings.batch, result.settings.context,
      1e3 * result.measurement.percentile(0.5), 1e3 * result.measurement.percentile(0.1), 1e3 * result.measurement.percentile(0.9),
      result.measurement.samples.size(), result.tokens_per_second, result.flops_per_second / 1e9,
      format_bytes(result.planned_bytes), format_bytes(result.peak_rss_bytes));
}

std::string to_json(const StepBenchResult& result, const std::string& commit) {
  nlohmann::ordered_json report = benchmark_report(result.device, commit);
  add_benchmark(report, result.measurement);
  report["benchmarks"][0]["step_seconds"] = {{"median", result.measurement.percentile(0.5)},
                                             {"p10", result.measurement.percentile(0.1)},
                                             {"p90", result.measurement.percentile(0.9)}};
  return json_text(report, 2) + "\n";
}

}  // namespace temper
