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
  const double span = static_cast<double>(std::max<std::int64_t>(total_ - warmup_, 1));
  const double x = std::min(1.0, static_cast<double>(k - warmup_) / span);
  switch (config_.name) {
    case ScheduleName::constant:
      return 1.0;
    case ScheduleName::linear:
      return 1.0 - (1.0 - f) * x;
    case ScheduleName::cosine:
      return f + (1.0 - f) * 0.5 * (1.0 + std::cos(std::numbers::pi * x));
    case ScheduleName::wsd: {
      const auto cooldown = static_cast<std::int64_t>(config_.cooldown_fraction * static_cast<double>(total_));
      const std::int64_t hold = std::max(warmup_, total_ - cooldown);
      if (k < hold) return 1.0;
      const double y = std::min(1.0, static_cast<double>(k - hold) / static_cast<double>(std::max<std::int64_t>(total_ - hold, 1)));
      return f + (1.0 - f) * (1.0 - std::sqrt(y));
    }
  }
  return 1.0;
}

}  // namespace temper
