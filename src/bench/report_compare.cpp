#include "bench/report_compare.h"

#include <algorithm>
#include <cstdio>

#include "io/error.h"

namespace temper {

namespace {

constexpr std::size_t fewest_repetitions = 3;  // with fewer, p10 and p90 say nothing about the next run

const SavedReport::Benchmark* find(const SavedReport& report, const std::string& name) {
  const auto& all = report.benchmarks;
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& each) { return each.name == name; });
  return found == all.end() ? nullptr : &*found;
}

struct Range {
  double low, median, high;
  bool known;

  explicit Range(const std::vector<double>& seconds)
      : low(percentile(seconds, 0.1)),
        median(percentile(seconds, 0.5)),
        high(percentile(seconds, 0.9)),
        known(seconds.size() >= fewest_repetitions) {}

  std::string spread() const {
    char text[32];
    std::snprintf(text, sizeof(text), "+-%.1f%%", 50.0 * (high - low) / median);
    return known ? text : "?";
  }
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

std::string compare_reports(const NamedReport& before, const NamedReport& after) {
  std::vector<std::vector<std::string>> rows = {{"benchmark", "before", "spread", "after", "spread", "ratio", "verdict"}};
  bool unknown = false, ceilings = false;
  for (const SavedReport::Benchmark& each : before.report.benchmarks) {
    const SavedReport::Benchmark* same = find(after.report, each.name);
    if (same == nullptr) continue;
    const Range a(each.seconds), b(same->seconds);
    char ratio[32];
    std::snprintf(ratio, sizeof(ratio), "%.3f", b.median / a.median);
    rows.push_back({each.name, format_time(a.median), a.spread(), format_time(b.median), b.spread(), ratio, verdict(a, b)});
    ceilings = ceilings || each.name.rfind(ceiling_prefix, 0) == 0;
    unknown = unknown || rows.back().back() == "?";
  }
  if (rows.size() == 1)
    throw Error(ExitCode::data, before.name + " and " + after.name + " have no benchmark in common: the first has " +
                                    before.report.benchmarks.front().name + ", the second " + after.report.benchmarks.front().name +
                                    "; compare runs of the same command and options");

  std::string text = "before: " + before.name + "\nafter:  " + after.name + "\n\n" + format_table(rows, 1) +
                     "\nratio: after / before, below 1 is faster; noise: the ranges from p10 to p90 touch\n";
  if (ceilings) text += "where a ceiling changed, the machine was faster or slower, and the rest changed with it\n";
  if (unknown) text += "?: fewer than " + std::to_string(fewest_repetitions) + " repetitions, so the noise is not known\n";
  text += only_in(before, after) + only_in(after, before);
  if (before.report.device != after.report.device)
    text += "the machines differ: " + before.report.device + " | " + after.report.device + "\n";
  return text;
}

}  // namespace temper
