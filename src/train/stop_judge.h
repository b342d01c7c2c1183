// Whether a run's own condition ends it (TrainOptions::stop_when), by the lines of its metrics.jsonl.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "io/json.h"
#include "io/json_lines.h"
#include "train/trainer.h"

namespace temper {

class StopJudge {
 public:
  /// `steps` of the run. Without a condition nothing ends it.
  StopJudge(std::optional<StopCondition> condition, std::int64_t steps) : condition_(std::move(condition)), steps_(steps) {}

  /// Anew, with the lines of a log.
  void read(const std::filesystem::path& metrics) {
    latest_.clear();
    stopped_at_.reset();
    if (condition_) for_json_lines(metrics, [this](const Json& line) { look(line); });
  }
  /// A line more. What holds at the last step ends nothing.
  void look(const Json& line) {
    if (!condition_ || stopped_at_ || !line.is_object()) return;
    const auto step = line.find("step");
    if (step == line.end() || !step->is_number_integer()) return;  // a damaged line, which others will refuse
    for (const auto& [key, value] : line.items())
      if (value.is_number() && std::isfinite(value.get<double>())) latest_[key] = value.get<double>();
    const auto number = step->get<std::int64_t>();
    if (number < steps_ && condition_->holds(latest_)) stopped_at_ = number;
  }
  /// The step whose line it held for.
  std::optional<std::int64_t> stopped_at() const { return stopped_at_; }
  std::string text() const { return condition_ ? condition_->text : ""; }

 private:
  std::optional<StopCondition> condition_;
  std::int64_t steps_;
  std::map<std::string, double> latest_;  // what it is asked with
  std::optional<std::int64_t> stopped_at_;
};

}  // namespace temper
