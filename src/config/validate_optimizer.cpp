#include "config/validate_optimizer.h"

#include <algorithm>
#include <initializer_list>

#include "config/fields.h"
#include "config/optimizer_defaults.h"

namespace temper {

namespace {

using enum OptimizerName;

std::string text_of(const std::string& path, const RunConfig& config) {
  std::string text = to_text(get_field(*find_field(path), config));
  std::erase(text, '"');
  return text;
}

class Checks {
 public:
  Checks(const RunConfig& config, std::vector<std::string>& problems)
      : config_(config), given_(config.optimizer), resolved_(resolved_optimizer(config.optimizer)), problems_(problems) {}

  void run() {
    keys_of_other_optimizers();
    keys_without_their_choice();
    decay();
    norm_control();
    momentum();
    rate_correction();
  }

 private:
  bool is(std::initializer_list<OptimizerName> names) const {
    return std::find(names.begin(), names.end(), given_.name) != names.end();
  }
  std::string name() const { return text_of("optimizer.name", config_); }
  /// "optimizer.decay is l2 with optimizer.name adamw"
  std::string here(const std::string& path) const {
    return path + " is " + text_of(path, config_) + " with optimizer.name " + name();
  }
  void refuse(const std::string& what, const std::string& reason, const std::string& remedy) {
    problems_.push_back(what + ": " + reason + "; " + remedy);
  }
  /// A key that was set although nothing reads it.
  void unread(const std::string& path, bool read, const std::string& readers) {
    const Field& field = *find_field(path);
    if (read || get_field(field, config_) == get_field(field, RunConfig{})) return;
    refuse(here(path), "nothing reads it there, it is for " + readers, "remove it or choose one of those");
  }

  void keys_of_other_optimizers() {
    const bool adam_family = is({adam, adamw, adamh, muon, ademamix, schedule_free_adamw});
    unread("optimizer.other_learning_rate", is({muon, adamh}), "muon and adamh, whose other tensors have a rate of their own");
    unread(
        "optimizer.beta1", adam_family || is({lion}),
        "adam, adamw, adamh, ademamix, schedule_free_adamw, lion and the AdamW part of muon (the others have optimizer.momentum)");
    unread("optimizer.beta2", adam_family || is({lion}),
           "adam, adamw, adamh, ademamix, schedule_free_adamw, lion and the AdamW part of muon");
    unread("optimizer.momentum", uses_momentum(given_.name),
           "sgd, sgdw, nesterov_lion, liona, lionar and muon (the others have optimizer.beta1)");
    unread("optimizer.beta3", is({ademamix}), "ademamix");
    unread("optimizer.ademamix_alpha", is({ademamix}), "ademamix");
    unread("optimizer.ademamix_warmup_steps", is({ademamix}), "ademamix");
    unread("optimizer.averaging_power", is({schedule_free_adamw}), "schedule_free_adamw");
    unread("optimizer.muon_iterations", is({muon}), "muon");
    unread("optimizer.muon_scale", is({muon}), "muon");
    unread("optimizer.nesterov", is({sgd, sgdw, liona, lionar}),
           "sgd, sgdw, liona and lionar (nesterov_lion and muon always look ahead)");
    unread("optimizer.dampening", is({sgd}), "sgd");
    unread("optimizer.momentum_includes_rate", is({sgdw}), "sgdw");
    unread("optimizer.eps", adam_family, "adam, adamw, adamh, ademamix, schedule_free_adamw and the AdamW part of muon");
    unread("optimizer.eps_placement", is({adam, adamw, adamh}), "adam, adamw and adamh");
    unread("optimizer.bias_correction", is({adam, adamw, adamh}), "adam, adamw and adamh, which correct the first moment's bias");
    unread("optimizer.inverse_bias_correction", is_sign_of_average(given_.name),
           "nesterov_lion, liona and lionar, whose signs do not shrink while the average is young");
    unread("optimizer.sign_scale", is({liona, lionar}), "liona and lionar (the other sign updates have size 1)");
  }

