#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "config/validate.h"

namespace temper {

namespace {

double real(std::int64_t whole) { return static_cast<double>(whole); }

/// Where k stands between `begin` and `end`: 0 to 1.
double share_done(std::int64_t k, std::int64_t begin, std::int64_t end) {
  return k >= end ? 1.0 : std::max(0.0, real(k - begin) / real(end - begin));
}

std::int64_t share_of(double share, std::int64_t total) { return std::llround(share * real(total)); }

/// From 1 to 0.
double half_wave(double x) { return 0.5 * (1.0 + std::cos(std::numbers::pi * x)); }

double warmup_value(WarmupShape shape, WarmupFirst first, std::int64_t k, std::int64_t warmup) {
  const double p = real(first == WarmupFirst::one_step ? k + 1 : k) / real(warmup);
  if (shape == WarmupShape::exponential) return std::pow(0.01, 1.0 - p);
  const double risen = shape == WarmupShape::linear ? p : 1.0 - half_wave(p);
  return first == WarmupFirst::percent ? 0.01 + 0.99 * risen : risen;
}

double cooldown_value(CooldownShape shape, double f, double x) {
  const auto above = [&](double value) { return f + (1.0 - f) * value; };
  switch (shape) {
    case CooldownShape::linear:
      return above(1.0 - x);
    case CooldownShape::one_minus_sqrt:
      return above(1.0 - std::sqrt(x));
    case CooldownShape::cosine:
      return above(half_wave(x));
    case CooldownShape::one_minus_square:
      return above(1.0 - x * x);
    case CooldownShape::mirror_cosine:
      return above(2.0 * (1.0 - x) - half_wave(x));
    case CooldownShape::exponential:
      return std::pow(f, x);
  }
  return 1.0;
}

}  // namespace

Schedule::Schedule(const ScheduleConfig& config, std::int64_t total, std::int64_t tokens_per_step)
    : config_(config), total_(total), warmup_(temper::warmup_steps(config, total, tokens_per_step)) {
  if (config.name == ScheduleName::file) rates_ = read_rates(config.file.value_or(""), config.file_column, total);
  if (config.name != ScheduleName::restarts) return;
  double length = real(*config.cycle_steps);
  for (std::int64_t begin = warmup_; cycles_.empty() || begin < total; length *= config.cycle_growth) {
    cycles_.push_back({begin, std::llround(length)});
    begin += cycles_.back().length;
  }
}

/// The restart cycle that holds update k; before them all, the first.
const Schedule::Cycle& Schedule::cycle_at(std::int64_t k) const {
  const auto after = std::ranges::upper_bound(cycles_, std::min(k, total_ - 1), {}, &Cycle::begin);
  return after == cycles_.begin() ? *after : *(after - 1);
}

double Schedule::multiplier(std::int64_t k) const {
  if (k < warmup_) return warmup_value(config_.warmup_shape, config_.warmup_first, k, warmup_);
  k = std::min(k, total_);
  const double f = config_.min_ratio;
  const double x = share_done(k, warmup_, config_.horizon_steps > 0 ? config_.horizon_steps : total_);
  switch (config_.name) {
    case ScheduleName::constant:
      return 1.0;
    case ScheduleName::linear:
      return 1.0 - (1.0 - f) * x;
    case ScheduleName::cosine:
      return f + (1.0 - f) * half_wave(x);
    case ScheduleName::step: {
      const auto passed = std::count_if(config_.milestones.begin(), config_.milestones.end(),
                                        [&](double milestone) { return k >= share_of(milestone, total_); });
      return std::pow(config_.step_factor, static_cast<double>(passed));
    }
    case ScheduleName::wsd: {
      const std::int64_t hold = std::max(warmup_, total_ - share_of(config_.cooldown_fraction, total_));
      return k < hold ? 1.0 : cooldown_value(config_.cooldown_shape, f, share_done(k, hold, total_));
    }
    case ScheduleName::inverse_sqrt:
      return std::sqrt(real(std::max<std::int64_t>(warmup_, 1)) / real(k + 1));
    case ScheduleName::restarts: {
      const Cycle& cycle = cycle_at(k);
      return f + (1.0 - f) * half_wave(share_done(std::min(k, total_ - 1), cycle.begin, cycle.begin + cycle.length));
    }
    case ScheduleName::power:
      return std::min(1.0, config_.power_scale * std::pow(real(total_ - k), config_.power));
    case ScheduleName::file:
      return rate_at(rates_, std::min(k, total_ - 1) + 1);
  }
  return 1.0;
}

double Schedule::decay_multiplier(DecaySchedule shape, std::int64_t k) const {
  const double x = share_done(k, 0, total_);
  switch (shape) {
    case DecaySchedule::constant:
      return 1.0;
    case DecaySchedule::follow_rate:
      return multiplier(k);
    case DecaySchedule::linear:
      return 1.0 - x;
    case DecaySchedule::cosine:
      return half_wave(x);
  }
  return 1.0;
}

double Schedule::momentum(double value, std::int64_t k) const {
  const std::int64_t cooldown_begin = total_ - config_.momentum_cooldown_steps;
  double held = 1.0;
  if (k < config_.momentum_warmup_steps)
    held = share_done(k, 0, config_.momentum_warmup_steps);
  else if (k >= cooldown_begin && config_.momentum_cooldown_steps > 0)
    held = 1.0 - share_done(k, cooldown_begin, total_);
  return held * value + (1.0 - held) * config_.momentum_start;
}

std::int64_t Schedule::cycle_length(std::int64_t k) const {
  return config_.name == ScheduleName::restarts ? cycle_at(k).length : total_;
}

}  // namespace temper
