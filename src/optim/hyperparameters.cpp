#include "optim/hyperparameters.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/check.h"
#include "optim/pipeline.h"

namespace temper {

namespace {

constexpr std::int64_t kept_every = 256;  // updates

double held_beta1(const OptimizerConfig& config) { return uses_momentum(config.name) ? *config.momentum : *config.beta1; }

/// The momentum buffer holds rate x gradient.
bool buffer_includes_rate(const OptimizerConfig& config) {
  return config.name == OptimizerName::sgdw && config.momentum_includes_rate && *config.momentum > 0.0;
}

/// Squared angle per update at which rows turn in equilibrium, for gradients that are noise and a weight that loses 1 of itself
/// per update. Kosson et al., arXiv 2305.17212. It uses the momentum that is held, also while the momentum moves.
double equilibrium_rotation(const OptimizerConfig& config) {
  const double b = held_beta1(config);
  const auto sign = [](double beta1, double beta2) {
    return std::numbers::pi * ((1.0 - beta1) * (1.0 - beta1) + beta1 * beta1 * (1.0 - beta2) / (1.0 + beta2));
  };
  switch (config.name) {
    case OptimizerName::lion:
      return sign(*config.beta1, *config.beta2);
    case OptimizerName::nesterov_lion:
      return sign(b * b, b);  // which is what it is
    case OptimizerName::sgd:
      // The L2 term goes through the momentum, which makes it larger by 1/(1-b).
      if (config.decay == DecayMode::l2) return 2.0 * (1.0 - config.dampening) / (1.0 + b);
      break;
    default:
      break;
  }
  return 2.0 * (1.0 - b) / (1.0 + b);
}

/// arXiv 2409.03137: the slow moment's decay rate grows so that its half-life grows linearly.
double slow_beta(const OptimizerConfig& config, double share) {
  const auto half_life = [](double beta) { return std::log(0.5) / std::log(beta) - 1.0; };
  const double begin = half_life(*config.beta1), end = half_life(config.beta3);
  return share >= 1.0 ? config.beta3 : std::pow(0.5, 1.0 / (begin + (end - begin) * share + 1.0));
}

}  // namespace

Hyperparameters::Hyperparameters(const OptimizerConfig& config, const Schedule& schedule) : config_(config), schedule_(schedule) {
  require(config.learning_rate && config.weight_decay, "learning_rate and weight_decay of a validated configuration");
}

double Hyperparameters::learning_rate(std::int64_t k) const { return *config_.learning_rate * schedule_.multiplier(k); }

double Hyperparameters::momentum(std::int64_t k) const { return schedule_.momentum(held_beta1(config_), k); }

double Hyperparameters::decay(std::int64_t k) const { return decay_scalar(k) * *config_.weight_decay; }

std::optional<DecaySummary> Hyperparameters::decay_summary() const {
  const std::int64_t total = schedule_.total();
  double lost = *config_.weight_decay;  // by an update at the peak rate
  if (decay_follows_rate(*config_.decay)) lost *= *config_.learning_rate;
  if (config_.decay == DecayMode::normalized) lost /= std::sqrt(static_cast<double>(schedule_.cycle_length(0)));
  const bool beside_step =
      config_.decay != DecayMode::none && config_.decay != DecayMode::l2 && config_.decay != DecayMode::scale_adjusted;
  if (!beside_step || lost == 0.0) return std::nullopt;
  DecaySummary summary{1.0 / lost, 1.0 / lost / static_cast<double>(total), 0.0, {}};
  // Of a long run so many stretches of equal length, by the update in their middle.
  constexpr std::int64_t most_terms = 100'000;
  const std::int64_t terms = std::min(total, most_terms);
  for (std::int64_t i = 0; i < terms; ++i) summary.sum += decay((2 * i + 1) * total / (2 * terms));
  summary.sum *= static_cast<double>(total) / static_cast<double>(terms);
  if (config_.norm_control == NormControlChoice::none) summary.equilibrium_rms = *config_.learning_rate * std::sqrt(0.5 / lost);
  return summary;
}

/// What multiplies a tensor's weight decay.
double Hyperparameters::decay_scalar(std::int64_t k) const {
  const double multiplier = schedule_.decay_multiplier(*config_.decay_schedule, k);
  switch (*config_.decay) {
    case DecayMode::decoupled:
    case DecayMode::cautious:
      return learning_rate(k) * multiplier;
    case DecayMode::independent:
      return schedule_.multiplier(k) * multiplier;
    case DecayMode::normalized:
      return schedule_.multiplier(k) * multiplier / std::sqrt(static_cast<double>(schedule_.cycle_length(k)));
    case DecayMode::l2:
      return multiplier;
    case DecayMode::scale_adjusted:
      return multiplier / *config_.learning_rate;
    case DecayMode::none:
      break;
  }
  return 0.0;
}

/// The angle of a rotational step whose tensor has weight decay 1.
double Hyperparameters::rotation(std::int64_t k) const {
  // L2 removes what decoupled decay removes; its way through the momentum is in equilibrium_rotation.
  const double decay = config_.decay == DecayMode::l2 ? learning_rate(k) * decay_scalar(k) : decay_scalar(k);
  const double angle = std::sqrt(decay * equilibrium_rotation(config_));
  if (config_.rotation_schedule == RotationSchedule::root) return angle;
  return angle * std::sqrt(schedule_.multiplier(k));  // `decay` holds s_k once, so its root another time
}

/// Schedule-Free as in its paper (arXiv 2405.15682, algorithm 1): the second moment's correction is a factor of the rate, with which
/// decay and the points' weights in the average grow as well. The authors' package since 1.3 divides the moment by it instead.
bool Hyperparameters::corrects_rate() const {
  return config_.name == OptimizerName::schedule_free_adamw && config_.eps_placement == EpsilonPlacement::inside;
}

/// Of an update, counted with the earlier ones.
double Hyperparameters::rate_correction(std::int64_t update) const {
  return corrects_rate() ? std::sqrt(1.0 - std::pow(*config_.beta2, static_cast<double>(update + 1))) : 1.0;
}

Hyperparameters::History Hyperparameters::after(History before, std::int64_t update, std::int64_t earlier) const {
  const double held = held_beta1(config_);
  const std::int64_t k = update - earlier;
  // Of a branched run's earlier updates only their number is known: they count as made at the peak rate and the held momentum.
  before.decayed *= k < 0 ? held : schedule_.momentum(held, k);
  if (config_.name != OptimizerName::schedule_free_adamw) return before;
  const double rate = (k < 0 ? *config_.learning_rate : learning_rate(k)) * rate_correction(update);
  before.largest_rate = std::max(before.largest_rate, rate);
  before.weight = std::pow(static_cast<double>(update + 1), config_.averaging_power) * before.largest_rate * before.largest_rate;
  before.weights += before.weight;
  return before;
}

/// After that many updates.
Hyperparameters::History Hyperparameters::history(std::int64_t updates, std::int64_t earlier) const {
  if (earlier != kept_earlier_) {
    kept_ = {History{}};
    kept_earlier_ = earlier;
  }
  const auto wanted = static_cast<std::size_t>(updates / kept_every);
  const auto extend = [&](History from, std::int64_t begin, std::int64_t end) {
    for (std::int64_t update = begin; update < end; ++update) from = after(from, update, earlier);
    return from;
  };
  while (kept_.size() <= wanted) {
    const auto begin = static_cast<std::int64_t>(kept_.size() - 1) * kept_every;
    kept_.push_back(extend(kept_.back(), begin, begin + kept_every));
  }
  return extend(kept_[wanted], static_cast<std::int64_t>(wanted) * kept_every, updates);
}

StepScalars Hyperparameters::at(std::int64_t k, std::int64_t earlier) const {
  const auto t = static_cast<double>(k + 1 + earlier);
  const History past = history(k + 1 + earlier, earlier);
  const double beta1 = momentum(k);

  // Signs do not shrink while their average is young; this puts it back.
  double young = 1.0;
  if (config_.inverse_bias_correction == InverseBiasCorrection::linear) young = 1.0 - past.decayed;
  if (config_.inverse_bias_correction == InverseBiasCorrection::root) young = std::sqrt(1.0 - past.decayed * past.decayed);

  double gradient_weight = 1.0 - beta1;
  if (config_.name == OptimizerName::sgd) gradient_weight = k + earlier == 0 ? 1.0 : 1.0 - config_.dampening;
  if (config_.name == OptimizerName::sgdw) gradient_weight = buffer_includes_rate(config_) ? learning_rate(k) : 1.0;

  const double grown =
      config_.ademamix_warmup_steps == 0 ? 1.0 : std::min(1.0, t / static_cast<double>(config_.ademamix_warmup_steps));

  StepScalars scalars{};
  const double correction = rate_correction(k + earlier);
  scalars.learning_rate = static_cast<float>(young * correction * (buffer_includes_rate(config_) ? 1.0 : learning_rate(k)));
  scalars.decay = static_cast<float>(correction * decay_scalar(k));
  scalars.rotation = static_cast<float>(young * rotation(k));
  scalars.rotation_correction = static_cast<float>(1.0 - std::pow(config_.rotation_averaging, t));
  const GainSettings gains = gains_of(config_);
  scalars.gain_rate = static_cast<float>(learning_rate(k));
  scalars.gain_correction1 = static_cast<float>(1.0 - std::pow(static_cast<double>(gains.beta1), t));
  scalars.gain_correction2 = static_cast<float>(1.0 - std::pow(static_cast<double>(gains.beta2), t));
  scalars.beta1 = static_cast<float>(beta1);
  scalars.gradient_weight = static_cast<float>(gradient_weight);
  scalars.bias_correction1 = static_cast<float>(1.0 - past.decayed);
  scalars.bias_correction2 = corrects_rate() ? 1.0f : static_cast<float>(1.0 - std::pow(*config_.beta2, t));
  scalars.previous_correction2 = t == 1.0 ? 1.0f : static_cast<float>(1.0 - std::pow(*config_.beta2, t - 1.0));
  scalars.slow_beta = static_cast<float>(slow_beta(config_, grown));
  scalars.slow_weight = static_cast<float>(config_.ademamix_alpha * grown);
  scalars.average_weight = past.weights > 0.0 ? static_cast<float>(past.weight / past.weights) : 0.0f;  // 0: rates of 0 so far
  return scalars;
}

}  // namespace temper
