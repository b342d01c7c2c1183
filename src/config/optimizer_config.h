// The optimizer: what each name means, and all keys of the section. A new name is an enumerator and a row of `optimizers`; a new
// key is a member of OptimizerConfig and a row of its declare().
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/parameter_kind.h"
#include "config/row.h"

namespace temper {

/// Named settings of the update pipeline (optim/pipeline.h).
enum class OptimizerName {
  sgd,
  sgdw,
  adam,
  adamw,
  adamc,
  lion,
  nesterov_lion,
  liona,
  lionar,
  adamh,
  muon,
  ademamix,
  schedule_free_adamw,
};
/// With lambda = weight_decay, lr_k the rate, s_k the schedule's multiplier, w the weight before the update.
enum class DecayMode {
  none,
  l2,              ///< lambda w is added to the gradient
  decoupled,       ///< w loses lr_k lambda of itself (torch.optim.AdamW)
  independent,     ///< w loses s_k lambda of itself (Loshchilov & Hutter)
  normalized,      ///< independent with lambda / sqrt(updates of the run, or of the restart cycle)
  scale_adjusted,  ///< lambda / peak rate times w times the preconditioner is added to the gradient
  cautious,        ///< decoupled, only where the update moves the weight towards 0
};
enum class L2Stage { before_clipping, after_clipping };
enum class DecaySchedule { constant, follow_rate, linear, cosine };
enum class ClipMode { global, tensor, value };
enum class BiasCorrection { both, second };
enum class EpsilonPlacement { outside, inside };
/// What the rate of a sign update is multiplied with early on, b = momentum.
enum class InverseBiasCorrection {
  none,
  linear,  ///< 1 - b^t
  root,    ///< sqrt(1 - b^(2t))
};
/// Size of LionA's updates.
enum class SignScale {
  noise,         ///< sqrt((1-b)/(1+b)): what an AdamW update has where gradients are noise
  norm_matched,  ///< that, divided by what weights come out smaller than under AdamW
  one,
};
enum class NormControlChoice { none, rotational, relative };
enum class Granularity { row, matrix };
enum class RotationSchedule {
  root,    ///< the rate stands inside the root of the angle
  linear,  ///< the angle follows the schedule
};
enum class RateCorrectionChoice { none, gradient, momentum };
enum class MuonScale {
  shape,      ///< sqrt(max(1, rows/columns))
  match_rms,  ///< 0.2 sqrt(max(rows, columns)): updates as large as AdamW's
};

/// What the size of an update's elements follows: by it rates change with the width under model.mup_base_width (optim/pipeline.h).
enum class UpdateSize {
  rate,        ///< the rate alone, as Adam's and those of signs
  gradient,    ///< the gradient
  orthogonal,  ///< of block matrices their shape, as Muon's, of the rest the rate alone
};

/// What an optimizer's name means before any key says otherwise.
struct OptimizerTraits {
  OptimizerName name;
  std::string_view text;                        ///< as configurations spell it
  std::string_view reads;                       ///< of the keys that say read_by(optimizers), those that it reads
  std::optional<double> learning_rate = 6e-4;   ///< nothing: no default can be right
  std::optional<double> decoupled_decay = 0.1;  ///< weight_decay where it is multiplied with the rate
  double beta1 = 0.9, beta2 = 0.95, momentum = 0.9;
  DecayMode decay = DecayMode::decoupled;
  DecaySchedule decay_schedule = DecaySchedule::constant;
  bool embeddings_decay = true;
  NormControlChoice norm_control = NormControlChoice::none;
  UpdateSize update_size = UpdateSize::rate;
};

/// In the enumerators' order. Rates and decays are those of GPT-2 with 124M parameters; under decoupled decay a weight loses 6e-5
/// of itself at the peak rate, whatever the name.
inline constexpr OptimizerTraits optimizers[] = {
    {.name = OptimizerName::sgd,
     .text = "sgd",
     .reads = "momentum nesterov dampening",
     .learning_rate = {},
     .decoupled_decay = {},
     .decay = DecayMode::l2,
     .update_size = UpdateSize::gradient},
    {.name = OptimizerName::sgdw,
     .text = "sgdw",
     .reads = "momentum nesterov momentum_includes_rate",
     .learning_rate = {},
     .decoupled_decay = {},
     .decay = DecayMode::independent,
     .update_size = UpdateSize::gradient},
    {.name = OptimizerName::adam, .text = "adam", .reads = "beta1 beta2 eps eps_placement bias_correction", .decay = DecayMode::l2},
    {.name = OptimizerName::adamw, .text = "adamw", .reads = "beta1 beta2 eps eps_placement bias_correction"},
    // Defazio, arXiv 2506.02285: weights that a normalization follows lose rate^2 / peak rate x weight_decay. The paper's other
    // decayed layer, the output layer, loses rate x weight_decay; here it is the token embedding, which does not decay.
    {.name = OptimizerName::adamc,
     .text = "adamc",
     .reads = "beta1 beta2 eps eps_placement bias_correction",
     .decay_schedule = DecaySchedule::follow_rate,
     .embeddings_decay = false},
    // Chen et al. want a rate 3 to 10 times smaller and a decay as much larger than AdamW's.
    {.name = OptimizerName::lion,
     .text = "lion",
     .reads = "beta1 beta2",
     .learning_rate = 1e-4,
     .decoupled_decay = 0.6,
     .beta2 = 0.99},
    {.name = OptimizerName::nesterov_lion,
     .text = "nesterov_lion",
     .reads = "momentum inverse_bias_correction",
     .learning_rate = 1e-4,
     .decoupled_decay = 0.6},
    // Updates of the size of AdamW's, which is what LionA is for.
    {.name = OptimizerName::liona, .text = "liona", .reads = "momentum nesterov inverse_bias_correction sign_scale"},
    {.name = OptimizerName::lionar,
     .text = "lionar",
     .reads = "momentum nesterov inverse_bias_correction sign_scale",
     .norm_control = NormControlChoice::rotational},
    {.name = OptimizerName::adamh,
     .text = "adamh",
     .reads = "other_learning_rate beta1 beta2 eps eps_placement bias_correction",
     .learning_rate = {},
     .norm_control = NormControlChoice::relative},
    // With muon_scale match_rms; for `shape` see default_learning_rate().
    {.name = OptimizerName::muon,
     .text = "muon",
     .reads = "other_learning_rate momentum beta1 beta2 eps muon_iterations muon_scale",
     .momentum = 0.95,
     .update_size = UpdateSize::orthogonal},
    {.name = OptimizerName::ademamix,
     .text = "ademamix",
     .reads = "beta1 beta2 beta3 eps ademamix_alpha ademamix_warmup_steps",
     .beta2 = 0.999},
    // The rate is its authors'.
    {.name = OptimizerName::schedule_free_adamw,
     .text = "schedule_free_adamw",
     .reads = "beta1 beta2 eps eps_placement averaging_power",
     .learning_rate = 2.5e-3,
     .decoupled_decay = 0.024,
     .beta2 = 0.999},
};

constexpr const OptimizerTraits& traits_of(OptimizerName name) { return optimizers[static_cast<std::size_t>(name)]; }

struct OptimizerConfig {
  OptimizerName name = OptimizerName::adamw;
  // What is not given follows from the name: resolved_optimizer().
  std::optional<double> learning_rate, other_learning_rate;
  std::optional<double> beta1, beta2;
  double beta3 = 0.9999;
  std::optional<double> momentum;
  bool nesterov = false;
  double dampening = 0.0;
  bool momentum_includes_rate = true;
  double eps = 1e-8;
  EpsilonPlacement eps_placement = EpsilonPlacement::outside;
  BiasCorrection bias_correction = BiasCorrection::both;
  InverseBiasCorrection inverse_bias_correction = InverseBiasCorrection::none;
  SignScale sign_scale = SignScale::noise;

