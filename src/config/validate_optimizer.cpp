
#include <algorithm>
#include <initializer_list>

#include "config/fields.h"
#include "config/resolved.h"
#include "config/validate.h"

namespace temper {

namespace {

using enum OptimizerName;

std::string text_of(const std::string& path, const RunConfig& config) { return bare_text(get_field(*find_field(path), config)); }

class Checks {
 public:
  Checks(const RunConfig& config, std::vector<std::string>& problems)
      : config_(resolved(config)), optimizer_(config_.optimizer), problems_(problems) {}

  void run() {
    defaults();
    decay();
    schedule_free();
    norm_control();
    momentum();
    rate_correction();
    if (config_.model.mup_base_width) width();
  }

 private:
  bool is(std::initializer_list<OptimizerName> names) const {
    return std::find(names.begin(), names.end(), optimizer_.name) != names.end();
  }
  std::string name() const { return text_of("optimizer.name", config_); }
  /// "optimizer.decay is l2 with optimizer.name adamw"
  std::string here(const std::string& path) const {
    return path + " is " + text_of(path, config_) + " with optimizer.name " + name();
  }
  void refuse(const std::string& what, const std::string& reason, const std::string& remedy) {
    problems_.push_back(what + ": " + reason + "; " + remedy);
  }
  void defaults() {
    if (!optimizer_.learning_rate)
      refuse("optimizer.learning_rate is not given",
             "there is no default for optimizer.name " + name() + ": " + std::string(why_no_default_rate(optimizer_)), "set it");
    if (!optimizer_.weight_decay && !optimizer_.decay_timescale)
      refuse("optimizer.weight_decay is not given",
             "there is no default for optimizer.name " + name() + " and optimizer.decay " + text_of("optimizer.decay", config_) +
                 ": " + std::string(why_no_default_decay(optimizer_)),
             "set it");
  }

  void decay() {
    const DecayMode decay = *optimizer_.decay;
    const bool beside_update = decay == DecayMode::decoupled || decay == DecayMode::independent || decay == DecayMode::normalized ||
                               decay == DecayMode::cautious;
    const std::string what = here("optimizer.decay");
    if (is({adam}) && beside_update) refuse(what, "decay beside Adam's update is AdamW", "set optimizer.name=adamw");
    if (is({sgd}) && beside_update) refuse(what, "decay beside SGD's update is SGDW", "set optimizer.name=sgdw");
    if (is({adamw, adamc}) && decay == DecayMode::l2) refuse(what, "AdamW with L2 is Adam", "set optimizer.name=adam");
    if (is({sgdw}) && decay == DecayMode::l2) refuse(what, "SGDW with L2 is SGD", "set optimizer.name=sgd");
    if (decay == DecayMode::scale_adjusted && !is({adam, adamw, adamc}))
      refuse(what, "L2 adjusted by the second moment needs one that scales the whole update",
             "use adam or adamw, or optimizer.decay=l2");
    if (optimizer_.decay_timescale) timescale(decay, beside_update);
    if (decay == DecayMode::normalized && !config_.train.steps && !config_.train.tokens)
      refuse(what, "it divides by the root of the run's number of updates, which is not given", "set train.steps or train.tokens");
  }

  void timescale(DecayMode decay, bool beside_update) {
    const std::string what =
        "optimizer.decay_timescale is " + text_of("optimizer.decay_timescale", config_) + " and " + here("optimizer.decay");
    if (!beside_update)
      return refuse(what, decay == DecayMode::none ? "nothing decays" : "what a weight loses then depends on its gradients too",
                    decay == DecayMode::none ? "remove it" : "give optimizer.weight_decay, or use decoupled or independent decay");
    if (decay == DecayMode::normalized && config_.schedule.name == ScheduleName::restarts)
      return refuse(what, "under schedule.name restarts it would change from cycle to cycle", "use independent decay");
    const Timescale given = *parse_timescale(*optimizer_.decay_timescale);
    const std::int64_t run = total_steps(config_);  // 0: not given
    const double steps = given.number * (given.unit == Timescale::Unit::runs ? static_cast<double>(run) : 1.0);
    if (given.unit != Timescale::Unit::epochs && run > 0 && steps < 1.0)
      refuse(what + (given.unit == Timescale::Unit::runs ? " in a run of " + std::to_string(run) + " steps" : ""),
             "no update can take more than all of a weight", "give at least 1 step");
  }

  void schedule_free() {
    if (is({schedule_free_adamw}) && config_.eval.weight_average > 0.0)
      refuse("eval.weight_average is " + text_of("eval.weight_average", config_) + " with optimizer.name " + name(),
             "it evaluates and saves an average of its own already", "set eval.weight_average to 0");
  }

