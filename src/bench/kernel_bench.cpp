#include "bench/kernel_bench.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "config/suggest.h"
#include "io/error.h"
#include "io/json.h"
#include "io/text.h"
#include "io/text_table.h"

namespace temper {

namespace {

constexpr std::size_t largest_gpu_cache = std::size_t{128} << 20;  // no GPU has more L2 than this
constexpr std::size_t least_copy = std::size_t{256} << 20;         // for the ceiling, where caches are smaller
constexpr std::size_t usual_cpu_cache = std::size_t{32} << 20;     // where the system does not say

std::size_t last_level_cache(const DeviceInfo& device) {
  if (device.backend != "cpu") return largest_gpu_cache;
  const long bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
  return bytes > 0 ? static_cast<std::size_t>(bytes) : usual_cpu_cache;
}

DType activation_of(Precision precision) { return precision == Precision::bf16 ? DType::bf16 : DType::f32; }

// The ceilings are cases like the others. They have no reference: the tests of these two operations are elsewhere.
OpCase copy_ceiling(std::int64_t bytes) {
  const std::int64_t count = bytes / static_cast<std::int64_t>(sizeof(float));
  OpCase c;
  c.op = "copy";
  c.shape = fmt::format("N={}", count);
  c.tensors = {input("from", Content::f32, {count}, normal(0, 1)), output("to", Content::f32, {count})};
  c.run = [](Ops& ops, const Views& v) { ops.copy(v["to"].data, v["from"].data, v["from"].bytes()); };
  return c;
}

OpCase matmul_ceiling(std::int64_t n) {
  OpCase c;
  c.op = "linear_forward";
  c.shape = fmt::format("R=N=K={}", n);
  c.tensors = {input("x", Content::activation, {n, n}, normal(0, 1)),
               input("weight", Content::activation, {n, n}, normal(0, 1.0 / std::sqrt(static_cast<double>(n)))),
               output("y", Content::activation, {n, n})};
  c.flops = 2.0 * std::pow(static_cast<double>(n), 3);
  c.prepare = [](Ops& ops, const Views& v) { ops.register_weight(v["weight"]); };
  c.run = [](Ops& ops, const Views& v) { ops.linear_forward({.x = v["x"], .weight = v["weight"], .y = v["y"]}); };
  return c;
}

Sample time_runs(Ops& ops, RotatingCase& rotating, std::int64_t count) {
  ops.synchronize();
  const Stopwatch watch;
  rotating.run(count);
  ops.synchronize();
  const Sample mean = watch.elapsed(count);
  rotating.restore();
  return mean;
}

// How many runs it takes to fill `seconds`.
std::int64_t calibrate(Ops& ops, RotatingCase& rotating, double seconds) {
  std::int64_t count = 1;
  while (true) {
    const auto runs = static_cast<double>(count);
    const double taken = time_runs(ops, rotating, count).seconds * runs;
    if (taken >= seconds || count >= rotating.most_runs()) return count;
    const double wanted = std::clamp(std::ceil(runs * seconds / std::max(taken, 1e-9)), runs + 1.0, 10.0 * runs);
    count = std::min(rotating.most_runs(), static_cast<std::int64_t>(wanted));
  }
}

std::vector<std::string> op_names(const std::vector<OpCase>& cases) {
  std::vector<std::string> names;
  for (const OpCase& each : cases)
    if (std::find(names.begin(), names.end(), each.op) == names.end()) names.push_back(each.op);
  return names;
}

// Names that contain what was asked for; where there is none, those with the fewest edits.
std::vector<std::string> nearest(const std::string& unknown, const std::vector<std::string>& names) {
  constexpr std::size_t most = 4, longest = 100;
  std::vector<std::string> near;
  for (const std::string& each : names)
    if (!unknown.empty() && each.find(unknown) != std::string::npos) near.push_back(each);
  const auto distance = [&](const std::string& each) { return edit_distance(unknown, each); };
  if (near.empty() && unknown.size() <= longest) near.push_back(*std::ranges::min_element(names, {}, distance));
  near.resize(std::min(near.size(), most));
  return near;
}

// Adds the repetitions of another measurement of the same thing.
void append(KernelResult& all, KernelResult more) {
  std::vector<Sample> samples = std::move(all.measurement.samples);
  samples.insert(samples.end(), more.measurement.samples.begin(), more.measurement.samples.end());
  all = std::move(more);
  all.measurement.samples = std::move(samples);
}

// Before the cases and after them: other work on the machine, or its clock, may slow down one of the two.
void measure_ceilings(KernelBenchResult& result, Ops& ops) {
  const CeilingSizes& sizes = result.settings.ceilings;
  const std::size_t beyond_caches = std::max(least_copy, last_level_cache(result.device));
  const std::int64_t copied = sizes.copy_bytes > 0 ? sizes.copy_bytes : static_cast<std::int64_t>(beyond_caches);
  append(result.copy, bench_case(ops, copy_ceiling(copied), result.settings, {}));
  const std::int64_t filling = result.device.backend == "cuda" ? 8192 : 2048;
  const std::int64_t extent = sizes.matmul_extent > 0 ? sizes.matmul_extent : filling;
  append(result.matmul, bench_case(ops, matmul_ceiling(extent), result.settings, result.rotation));
  for (KernelResult* each : {&result.copy, &result.matmul}) each->measurement.name = ceiling_prefix + each->measurement.name;
  result.bytes_per_second = result.copy.bytes / result.copy.measurement.percentile(0.0);
  result.flops_per_second = result.matmul.flops / result.matmul.measurement.percentile(0.0);
}

void add_floor(KernelResult& kernel, const KernelBenchResult& result) {
  kernel.floor_seconds = std::max(kernel.bytes / result.bytes_per_second, kernel.flops / result.flops_per_second);
  kernel.measurement.shares = {{"share_of_floor", kernel.floor_seconds}};
}

// Empty when there is room for the case, what restores its activations and further copies.
std::string too_large(const OpCase& op_case, const KernelBenchSettings& settings, const DeviceInfo& device) {
  const double bytes = tensor_bytes(op_case, activation_of(settings.precision));
  if (3.0 * bytes <= static_cast<double>(device.memory)) return "";
  return fmt::format("{} takes {}, more than a third of the device's {}", op_case.name(),
                     format_bytes(static_cast<std::size_t>(bytes)), format_bytes(device.memory));
}

std::string digits(double value) { return fmt::format("{:.{}f}", value, value < 9.95 ? 2 : value < 99.5 ? 1 : 0); }

std::string ceiling_line(const char* what, double rate, const char* unit, const KernelResult& kernel) {
  return fmt::format("{}{} {}   {} {}, fastest of {}, median {}\n", what, digits(rate / 1e9), unit, kernel.op, kernel.shape,
                     kernel.measurement.samples.size(), format_time(kernel.measurement.percentile(0.5)));
}

}  // namespace

double touched_bytes(const OpCase& op_case, DType activation) {
  OpCase once = op_case;
  for (TensorSpec& spec : once.tensors) spec.role = Role::input;
  return once.bytes(activation);
}

double tensor_bytes(const OpCase& op_case, DType activation) {
  OpCase all = op_case;
  for (TensorSpec& spec : all.tensors) spec.touched = -1;
  return touched_bytes(all, activation);
}

RotatingCase::RotatingCase(Ops& ops, const OpCase& op_case, DType activation, std::size_t cold_bytes, std::size_t most_bytes)
    : ops_(ops), case_(op_case), first_(ops, op_case, activation), memory_(&ops) {
  const double wanted = std::ceil(static_cast<double>(cold_bytes) / std::max(touched_bytes(case_, activation), 1.0));
  const double possible = 1.0 + std::floor(static_cast<double>(most_bytes) / std::max(tensor_bytes(case_, activation), 1.0));
  constexpr double most_copies = 4096;  // what takes more is so small that its caches stay warm in training as well
  const auto count = static_cast<std::size_t>(std::max(1.0, std::min({wanted, possible, most_copies})));

  copies_.push_back(first_.views());
  while (copies_.size() < count) {
    Views views;
    for (const TensorSpec& spec : case_.tensors) {
      const TensorView from = first_.views()[spec.name];
      if (!from.present()) continue;
      const bool shared = spec.content == Content::segments;  // a small table that is only read
      views.at(spec.name) = shared ? from : copied(from);
    }
    if (case_.prepare) case_.prepare(ops_, views);
    copies_.push_back(views);
  }
  for (const TensorSpec& spec : case_.tensors) {
    if (spec.role != Role::in_out || spec.content != Content::activation) continue;
    pristine_[spec.name] = copied(first_.views()[spec.name]);
  }
}

TensorView RotatingCase::copied(TensorView from) {
  const TensorView to = memory_.add("copies", from.dtype, from.shape);
  ops_.copy(to.data, from.data, from.bytes());
  return to;
}

void RotatingCase::run(std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    case_.run(ops_, copies_[next_]);
    next_ = next_ + 1 == copies_.size() ? 0 : next_ + 1;
  }
  changed_ += count;
}

