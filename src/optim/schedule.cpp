#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "config/validate.h"

namespace temper {

Schedule::Schedule(const ScheduleConfig& config, std::int64_t total)
    : config_(config), total_(total), warmup_(temper::warmup_steps(config, total)) {}

double Schedule::multiplier(std::int64_t k) const {
  if (k < warmup_) return static_cast<double>(k + 1) / static_cast<double>(warmup_);
  const double f = config_.min_ratio;
  const auto progress = [&](std::int64_t begin) {
    return k >= total_ ? 1.0 : static_cast<double>(k - begin) / static_cast<double>(total_ - begin);
  };
  const double x = progress(warmup_);
  switch (config_.name) {
    case ScheduleName::constant:
      return 1.0;
    case ScheduleName::linear:
      return 1.0 - (1.0 - f) * x;
    case ScheduleName::cosine:
      return f + (1.0 - f) * 0.5 * (1.0 + std::cos(std::numbers::pi * x));
    case ScheduleName::wsd: {
      const std::int64_t cooldown = std::llround(config_.cooldown_fraction * static_cast<double>(total_));
      const std::int64_t hold = std::max(warmup_, total_ - cooldown);
      return k < hold ? 1.0 : f + (1.0 - f) * (1.0 - std::sqrt(progress(hold)));
    }
  }
  return 1.0;
}

}  // namespace temper