  void keys_without_their_choice() {
    const bool rotational = resolved_.norm_control == NormControlChoice::rotational;
    for (const char* key : {"rotation_zero_mean", "rotation_averaging", "rotation_embeddings", "rotation_schedule"})
      unread(std::string("optimizer.") + key, rotational, "optimizer.norm_control rotational");
    unread("optimizer.norm_granularity", resolved_.norm_control != NormControlChoice::none,
           "optimizer.norm_control rotational or relative");
    unread("optimizer.rate_correction_smoothing", given_.rate_correction != RateCorrectionChoice::none,
           "optimizer.rate_correction gradient or momentum");
    unread("optimizer.l2_stage", resolved_.decay == DecayMode::l2, "optimizer.decay l2");
    const bool decays = resolved_.decay != DecayMode::none;
    unread("optimizer.decay_schedule", decays, "optimizer.decay other than none");
    unread("optimizer.decay_factors", decays, "optimizer.decay other than none");
    unread("optimizer.clip_mode", given_.grad_clip > 0.0, "optimizer.grad_clip above 0");
  }

  void decay() {
    const DecayMode decay = resolved_.decay;
    const bool beside_update = decay == DecayMode::decoupled || decay == DecayMode::independent || decay == DecayMode::normalized ||
                               decay == DecayMode::cautious;
    const std::string what = here("optimizer.decay");
    if (is({adam}) && beside_update) refuse(what, "decay beside Adam's update is AdamW", "set optimizer.name=adamw");
    if (is({sgd}) && beside_update) refuse(what, "decay beside SGD's update is SGDW", "set optimizer.name=sgdw");
    if (is({adamw}) && decay == DecayMode::l2) refuse(what, "AdamW with L2 is Adam", "set optimizer.name=adam");
    if (is({sgdw}) && decay == DecayMode::l2) refuse(what, "SGDW with L2 is SGD", "set optimizer.name=sgd");
    if (decay == DecayMode::scale_adjusted && !is({adam, adamw}))
      refuse(what, "L2 adjusted by the second moment needs one that scales the whole update",
             "use adam or adamw, or optimizer.decay=l2");
    if (decay == DecayMode::normalized && config_.train.steps == 0 && config_.train.tokens == 0)
      refuse(what, "it divides by the root of the run's number of updates, which is not given", "set train.steps or train.tokens");
  }

  void norm_control() {
    const NormControlChoice control = resolved_.norm_control;
    const std::string what = here("optimizer.norm_control");
    if (is({lionar}) && control != NormControlChoice::rotational)
      return refuse(what, "LionAR is LionA under rotational control",
                    control == NormControlChoice::none ? "set optimizer.name=liona" : "use liona with relative control");
    if (is({adamh}) && control != NormControlChoice::relative)
      return refuse(what, "AdamH is Adam under relative control", "set optimizer.name=adamw");
    if (control == NormControlChoice::none) return;
    if (is({liona}) && control == NormControlChoice::rotational)
      return refuse(what, "LionA under rotational control is LionAR", "set optimizer.name=lionar");
    if (is({adam, adamw}) && control == NormControlChoice::relative)
      return refuse(what, "Adam under relative control is AdamH", "set optimizer.name=adamh");
    if (is({muon})) return refuse(what, "orthogonalised updates have a norm of their own", "remove it, or use adamh");
    if (is({schedule_free_adamw}))
      return refuse(what, "an average of weights does not keep the norm that they are held at", "remove it, or use adamw");
    if (control == NormControlChoice::relative) {
      if (is({sgdw}) && given_.momentum_includes_rate && resolved_.momentum > 0.0)
        refuse(what, "a direction's length does not count, and with it the rate that the momentum holds",
               "set optimizer.momentum_includes_rate=false");
      return;
    }
    if (is({adam, ademamix})) return refuse(what, "no equilibrium angle is known for it", "use adamw, lionar, lion, sgd or sgdw");
    if (given_.weight_decay == 0.0)
      refuse("optimizer.weight_decay is 0 under rotational control", "the decay sets the angle, so nothing would turn",
             "set it above 0, or optimizer.norm_control=none" + std::string(is({lionar}) ? " with optimizer.name=liona" : ""));
    const bool sets_angle = resolved_.decay == DecayMode::decoupled || resolved_.decay == DecayMode::independent ||
                            resolved_.decay == DecayMode::normalized || (is({sgd}) && resolved_.decay == DecayMode::l2);
    if (!sets_angle)
      refuse(here("optimizer.decay") + " under rotational control", "it does not say what angle balances it",
             is({sgd}) ? "use l2" : "use decoupled, independent or normalized");
    const auto decays_on = [&](const char* kind) {
      return std::find(given_.decay_on.begin(), given_.decay_on.end(), kind) != given_.decay_on.end();
    };
    if (!decays_on("matrices") && !(decays_on("embeddings") && given_.rotation_embeddings))
      refuse("optimizer.decay_on is " + text_of("optimizer.decay_on", config_) + " under rotational control",
             "the decay sets the angle, and no matrix has any", "add matrices");
  }