void RotatingCase::restore() {
  const auto count = static_cast<std::size_t>(std::min(changed_, copies()));
  for (std::size_t i = 0; i < count; ++i) {
    const Views& views = copies_[(next_ + copies_.size() - count + i) % copies_.size()];
    for (const auto& [name, original] : pristine_) ops_.copy(views[name].data, original.data, original.bytes());
  }
  changed_ = 0;
}

Rotation cold_rotation(const DeviceInfo& device) { return {2 * last_level_cache(device), device.memory / 8}; }

Dimensions dimensions_of(const ModelConfig& model, std::int64_t batch, std::int64_t context) {
  Dimensions dimensions;
  dimensions.batch = batch;
  dimensions.length = context;
  dimensions.n_embd = model.n_embd;
  dimensions.n_head = model.n_head;
  dimensions.vocab_size = model.vocab_size;
  dimensions.n_ctx = model.n_ctx;
  dimensions.layers = model.n_layer;
  return dimensions;
}

std::vector<OpCase> choose_cases(const Dimensions& dimensions, const std::vector<std::string>& ops) {
  std::vector<OpCase> cases = all_cases(Size::benchmark, dimensions);
  const std::vector<std::string> names = op_names(cases);
  for (const std::string& each : ops) {
    if (std::find(names.begin(), names.end(), each) != names.end()) continue;
    const std::vector<std::string> near = nearest(each, names);
    throw Error(ExitCode::usage, "--op {}: no such operation; {}There are: {}", each,
                near.empty() ? "" : "did you mean " + joined(near, " or ") + "? ", joined(names, ", "));
  }
  if (!ops.empty())
    std::erase_if(cases, [&](const OpCase& each) { return std::find(ops.begin(), ops.end(), each.op) == ops.end(); });
  return cases;
}

