#include "bench/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>

#include "io/error.h"
#include "io/json.h"
#include "io/text_table.h"

namespace temper {

namespace {

double process_seconds() {
  timespec now = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

std::string date_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S+00:00", &utc);
  return text;
}

// One entry of "benchmarks": an aggregate or a repetition.
nlohmann::ordered_json entry(const Measurement& measurement, const std::string& aggregate, const Sample& sample) {
  nlohmann::ordered_json json;
  json["name"] = aggregate.empty() ? measurement.name : measurement.name + "_" + aggregate;
  json["run_name"] = measurement.name;
  json["run_type"] = aggregate.empty() ? "iteration" : "aggregate";
  json["repetitions"] = measurement.samples.size();
  json["threads"] = 1;  // Google Benchmark's: callers of the operation, not threads inside of it
  if (!aggregate.empty()) json["aggregate_name"] = aggregate;
  if (!aggregate.empty()) json["aggregate_unit"] = "time";
  json["iterations"] = measurement.iterations;
  json["real_time"] = 1e6 * sample.seconds;
  json["cpu_time"] = 1e6 * sample.cpu_seconds;
  json["time_unit"] = "us";
  for (const auto& [name, amount] : measurement.rates) json[name] = amount / sample.seconds;
  for (const auto& [name, seconds] : measurement.shares) json[name] = seconds / sample.seconds;
  for (const auto& [name, count] : measurement.counts) json[name] = count;
  return json;
}

double seconds_of_unit(const std::string& unit) {
  if (unit == "ns") return 1e-9;
  if (unit == "us") return 1e-6;
  if (unit == "ms") return 1e-3;
  return unit == "s" ? 1.0 : 0.0;
}

std::string string_at(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

const SavedReport::Benchmark* find(const SavedReport& report, const std::string& name) {
  for (const SavedReport::Benchmark& each : report.benchmarks)
    if (each.name == name) return &each;
  return nullptr;
}

SavedReport::Benchmark& benchmark_named(SavedReport& report, const std::string& name) {
  if (find(report, name) == nullptr) report.benchmarks.push_back({name, {}});
  return const_cast<SavedReport::Benchmark&>(*find(report, name));
}

[[noreturn]] void fail(const std::string& source, const std::string& what) {
  throw Error(ExitCode::data, source + ": " + what + "; expected a file that `temper bench ... --json` or Google Benchmark wrote");
}

double real_seconds(const Json& json, const std::string& name, const std::string& source) {
  const auto time = json.find("real_time");
  const double unit = seconds_of_unit(string_at(json, "time_unit"));
  const double seconds = time != json.end() && time->is_number() ? time->get<double>() * unit : 0.0;
  if (!(seconds > 0.0) || !std::isfinite(seconds))
    fail(source, "benchmark \"" + name + "\" has no positive real_time with a time_unit of ns, us, ms or s");
  return seconds;
}

constexpr std::size_t fewest_repetitions = 3;  // with fewer, p10 and p90 say nothing about the next run

struct Range {
  double low, median, high;
  bool known;

  explicit Range(const std::vector<double>& seconds)
      : low(percentile(seconds, 0.1)),
        median(percentile(seconds, 0.5)),
        high(percentile(seconds, 0.9)),
        known(seconds.size() >= fewest_repetitions) {}

  std::string spread() const { return known ? fmt::format("+-{:.1f}%", 50.0 * (high - low) / median) : "?"; }
};

std::string verdict(const Range& before, const Range& after) {
  if (!before.known || !after.known) return "?";
  if (after.high < before.low) return "faster";
  if (after.low > before.high) return "slower";
  return "noise";
}

std::string only_in(const NamedReport& one, const NamedReport& other) {
  std::string text;
  for (const SavedReport::Benchmark& each : one.report.benchmarks)
    if (find(other.report, each.name) == nullptr) text += "only in " + one.name + ": " + each.name + "\n";
  return text;
}

}  // namespace

Stopwatch::Stopwatch() : begin_(std::chrono::steady_clock::now()), cpu_begin_(process_seconds()) {}

Sample Stopwatch::elapsed(std::int64_t runs) const {
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin_;
  const auto count = static_cast<double>(runs);
  return {seconds.count() / count, (process_seconds() - cpu_begin_) / count};
}

double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(std::lround(share * static_cast<double>(values.size() - 1)))];
}

double Measurement::percentile(double share) const {
  std::vector<double> seconds;
  for (const Sample& sample : samples) seconds.push_back(sample.seconds);
  return temper::percentile(std::move(seconds), share);
}

double load_average() {
  double minute = 0.0;
  return getloadavg(&minute, 1) == 1 ? minute : 0.0;
}