  void momentum() {
    if (is({sgd}) && given_.nesterov && given_.dampening > 0.0)
      refuse("optimizer.nesterov is true and optimizer.dampening " + text_of("optimizer.dampening", config_),
             "Nesterov's step is the undamped gradient at the point ahead", "set one of them back");
    const bool without = uses_momentum(given_.name) && resolved_.momentum == 0.0;
    if (!without) return;
    const std::string what = "optimizer.momentum is 0";
    if (given_.dampening > 0.0)
      refuse(what + " and optimizer.dampening " + text_of("optimizer.dampening", config_), "there is no momentum to be damped",
             "set dampening to 0");
    if (config_.schedule.momentum_warmup_steps > 0 || config_.schedule.momentum_cooldown_steps > 0)
      refuse(what + " and schedule.momentum_warmup_steps " + text_of("schedule.momentum_warmup_steps", config_) +
                 ", schedule.momentum_cooldown_steps " + text_of("schedule.momentum_cooldown_steps", config_),
             "a momentum of 0 has nowhere to go", "set both to 0 or the momentum above 0");
  }

  void rate_correction() {
    if (given_.rate_correction == RateCorrectionChoice::none) return;
    const std::string what = here("optimizer.rate_correction");
    if (uses_momentum(given_.name) && resolved_.momentum == 0.0)
      return refuse(what + " and optimizer.momentum 0", "noise is told from signal by what an average of gradients leaves of it",
                    "set optimizer.momentum above 0");
    if (is({schedule_free_adamw}))
      return refuse(what, "noise is told from signal by the first moment, and Schedule-Free has none", "use adamw");
    if (is({lion}))
      return refuse(what, "its estimate of the noise needs a first moment with one decay rate, and Lion has two",
                    "use nesterov_lion, liona or lionar");
    if (is({muon})) return refuse(what, "it holds for directions that are not orthogonalised", "use adamw or lionar");
    if (is({ademamix}) && given_.rate_correction == RateCorrectionChoice::momentum)
      return refuse(what, "the direction has two averages, and the correction is for one",
                    "set optimizer.rate_correction=gradient, or use adamw");
    if (is({sgdw}) && given_.momentum_includes_rate)
      return refuse(what, "the momentum holds rates beside gradients", "set optimizer.momentum_includes_rate=false");
    if (given_.dampening > 0.0)
      refuse(what + " and optimizer.dampening " + text_of("optimizer.dampening", config_),
             "the first gradient would count more than noise explains", "set dampening to 0");
  }

  const RunConfig& config_;
  const OptimizerConfig& given_;
  const OptimizerConfig resolved_;
  std::vector<std::string>& problems_;
};

}  // namespace

void check_optimizer(const RunConfig& config, std::vector<std::string>& problems) { Checks(config, problems).run(); }

}  // namespace temper