KernelResult bench_case(Ops& ops, const OpCase& op_case, const KernelBenchSettings& settings, const Rotation& rotation) {
  const DType activation = activation_of(settings.precision);
  RotatingCase rotating(ops, op_case, activation, rotation.cold_bytes, rotation.most_bytes);
  rotating.run(rotating.copies());  // pages are mapped and weights packed before anything is timed
  rotating.restore();

  KernelResult result;
  result.op = op_case.op;
  result.shape = op_case.shape;
  result.bytes = op_case.bytes(activation);
  result.flops = op_case.flops;
  result.warm =
      static_cast<double>(rotating.copies()) * touched_bytes(op_case, activation) < static_cast<double>(rotation.cold_bytes) ||
      rotation.cold_bytes == 0;
  Measurement& measurement = result.measurement;
  measurement.name =
      op_case.op + "/" + op_case.shape + (op_case.has_activations() ? "/" + std::string(name_of(settings.precision)) : "");
  measurement.iterations = calibrate(ops, rotating, settings.min_seconds / static_cast<double>(settings.repetitions));
  for (std::int64_t i = 0; i < settings.repetitions; ++i)
    measurement.samples.push_back(time_runs(ops, rotating, measurement.iterations));
  measurement.rates = {{"bytes_per_second", result.bytes}, {"flops_per_second", result.flops}};
  return result;
}

KernelBenchResult bench_kernels(const KernelBenchSettings& settings, Ops& ops, const CaseCallback& on_case) {
  const std::vector<OpCase> cases = choose_cases(settings.dimensions, settings.ops);
  KernelBenchResult result;
  result.settings = settings;
  result.device = ops.device();
  result.load_average = load_average();
  if (!settings.warm_cache) result.rotation = cold_rotation(result.device);

  const auto announce = [&](const std::string& name, std::size_t done) {
    for (KernelResult& each : result.kernels) add_floor(each, result);
    if (on_case) on_case(name, static_cast<double>(done) / static_cast<double>(cases.size() + 2), result);
  };
  announce("ceilings", 0);
  measure_ceilings(result, ops);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    announce(cases[i].name(), 1 + i);
    const std::string reason = too_large(cases[i], settings, result.device);
    if (!reason.empty()) {
      result.skipped.push_back(reason);
      continue;
    }
    result.kernels.push_back(bench_case(ops, cases[i], settings, result.rotation));
  }
  announce("ceilings again", cases.size() + 1);
  measure_ceilings(result, ops);
  for (KernelResult& each : result.kernels) add_floor(each, result);
  result.complete = true;
  return result;
}