nlohmann::ordered_json benchmark_report(const DeviceInfo& device, const std::string& commit) {
  nlohmann::ordered_json report;
  auto& context = report["context"];
  context["date"] = date_now();
  context["commit"] = commit;
  context["executable"] = "temper";
  context["num_cpus"] = device.threads;
  context["load_avg"] = {load_average()};
  context["device"] = device.name + ", " + device.features;
#ifdef __OPTIMIZE__
  context["library_build_type"] = "release";
#else
  context["library_build_type"] = "debug";
#endif
  report["benchmarks"] = nlohmann::ordered_json::array();
  return report;
}

void add_benchmark(nlohmann::ordered_json& report, const Measurement& measurement) {
  std::vector<double> cpu_seconds;
  for (const Sample& sample : measurement.samples) cpu_seconds.push_back(sample.cpu_seconds);
  const std::pair<const char*, double> aggregates[] = {{"median", 0.5}, {"p10", 0.1}, {"p90", 0.9}};
  for (const auto& [name, share] : aggregates)
    report["benchmarks"].push_back(entry(measurement, name, {measurement.percentile(share), percentile(cpu_seconds, share)}));
  for (std::size_t i = 0; i < measurement.samples.size(); ++i) {
    report["benchmarks"].push_back(entry(measurement, "", measurement.samples[i]));
    report["benchmarks"].back()["repetition_index"] = i;
  }
}

SavedReport parse_report(const std::string& text, const std::string& source) {
  const Json json = parse_json(text, source, ExitCode::data);
  const auto benchmarks = json.is_object() ? json.find("benchmarks") : json.end();
  if (!json.is_object() || benchmarks == json.end() || !benchmarks->is_array()) fail(source, "no list \"benchmarks\"");

  SavedReport report;
  const auto context = json.find("context");
  if (context != json.end() && context->is_object()) report.device = string_at(*context, "device");
  SavedReport medians;
  for (const Json& each : *benchmarks) {
    const std::string name = each.is_object() ? string_at(each, "name") : "";
    if (name.empty()) fail(source, "a benchmark without a name");
    if (each.value("error_occurred", Json(false)) == true) continue;
    const std::string run_name = string_at(each, "run_name");
    const bool aggregate = string_at(each, "run_type") == "aggregate";
    if (aggregate && string_at(each, "aggregate_name") != "median") continue;
    SavedReport& to = aggregate ? medians : report;
    benchmark_named(to, run_name.empty() ? name : run_name).seconds.push_back(real_seconds(each, name, source));
  }
  for (SavedReport::Benchmark& median : medians.benchmarks) {
    SavedReport::Benchmark& same = benchmark_named(report, median.name);
    if (same.seconds.empty()) same.seconds = median.seconds;
  }
  if (report.benchmarks.empty()) fail(source, "no benchmarks in it");
  return report;
}

const char* name_of(Precision precision) {
  return precision == Precision::fp32 ? "fp32" : precision == Precision::bf16 ? "bf16" : "tf32";
}

std::string format_time(double seconds) {
  const char* unit = seconds < 1e-6 ? "ns" : seconds < 1e-3 ? "us" : seconds < 1.0 ? "ms" : "s";
  const double value = seconds / seconds_of_unit(unit);
  return fmt::format("{:.{}f} {}", value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0, unit);
}

std::string compare_reports(const NamedReport& before, const NamedReport& after) {
  TextRows rows = {{"benchmark", "before", "spread", "after", "spread", "ratio", "verdict"}};
  bool unknown = false, ceilings = false;
  for (const SavedReport::Benchmark& each : before.report.benchmarks) {
    const SavedReport::Benchmark* same = find(after.report, each.name);
    if (same == nullptr) continue;
    const Range a(each.seconds), b(same->seconds);
    rows.push_back({each.name, format_time(a.median), a.spread(), format_time(b.median), b.spread(),
                    fmt::format("{:.3f}", b.median / a.median), verdict(a, b)});
    ceilings = ceilings || each.name.rfind(ceiling_prefix, 0) == 0;
    unknown = unknown || rows.back().back() == "?";
  }
  if (rows.size() == 1)
    throw Error(
        ExitCode::data,
        "{} and {} have no benchmark in common: the first has {}, the second {}; compare runs of the same command and options",
        before.name, after.name, before.report.benchmarks.front().name, after.report.benchmarks.front().name);

  std::string text = "before: " + before.name + "\nafter:  " + after.name + "\n\n" + aligned_table(rows, "lr", true) +
                     "\nratio: after / before, below 1 is faster; noise: the ranges from p10 to p90 touch\n";
  if (ceilings) text += "where a ceiling changed, the machine was faster or slower, and the rest changed with it\n";
  if (unknown) text += fmt::format("?: fewer than {} repetitions, so the noise is not known\n", fewest_repetitions);
  text += only_in(before, after) + only_in(after, before);
  if (before.report.device != after.report.device)
    text += "the machines differ: " + before.report.device + " | " + after.report.device + "\n";
  return text;
}

}  // namespace temper
