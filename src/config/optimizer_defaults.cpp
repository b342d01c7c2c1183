#include "config/optimizer_defaults.h"

namespace temper {

namespace {

double beta2_of(OptimizerName name) {
  switch (name) {
    case OptimizerName::ademamix:
    case OptimizerName::schedule_free_adamw:
      return 0.999;
    case OptimizerName::lion:
      return 0.99;
    default:
      return 0.95;  // GPT-2 practice
  }
}

DecayMode decay_of(OptimizerName name) {
  switch (name) {
    case OptimizerName::sgd:
    case OptimizerName::adam:
      return DecayMode::l2;
    case OptimizerName::sgdw:
      return DecayMode::independent;
    default:
      return DecayMode::decoupled;
  }
}

NormControlChoice control_of(OptimizerName name) {
  if (name == OptimizerName::lionar) return NormControlChoice::rotational;
  if (name == OptimizerName::adamh) return NormControlChoice::relative;
  return NormControlChoice::none;
}

void fill(double& number, double value) {
  if (number == -1.0) number = value;
}

}  // namespace

bool is_sign_of_average(OptimizerName name) {
  return name == OptimizerName::nesterov_lion || name == OptimizerName::liona || name == OptimizerName::lionar;
}

bool uses_momentum(OptimizerName name) {
  return name == OptimizerName::sgd || name == OptimizerName::sgdw || name == OptimizerName::muon || is_sign_of_average(name);
}

OptimizerConfig resolved_optimizer(const OptimizerConfig& config) {
  OptimizerConfig resolved = config;
  fill(resolved.other_learning_rate, config.learning_rate);
  fill(resolved.beta1, 0.9);
  fill(resolved.beta2, beta2_of(config.name));
  fill(resolved.momentum, config.name == OptimizerName::muon ? 0.95 : 0.9);
  if (config.decay == DecayMode::by_name) resolved.decay = decay_of(config.name);
  if (config.norm_control == NormControlChoice::by_name) resolved.norm_control = control_of(config.name);
  if (config.norm_granularity == Granularity::by_name)
    resolved.norm_granularity = resolved.norm_control == NormControlChoice::relative ? Granularity::matrix : Granularity::row;
  return resolved;
}

}  // namespace temper