  std::optional<double> weight_decay;
  std::optional<std::string> decay_timescale;  ///< in place of weight_decay (config/value.h); settled_optimizer() turns it into one
  std::optional<DecayMode> decay;
  L2Stage l2_stage = L2Stage::after_clipping;
  std::optional<DecaySchedule> decay_schedule;
  std::optional<std::vector<std::string>> decay_on;
  std::vector<std::string> decay_factors, rate_factors;
  double depth_rate_factor = 1.0;

  double grad_clip = 1.0;
  ClipMode clip_mode = ClipMode::global;

  std::optional<NormControlChoice> norm_control;
  std::optional<Granularity> norm_granularity;
  bool rotation_zero_mean = true;
  double rotation_averaging = 0.9;
  bool rotation_embeddings = true;
  RotationSchedule rotation_schedule = RotationSchedule::root;
  bool rotation_gains = false;
  RateCorrectionChoice rate_correction = RateCorrectionChoice::none;
  double rate_correction_smoothing = 0.95;

  double ademamix_alpha = 8.0;
  std::int64_t ademamix_warmup_steps = 0;
  double averaging_power = 0.0;
  std::int64_t muon_iterations = 5;
  MuonScale muon_scale = MuonScale::shape;

  static void declare(auto& rows) {
    using Self = OptimizerConfig;
    using namespace row;
    const std::vector<std::string_view> kinds(parameter_kind_names.begin(), parameter_kind_names.end());
    const auto rotational = [](const auto& c) { return c.optimizer.norm_control == NormControlChoice::rotational; };
    const auto decays = [](const auto& c) { return c.optimizer.decay != DecayMode::none; };
    const char* const with_rotation = "norm_control rotational";
    const char* const with_decay = "decay other than none";

    rows("name", &Self::name, one_of(texts_of(optimizers)), "update rule; the keys below change single parts of it");
    rows("learning_rate", &Self::learning_rate, also_called("lr max_lr"), above(0), to(1000),
         "peak learning rate, which the schedule scales");
    rows("other_learning_rate", &Self::other_learning_rate, above(0), to(1000), read_by(optimizers),
         "peak learning rate of the tensors that AdamW trains (embeddings, biases, layernorms); muon with muon_scale match_rms: "
         "as learning_rate");
    rows("beta1", &Self::beta1, also_called("betas adam_beta1"), from(0), below(1), read_by(optimizers),
         "decay rate of Adam's first moment, or Lion's share of the moment in a direction, per step");
    rows("beta2", &Self::beta2, also_called("betas adam_beta2"), from(0), below(1), read_by(optimizers),
         "decay rate of Adam's second moment, or of Lion's moment, per step");
    rows("beta3", &Self::beta3, from(0), below(1), read_by(optimizers), "decay rate of the slow moment, per step");
    rows("momentum", &Self::momentum, also_called("mu beta"), from(0), below(1), read_by(optimizers),
         "decay rate of the moment, per step");
    rows("nesterov", &Self::nesterov, read_by(optimizers), "the direction is the moment one step ahead");
    rows("dampening", &Self::dampening, from(0), to(1), read_by(optimizers),
         "the moment takes 1 - dampening of a gradient, of the first one all");
    rows("momentum_includes_rate", &Self::momentum_includes_rate, read_by(optimizers),
         "the moment collects rate x gradient, as in the paper; false: gradients, as in its authors' program");
    rows("eps", &Self::eps, also_called("epsilon"), above(0), to(1), read_by(optimizers), "added to the root of the second moment");
    rows("eps_placement", &Self::eps_placement, one_of({"outside", "inside"}), read_by(optimizers),
         "eps is added after the second moment's bias is corrected (outside, as in PyTorch) or before (inside, as in Keras); "
         "schedule_free_adamw: inside as in its paper, with the correction in the rate");
    rows("bias_correction", &Self::bias_correction, one_of({"both", "second"}), read_by(optimizers),
         "the moments whose start at 0 is corrected; second leaves early updates small");
    rows("inverse_bias_correction", &Self::inverse_bias_correction, one_of({"none", "linear", "root"}), read_by(optimizers),
         "early rates are multiplied by 1 - momentum^t (linear) or sqrt(1 - momentum^(2t)) (root)");
    rows("sign_scale", &Self::sign_scale, one_of({"noise", "norm_matched", "one"}), read_by(optimizers),
         "size of an update's elements: noise is what AdamW's have where gradients are noise, norm_matched gives weights AdamW's "
         "norm too, one is Lion's");

    rows("weight_decay", &Self::weight_decay, also_called("wd"), from(0), to(1000), either("decay"), read_by(with_decay, decays),
         or_ignored, "strength of weight decay; what it means depends on decay, so never compare it across modes");
    rows(
        "decay_timescale", &Self::decay_timescale, timescale, either("decay"),
        "in place of weight_decay: 1 / (what a weight loses of itself in an update at the peak rate), \"2000 steps\", \"1.5 epochs\" "
        "of data.train or \"0.3 runs\" (Wang and Aitchison); with decay decoupled or cautious weight_decay is 1 / (steps x "
        "learning_rate)");
    rows("decay", &Self::decay, one_of({"none", "l2", "decoupled", "independent", "normalized", "scale_adjusted", "cautious"}),
         "how weights w decay, d = weight_decay: l2 adds d w to the gradient; decoupled takes rate x d x w (torch.optim.AdamW); "
         "independent takes d x w, scaled by the schedule alone (Loshchilov and Hutter); normalized is independent with d / "
         "sqrt(steps of the run or cycle); scale_adjusted adds d / peak rate x w x preconditioner to the gradient; cautious is "
         "decoupled where the update moves w towards 0");
    rows("l2_stage", &Self::l2_stage, one_of({"before_clipping", "after_clipping"}),
         read_by("decay l2", [](const auto& c) { return c.optimizer.decay == DecayMode::l2; }),
         "whether the gradient is clipped with the decay in it (as a term of the loss) or without (as torch.optim does)");
    rows("decay_schedule", &Self::decay_schedule, one_of({"constant", "follow_rate", "linear", "cosine"}),
         read_by(with_decay, decays),
         "what weight_decay is multiplied by over the run: 1, the rate's share of its peak, or a linear or cosine fall to 0");
    rows("decay_on", &Self::decay_on, one_of(kinds), read_by(with_decay, decays), or_ignored, "kinds of parameters that decay");
    rows("decay_factors", &Self::decay_factors, glob_factors, read_by(with_decay, decays),
         "what weight_decay is multiplied by for tensors whose names match; the last match counts");
    rows("rate_factors", &Self::rate_factors, glob_factors,
         "what the rate is multiplied by for tensors whose names match; the last match counts");
    rows("depth_rate_factor", &Self::depth_rate_factor, also_called("layer_decay"), above(0), to(10),
         "the rate of block l, counted from 0, is multiplied by this to the power of n_layer-1-l");

    rows("grad_clip", &Self::grad_clip, also_called("clip clip_grad max_grad_norm gradient_clipping"), from(0),
         "largest gradient, as clip_mode measures it; larger ones are cut down to it; 0: off");
    rows("clip_mode", &Self::clip_mode, one_of({"global", "tensor", "value"}),
         read_by("grad_clip above 0", [](const auto& c) { return c.optimizer.grad_clip > 0.0; }),
         "what grad_clip bounds: the norm of all gradients together, each tensor's, or each element");

    rows("norm_control", &Self::norm_control, one_of({"none", "rotational", "relative"}),
         "holds norms of weights: rotational turns them by an angle that follows from rate and decay, relative makes steps of a "
         "given share of them");
    rows("norm_granularity", &Self::norm_granularity, one_of({"row", "matrix"}),
         read_by("norm_control rotational or relative",
                 [](const auto& c) { return c.optimizer.norm_control != NormControlChoice::none; }),
         "whose norm is held: each row's (under rotational control unless given) or each matrix's (under relative control)");
    rows("rotation_zero_mean", &Self::rotation_zero_mean, read_by(with_rotation, rotational),
         "weights of a row and their updates have mean 0");
    rows("rotation_averaging", &Self::rotation_averaging, from(0), below(1), read_by(with_rotation, rotational),
         "decay rate of the average of the updates' norms, by which the angle is measured; 0: the same angle every step");
    rows("rotation_embeddings", &Self::rotation_embeddings, read_by(with_rotation, rotational), "embeddings are controlled too");
    rows("rotation_schedule", &Self::rotation_schedule, one_of({"root", "linear"}), read_by(with_rotation, rotational),
         "the angle follows the root of the schedule, or the schedule");
    rows("rotation_gains", &Self::rotation_gains, as_before({false}),
         read_by("norm_control rotational with norm_granularity row",
                 [](const auto& c) {
                   return c.optimizer.norm_control == NormControlChoice::rotational &&
                          c.optimizer.norm_granularity == Granularity::row;
                 }),
         "norms of rows are trained, each by Adam of its own, in place of held: the learnable gains of epfml/REQ's GPT-2");
    rows("rate_correction", &Self::rate_correction, one_of({"none", "gradient", "momentum"}),
         "lowers each tensor's rate where its gradients agree, by their measured signal-to-noise ratio: the formula for a plain "
         "gradient or the one with momentum");
    rows("rate_correction_smoothing", &Self::rate_correction_smoothing, from(0), below(1),
         read_by("rate_correction gradient or momentum",
                 [](const auto& c) { return c.optimizer.rate_correction != RateCorrectionChoice::none; }),
         "decay rate of the averages of signal and noise");

    rows("ademamix_alpha", &Self::ademamix_alpha, also_called("alpha"), from(0), to(1000), read_by(optimizers),
         "weight of the slow moment");
    rows("ademamix_warmup_steps", &Self::ademamix_warmup_steps, from(0), read_by(optimizers),
         "steps over which ademamix_alpha and beta3 grow to their values; 0: there from the start");
    rows("averaging_power", &Self::averaging_power, from(0), to(100), read_by(optimizers),
         "the point of step t counts t to this power in the average");
    rows("muon_iterations", &Self::muon_iterations, also_called("ns_steps"), from(1), to(50), read_by(optimizers),
         "Newton-Schulz iterations that orthogonalise an update");
    rows("muon_scale", &Self::muon_scale, also_called("adjust_lr_fn"), one_of({"shape", "match_rms"}), read_by(optimizers),
         "size of an update: shape sqrt(max(1, rows/columns)), match_rms 0.2 sqrt(max(rows, columns)), as large as AdamW's");
  }
};

/// The configuration with what is not given filled in from its name. learning_rate and weight_decay stay empty where no default can
/// be right.
OptimizerConfig resolved_optimizer(const OptimizerConfig& config);

/// Why learning_rate, or weight_decay, has no default there; for a message.
std::string_view why_no_default_rate(const OptimizerConfig& config);
std::string_view why_no_default_decay(const OptimizerConfig& config);

/// Whether a weight's decay is larger where its tensor's rate is.
inline bool decay_follows_rate(DecayMode decay) { return decay == DecayMode::decoupled || decay == DecayMode::cautious; }

/// Whether optimizer.momentum, not optimizer.beta1, is the decay rate of the name's first moment.
inline bool uses_momentum(OptimizerName name) { return has_word(traits_of(name).reads, "momentum"); }

}  // namespace temper
