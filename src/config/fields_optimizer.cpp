// Rows of the optimizer. What each name implies stands in config/optimizer_defaults.h.
#include "config/field_rows.h"
#include "config/parameter_kind.h"

namespace temper {

void add_optimizer_fields(std::vector<Field>& fields) {
  using enum ResumeClass;
  const std::vector<Field> rows = {
      {"optimizer.name",
       choice([](auto& c) -> auto& { return c.optimizer.name; },
              {"sgd", "sgdw", "adam", "adamw", "lion", "nesterov_lion", "liona", "lionar", "adamh", "muon", "ademamix",
               "schedule_free_adamw"}),
       trajectory, "update rule; the keys below change single parts of it"},
      {"optimizer.learning_rate",
       NumberKind{NumberMember([](auto& c) -> auto& { return c.optimizer.learning_rate; }), 0, 1000, true}, trajectory,
       "peak learning rate, which the schedule scales"},
      {"optimizer.other_learning_rate",
       NumberKind{NumberMember([](auto& c) -> auto& { return c.optimizer.other_learning_rate; }), 0, 1000, true, false, -1.0},
       trajectory,
       "muon, adamh: peak learning rate of the tensors that AdamW trains (embeddings, biases, layernorms); not given: "
       "learning_rate"},
      {"optimizer.beta1", NumberKind{NumberMember([](auto& c) -> auto& { return c.optimizer.beta1; }), 0, 1, false, true, -1.0},
       trajectory, "decay rate of Adam's first moment, or Lion's share of the moment in a direction, per step; not given: 0.9"},
      {"optimizer.beta2", NumberKind{NumberMember([](auto& c) -> auto& { return c.optimizer.beta2; }), 0, 1, false, true, -1.0},
       trajectory,
       "decay rate of Adam's second moment, or of Lion's moment, per step; not given: 0.95, for ademamix and schedule_free_adamw "
       "0.999, "
       "for lion 0.99"},
      {"optimizer.beta3", NumberKind{NumberMember([](auto& c) -> auto& { return c.optimizer.beta3; }), 0, 1, false, true},
       trajectory, "ademamix: decay rate of the slow moment, per step"},
      {"optimizer.momentum",
       NumberKind{NumberMember([](auto& c) -> auto& { return c.optimizer.momentum; }), 0, 1, false, true, -1.0}, trajectory,
       "sgd, sgdw, nesterov_lion, liona, lionar, muon: decay rate of the moment, per step; not given: 0.9, for muon 0.95"},
      {"optimizer.nesterov", BooleanKind{BooleanMember([](auto& c) -> auto& { return c.optimizer.nesterov; })}, trajectory,
       "sgd, sgdw, liona, lionar: the direction is the moment one step ahead"},
      {"optimizer.dampening", NumberKind{NumberMember([](auto& c) -> auto& { return c.optimizer.dampening; }), 0, 1}, trajectory,
       "sgd: the moment takes 1 - dampening of a gradient, of the first one all"},
      {"optimizer.momentum_includes_rate",
       BooleanKind{BooleanMember([](auto& c) -> auto& { return c.optimizer.momentum_includes_rate; })}, trajectory,
       "sgdw: the moment collects rate x gradient, as in the paper; false: gradients, as in its authors' program"},
      {"optimizer.eps", NumberKind{NumberMember([](auto& c) -> auto& { return c.optimizer.eps; }), 0, 1, true}, trajectory,
       "added to the root of the second moment"},
      {"optimizer.eps_placement", choice([](auto& c) -> auto& { return c.optimizer.eps_placement; }, {"outside", "inside"}),
       trajectory,
       "adam family: eps is added after the second moment's bias is corrected (outside, as in PyTorch) or before (inside, as in "
       "Keras)"},
      {"optimizer.bias_correction", choice([](auto& c) -> auto& { return c.optimizer.bias_correction; }, {"both", "second"}),
       trajectory, "adam family: the moments whose start at 0 is corrected; second leaves early updates small"},
      {"optimizer.inverse_bias_correction",
       choice([](auto& c) -> auto& { return c.optimizer.inverse_bias_correction; }, {"none", "linear", "root"}), trajectory,
       "nesterov_lion, liona, lionar: early rates are multiplied by 1 - momentum^t (linear) or sqrt(1 - momentum^(2t)) (root)"},
      {"optimizer.sign_scale", choice([](auto& c) -> auto& { return c.optimizer.sign_scale; }, {"noise", "norm_matched", "one"}),
       trajectory,
       "liona, lionar: size of an update's elements: noise is what AdamW's have where gradients are noise, norm_matched gives "
       "weights "
       "AdamW's "
       "norm too, one is Lion's"},

      {"optimizer.weight_decay", NumberKind{NumberMember([](auto& c) -> auto& { return c.optimizer.weight_decay; }), 0, 1000},
       trajectory, "strength of weight decay; what it means depends on decay, so never compare it across modes"},
      {"optimizer.decay",
       choice([](auto& c) -> auto& { return c.optimizer.decay; },
              {"by_name", "none", "l2", "decoupled", "independent", "normalized", "scale_adjusted", "cautious"}),
       trajectory,
       "how weights w decay, d = weight_decay: by_name is l2 for sgd and adam, independent for sgdw, else decoupled; l2 adds d w "
       "to the gradient; decoupled takes rate x d x w (torch.optim.AdamW); "
       "independent takes d x w, scaled by the schedule alone (Loshchilov and Hutter); normalized is independent with d / "
       "sqrt(steps of "
       "the run or cycle); scale_adjusted adds d / peak rate x w x preconditioner to the gradient; cautious is decoupled where the "
       "update moves w towards 0"},
      {"optimizer.l2_stage", choice([](auto& c) -> auto& { return c.optimizer.l2_stage; }, {"before_clipping", "after_clipping"}),
       trajectory,
       "l2: whether the gradient is clipped with the decay in it (as a term of the loss) or without (as torch.optim does)"},
      {"optimizer.decay_schedule",
       choice([](auto& c) -> auto& { return c.optimizer.decay_schedule; }, {"constant", "follow_rate", "linear", "cosine"}),
       trajectory,
       "what weight_decay is multiplied with over the run: 1, the rate's share of its peak, or a linear or cosine fall to 0"},
      {"optimizer.decay_on",
       TextListKind{TextsMember([](auto& c) -> auto& { return c.optimizer.decay_on; }),
                    {parameter_kind_names.begin(), parameter_kind_names.end()}},
       trajectory, "kinds of parameters that decay"},
      {"optimizer.decay_factors", TextListKind{TextsMember([](auto& c) -> auto& { return c.optimizer.decay_factors; }), {}, true},
       trajectory, "what weight_decay is multiplied with for tensors whose names match; the last match counts"},
      {"optimizer.rate_factors", TextListKind{TextsMember([](auto& c) -> auto& { return c.optimizer.rate_factors; }), {}, true},
       trajectory, "what the rate is multiplied with for tensors whose names match; the last match counts"},
      {"optimizer.depth_rate_factor",
       NumberKind{NumberMember([](auto& c) -> auto& { return c.optimizer.depth_rate_factor; }), 0, 10, true}, trajectory,
       "the rate of block l, counted from 0, is multiplied by this to the power of n_layer-1-l"},

      {"optimizer.grad_clip", NumberKind{NumberMember([](auto& c) -> auto& { return c.optimizer.grad_clip; }), 0}, trajectory,
       "largest gradient, as clip_mode measures it; larger ones are cut down to it; 0: off"},
      {"optimizer.clip_mode", choice([](auto& c) -> auto& { return c.optimizer.clip_mode; }, {"global", "tensor", "value"}),
       trajectory, "what grad_clip bounds: the norm of all gradients together, each tensor's, or each element"},

      {"optimizer.norm_control",
       choice([](auto& c) -> auto& { return c.optimizer.norm_control; }, {"by_name", "none", "rotational", "relative"}), trajectory,
       "holds norms of weights: rotational turns them by an angle that follows from rate and decay (lionar), relative makes steps "
       "of a "
       "given share of them (adamh)"},
      {"optimizer.norm_granularity",
       choice([](auto& c) -> auto& { return c.optimizer.norm_granularity; }, {"by_name", "row", "matrix"}), trajectory,
       "whose norm is held: each row's (by_name: lionar) or each matrix's (adamh)"},
      {"optimizer.rotation_zero_mean", BooleanKind{BooleanMember([](auto& c) -> auto& { return c.optimizer.rotation_zero_mean; })},
       trajectory, "rotational: weights of a row and their updates have mean 0"},
      {"optimizer.rotation_averaging",
       NumberKind{NumberMember([](auto& c) -> auto& { return c.optimizer.rotation_averaging; }), 0, 1, false, true}, trajectory,
       "rotational: decay rate of the average of the updates' norms, by which the angle is measured; 0: the same angle every step"},
      {"optimizer.rotation_embeddings",
       BooleanKind{BooleanMember([](auto& c) -> auto& { return c.optimizer.rotation_embeddings; })}, trajectory,
       "rotational: embeddings are controlled too"},
      {"optimizer.rotation_schedule", choice([](auto& c) -> auto& { return c.optimizer.rotation_schedule; }, {"root", "linear"}),
       trajectory, "rotational: the angle follows the root of the schedule, or the schedule"},
      {"optimizer.rate_correction",
       choice([](auto& c) -> auto& { return c.optimizer.rate_correction; }, {"none", "gradient", "momentum"}), trajectory,
       "lowers each tensor's rate where its gradients agree, by their measured signal-to-noise ratio: the formula for a plain "
       "gradient "
       "or the one with momentum"},
      {"optimizer.rate_correction_smoothing",
       NumberKind{NumberMember([](auto& c) -> auto& { return c.optimizer.rate_correction_smoothing; }), 0, 1, false, true},
       trajectory, "rate_correction: decay rate of the averages of signal and noise"},

      {"optimizer.ademamix_alpha", NumberKind{NumberMember([](auto& c) -> auto& { return c.optimizer.ademamix_alpha; }), 0, 1000},
       trajectory, "ademamix: weight of the slow moment"},
      {"optimizer.ademamix_warmup_steps",
       IntegerKind{IntegerMember([](auto& c) -> auto& { return c.optimizer.ademamix_warmup_steps; }), 0, most_steps}, trajectory,
       "ademamix: steps over which ademamix_alpha and beta3 grow to their values; 0: there from the start"},
      {"optimizer.averaging_power", NumberKind{NumberMember([](auto& c) -> auto& { return c.optimizer.averaging_power; }), 0, 100},
       trajectory, "schedule_free_adamw: the point of step t counts t to this power in the average"},
      {"optimizer.muon_iterations", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.optimizer.muon_iterations; }), 1, 50},
       trajectory, "muon: Newton-Schulz iterations that orthogonalise an update"},
      {"optimizer.muon_scale", choice([](auto& c) -> auto& { return c.optimizer.muon_scale; }, {"shape", "match_rms"}), trajectory,
       "muon: size of an update: shape sqrt(max(1, rows/columns)), match_rms 0.2 sqrt(max(rows, columns)), as large as AdamW's"},
  };
  fields.insert(fields.end(), rows.begin(), rows.end());
}

}  // namespace temper