Ceilings bench_ceilings(Precision precision, Ops& ops) {
  KernelBenchResult result;
  result.settings.precision = precision;
  result.settings.repetitions = 5;
  result.device = ops.device();
  measure_ceilings(result, ops);
  return {result.bytes_per_second, result.flops_per_second};
}

std::string to_text(const KernelBenchResult& result) {
  const KernelBenchSettings& settings = result.settings;
  std::string text = fmt::format("GPT-2 {}, {}, B={}, T={}, on {}, {}, {} threads\n", settings.model, name_of(settings.precision),
                                 settings.dimensions.batch, settings.dimensions.length, result.device.name, result.device.features,
                                 result.device.threads);
  text += ceiling_line("copy bandwidth  ", result.bytes_per_second, "GB/s", result.copy);
  text += ceiling_line("matmul rate     ", result.flops_per_second, "GFLOP/s", result.matmul);

  bool any_above = false, any_warm = false;
  TextRows rows = {{"operation", "shape", "median", "p10", "p90", "GB/s", "GFLOP/s", "floor", "of floor", "note"}};
  for (const KernelResult& each : result.kernels) {
    const double median = each.measurement.percentile(0.5);
    const double share = 100.0 * each.floor_seconds / median;
    const bool warm = each.warm && !settings.warm_cache;
    any_above = any_above || share > 100.0;
    any_warm = any_warm || warm;
    rows.push_back({each.op, each.shape, format_time(median), format_time(each.measurement.percentile(0.1)),
                    format_time(each.measurement.percentile(0.9)), digits(each.bytes / median / 1e9),
                    each.flops > 0.0 ? digits(each.flops / median / 1e9) : "-", format_time(each.floor_seconds),
                    digits(share) + "%", std::string(share > 100.0 ? "!" : "") + (warm ? "w" : "")});
  }
  text += "\n" + aligned_table(rows, "llr", true) + "\nfloor: max(bytes / copy bandwidth, operations / matmul rate); ";
  text += settings.warm_cache ? "caches are warm as asked for\n"
                              : "runs take turns on " + format_bytes(result.rotation.cold_bytes) + " of buffers, caches are cold\n";
  if (any_above)
    text +=
        "!: above 100%: caches held the data, reads outweigh writes or the shape suits better than the ceiling's, other work "
        "slowed the ceilings, or a count is wrong\n";
  if (any_warm) text += "w: too small for cold caches in " + format_bytes(result.rotation.most_bytes) + " of copies\n";
  if (result.load_average > 0.5 * result.device.threads && result.device.backend == "cpu")
    text += fmt::format("the load average was {} on {} threads before the start: other work takes its share of these figures\n",
                        digits(result.load_average), result.device.threads);
  for (const std::string& each : result.skipped) text += "skipped: " + each + "\n";
  return text;
}

std::string to_json(const KernelBenchResult& result, const std::string& commit) {
  nlohmann::ordered_json report = benchmark_report(result.device, commit);
  auto& context = report["context"];
  context["model"] = result.settings.model;
  context["precision"] = name_of(result.settings.precision);
  context["batch"] = result.settings.dimensions.batch;
  context["context_length"] = result.settings.dimensions.length;
  context["warm_cache"] = result.settings.warm_cache;
  context["cold_bytes"] = result.rotation.cold_bytes;
  context["copy_bytes_per_second"] = result.bytes_per_second;
  context["matmul_flops_per_second"] = result.flops_per_second;
  context["complete"] = result.complete;
  add_benchmark(report, result.copy.measurement);
  add_benchmark(report, result.matmul.measurement);
  for (const KernelResult& each : result.kernels) add_benchmark(report, each.measurement);
  return json_text(report, 2) + "\n";
}

}  // namespace temper
