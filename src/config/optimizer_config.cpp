#include "config/optimizer_config.h"

#include <algorithm>

namespace temper {
namespace {

static_assert(std::ranges::all_of(optimizers, [](const OptimizerTraits& traits) { return &traits == &traits_of(traits.name); }));

/// Of decay that is not multiplied with the rate: what AdamW's default takes at its peak rate.
constexpr double independent_decay = 6e-5;

/// Muon's own updates, whose size is that of an orthogonal matrix, want another rate than AdamW's.
bool has_orthogonal_size(const OptimizerConfig& config) {
  return config.name == OptimizerName::muon && config.muon_scale == MuonScale::shape;
}

std::optional<double> default_learning_rate(const OptimizerConfig& config) {
  return has_orthogonal_size(config) ? 0.02 : traits_of(config.name).learning_rate;
}

std::optional<double> default_weight_decay(const OptimizerConfig& config) {
  switch (*config.decay) {
    case DecayMode::none:
      return 0.0;
    case DecayMode::decoupled:
    case DecayMode::cautious:
      return has_orthogonal_size(config) ? std::nullopt : traits_of(config.name).decoupled_decay;
    case DecayMode::independent:
    case DecayMode::scale_adjusted:
      return independent_decay;
    case DecayMode::l2:
    case DecayMode::normalized:
      break;
  }
  return std::nullopt;
}

template <class T>
void fill(std::optional<T>& member, const std::optional<T>& value) {
  if (!member) member = value;
}

}  // namespace

OptimizerConfig resolved_optimizer(const OptimizerConfig& config) {
  const OptimizerTraits& traits = traits_of(config.name);
  OptimizerConfig resolved = config;
  fill(resolved.learning_rate, default_learning_rate(config));
  const bool one_rate = !has_orthogonal_size(config) && config.name != OptimizerName::adamh;
  fill(resolved.other_learning_rate, one_rate ? resolved.learning_rate : traits_of(OptimizerName::adamw).learning_rate);
  fill(resolved.beta1, std::optional(traits.beta1));
  fill(resolved.beta2, std::optional(traits.beta2));
  fill(resolved.momentum, std::optional(traits.momentum));
  fill(resolved.decay, std::optional(traits.decay));
  if (!resolved.decay_timescale) fill(resolved.weight_decay, default_weight_decay(resolved));
  fill(resolved.decay_schedule, std::optional(traits.decay_schedule));
  std::vector<std::string> decayed = {"matrices"};
  if (traits.embeddings_decay) decayed.emplace_back("embeddings");
  fill(resolved.decay_on, std::optional(decayed));
  fill(resolved.norm_control, std::optional(traits.norm_control));
  const bool whole = resolved.norm_control == NormControlChoice::relative;
  fill(resolved.norm_granularity, std::optional(whole ? Granularity::matrix : Granularity::row));
  return resolved;
}

std::string_view why_no_default_rate(const OptimizerConfig& config) {
  if (config.name == OptimizerName::adamh)
    return "it is the share of its norm that a matrix moves in a step, which differs from model to model";
  return "SGD's rate depends on the size of the gradients, which differs from model to model";
}

std::string_view why_no_default_decay(const OptimizerConfig& config) {
  if (config.decay == DecayMode::normalized) return "normalized decay is divided by the root of the run's number of updates";
  if (config.decay == DecayMode::l2) return "what L2 takes from a weight depends on the size of the gradients";
  if (has_orthogonal_size(config)) return "with muon_scale shape the matrices' rate and that of the other tensors are far apart";
  return "decay that is multiplied with a rate depends on that rate, which has no default here";
}

}  // namespace temper
