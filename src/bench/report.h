// What a benchmark measured, its JSON (Google Benchmark's form, so that its tools/compare.py reads the files too), and two of those
// side by side.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "config/run_config.h"
#include "kernels/ops.h"

namespace temper {

/// Time of one run: on the clock, and of the processor over all threads of this process.
struct Sample {
  double seconds = 0.0;
  double cpu_seconds = 0.0;
};

/// Runs from where it is made.
class Stopwatch {
 public:
  Stopwatch();
  /// Since the start, divided by `runs`.
  Sample elapsed(std::int64_t runs = 1) const;

 private:
  std::chrono::steady_clock::time_point begin_;
  double cpu_begin_;
};

/// One benchmark: several repetitions of one thing. Repetitions are the samples in the order they were taken.
struct Measurement {
  using Named = std::vector<std::pair<std::string, double>>;

  std::string name;             ///< "layernorm_forward/R=1024 C=768/fp32"
  std::int64_t iterations = 1;  ///< runs timed together in each repetition; a sample is their mean
  std::vector<Sample> samples;
  Named rates;   ///< what one run does or moves; the JSON has it per second under this name
  Named shares;  ///< seconds that one run would take at best; the JSON has their share of the time it took
  std::vector<std::pair<std::string, std::int64_t>> counts;  ///< what does not depend on the time

  /// Seconds of one run that `share` of the repetitions stay below; percentile(0.5) is the median. Needs a sample.
  double percentile(double share) const;
};

/// The value that `share` of `values` stay below: the nearest of them, none between. `values` must not be empty.
double percentile(std::vector<double> values, double share);

/// Of the last minute; 0 where the system does not say.
double load_average();

/// Names of measurements that say what the machine can do rather than what the code does start with this.
inline constexpr const char* ceiling_prefix = "ceiling/";

/// "context" with the machine, the date, the commit and whatever the caller adds; "benchmarks" is for add_benchmark().
nlohmann::ordered_json benchmark_report(const DeviceInfo& device, const std::string& commit);

/// Adds the aggregates of a measurement (median, p10, p90) and each of its repetitions. Times are in microseconds.
void add_benchmark(nlohmann::ordered_json& report, const Measurement& measurement);

/// A report as a file has it. Of foreign reports, whatever has a name and a real time is read.
struct SavedReport {
  struct Benchmark {
    std::string name;
    std::vector<double> seconds;  ///< of the repetitions, or the median alone where the file has no more
  };
  std::string device;  ///< empty where the file does not say
  std::vector<Benchmark> benchmarks;
};

/// Reads a report's JSON. `source` is what messages call it. Error(ExitCode::data) for anything that is no such report.
SavedReport parse_report(const std::string& text, const std::string& source);

/// "fp32", "bf16"
const char* name_of(Precision precision);

/// "12.3 us", "1.05 ms", "2.00 s": three digits.
std::string format_time(double seconds);

struct NamedReport {
  std::string name;  ///< what the table calls it, e.g. its file
  SavedReport report;
};

/// A table of the benchmarks that both have, in the order of `before`: medians, spreads, after/before, verdict. The spread is
/// half the range from p10 to p90 as a share of the median. Where those two ranges touch, the verdict is "noise"; where either
/// report has fewer than three repetitions there is no range, and the verdict is "?". Below it: what only one of them has, and
/// whether the machines differ. Error(ExitCode::data) when they have no benchmark in common.
std::string compare_reports(const NamedReport& before, const NamedReport& after);

}  // namespace temper