  void norm_control() {
    const NormControlChoice control = *optimizer_.norm_control;
    const std::string what = here("optimizer.norm_control");
    if (is({lionar}) && control != NormControlChoice::rotational)
      return refuse(what, "LionAR is LionA under rotational control",
                    control == NormControlChoice::none ? "set optimizer.name=liona" : "use liona with relative control");
    if (is({adamh}) && control != NormControlChoice::relative)
      return refuse(what, "AdamH is Adam under relative control", "set optimizer.name=adamw");
    if (control == NormControlChoice::none) return;
    if (is({liona}) && control == NormControlChoice::rotational)
      return refuse(what, "LionA under rotational control is LionAR", "set optimizer.name=lionar");
    if (is({adam, adamw, adamc}) && control == NormControlChoice::relative)
      return refuse(what, "Adam under relative control is AdamH", "set optimizer.name=adamh");
    if (is({muon})) return refuse(what, "orthogonalised updates have a norm of their own", "remove it, or use adamh");
    if (is({schedule_free_adamw}))
      return refuse(what, "an average of weights does not keep the norm that they are held at", "remove it, or use adamw");
    if (control == NormControlChoice::relative) {
      if (is({sgdw}) && optimizer_.momentum_includes_rate && optimizer_.momentum > 0.0)
        refuse(what, "a direction's length does not count, and with it the rate that the momentum holds",
               "set optimizer.momentum_includes_rate=false");
      return;
    }
    if (is({adam, ademamix})) return refuse(what, "no equilibrium angle is known for it", "use adamw, lionar, lion, sgd or sgdw");
    if (optimizer_.weight_decay == 0.0)
      refuse("optimizer.weight_decay is 0 under rotational control", "the decay sets the angle, so nothing would turn",
             "set it above 0, or optimizer.norm_control=none" + std::string(is({lionar}) ? " with optimizer.name=liona" : ""));
    const bool sets_angle = optimizer_.decay == DecayMode::decoupled || optimizer_.decay == DecayMode::independent ||
                            optimizer_.decay == DecayMode::normalized || (is({sgd}) && optimizer_.decay == DecayMode::l2);
    if (!sets_angle)
      refuse(here("optimizer.decay") + " under rotational control", "it does not say what angle balances it",
             is({sgd}) ? "use l2" : "use decoupled, independent or normalized");
    const auto decays_on = [&](const char* kind) {
      return std::find(optimizer_.decay_on->begin(), optimizer_.decay_on->end(), kind) != optimizer_.decay_on->end();
    };
    if (!decays_on("matrices") && !(decays_on("embeddings") && optimizer_.rotation_embeddings))
      refuse("optimizer.decay_on is " + text_of("optimizer.decay_on", config_) + " under rotational control",
             "the decay sets the angle, and no matrix has any", "add matrices");
  }

  void momentum() {
    if (is({sgd}) && optimizer_.nesterov && optimizer_.dampening > 0.0)
      refuse("optimizer.nesterov is true and optimizer.dampening " + text_of("optimizer.dampening", config_),
             "Nesterov's step is the undamped gradient at the point ahead", "set one of them back");
    const bool without = uses_momentum(optimizer_.name) && optimizer_.momentum == 0.0;
    if (!without) return;
    const std::string what = "optimizer.momentum is 0";
    if (optimizer_.dampening > 0.0)
      refuse(what + " and optimizer.dampening " + text_of("optimizer.dampening", config_), "there is no momentum to be damped",
             "set dampening to 0");
    if (config_.schedule.momentum_warmup_steps > 0 || config_.schedule.momentum_cooldown_steps > 0)
      refuse(what + " and schedule.momentum_warmup_steps " + text_of("schedule.momentum_warmup_steps", config_) +
                 ", schedule.momentum_cooldown_steps " + text_of("schedule.momentum_cooldown_steps", config_),
             "a momentum of 0 has nowhere to go", "set both to 0 or the momentum above 0");
  }

  void rate_correction() {
    if (optimizer_.rate_correction == RateCorrectionChoice::none) return;
    const std::string what = here("optimizer.rate_correction");
    if (is({schedule_free_adamw}))
      return refuse(what, "its average weighs each point by one rate, and corrected rates are each tensor's own", "use adamw");
    if (is({lion}))
      return refuse(what, "it holds for a gradient or one average of them, and Lion's direction is made of two",
                    "use nesterov_lion, liona or lionar");
    if (is({muon})) return refuse(what, "it holds for directions that are not orthogonalised", "use adamw or lionar");
    if (is({ademamix}) && optimizer_.rate_correction == RateCorrectionChoice::momentum)
      return refuse(what, "the direction has two averages, and the correction is for one",
                    "set optimizer.rate_correction=gradient, or use adamw");
    if (is({sgdw}) && optimizer_.momentum_includes_rate)
      return refuse(what, "the momentum holds rates beside gradients", "set optimizer.momentum_includes_rate=false");
    if (optimizer_.dampening > 0.0)
      refuse(what + " and optimizer.dampening " + text_of("optimizer.dampening", config_),
             "the first gradient counts more than it does in an average", "set dampening to 0");
  }

  /// Settings whose effect changes with the width in a way for which no power of it makes up.
  void width() {
    const bool follows_gradient = traits_of(optimizer_.name).update_size == UpdateSize::gradient;
    const std::string base = " with model.mup_base_width " + text_of("model.mup_base_width", config_);
    if (optimizer_.decay == DecayMode::l2 && !follows_gradient)
      refuse(here("optimizer.decay") + base, "an update does not grow with the gradient, so what L2 takes from a weight has no law",
             "use adamw, or another decay");
    if (follows_gradient && optimizer_.grad_clip > 0.0)
      refuse(here("optimizer.grad_clip") + base, "gradients shrink as the width grows, and what is cut off updates with them",
             "set optimizer.grad_clip=0");
    if (optimizer_.rotation_gains && optimizer_.norm_control == NormControlChoice::rotational)
      refuse("optimizer.rotation_gains is true" + base,
             "norms of rows of different kinds grow differently, and one rate trains all", "set it to false");
  }

  const RunConfig config_;
  const OptimizerConfig& optimizer_;
  std::vector<std::string>& problems_;
};

}  // namespace

void check_optimizer(const RunConfig& config, std::vector<std::string>& problems) { Checks(config, problems).run(); }

}  // namespace temper
