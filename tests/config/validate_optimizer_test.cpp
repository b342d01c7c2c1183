// What an optimizer's name implies, and every combination that means nothing: refused with the key, its value, the reason and the
// remedy.

#include <algorithm>
#include <functional>

#include "config/validate.h"
#include "config_files.h"

namespace temper {
namespace {

using enum OptimizerName;

using Change = std::function<void(OptimizerConfig&)>;

std::vector<std::string> problems(const RunConfig& config) {
  std::vector<std::string> found;
  check_unread(config, found);
  check_optimizer(config, found);
  return found;
}

std::vector<std::string> problems(
    OptimizerName name, const Change& change = [](auto&) {}) {
  RunConfig config = valid_config();
  config.optimizer.name = name;
  config.optimizer.learning_rate = 6e-4;
  config.optimizer.weight_decay = 0.1;
  change(config.optimizer);
  return problems(config);
}

void expect_refused(OptimizerName name, const Change& change, const std::vector<std::string>& parts) {
  const std::vector<std::string> found = problems(name, change);
  ASSERT_EQ(found.size(), 1u) << parts[0] << (found.size() > 1 ? " and " + found[1] : "");
  expect_parts(found[0], parts);
  EXPECT_NE(found[0].find("; "), std::string::npos) << "no remedy: " << found[0];
}

void expect_accepted(OptimizerName name, const Change& change) { EXPECT_EQ(problems(name, change), std::vector<std::string>()); }

const OptimizerName all_names[] = {
    sgd, sgdw, adam, adamw, adamc, lion, nesterov_lion, liona, lionar, adamh, muon, ademamix, schedule_free_adamw};

TEST(OptimizerDefaults, EveryNameIsWholeAndAccepted) {
  for (const OptimizerName name : all_names) {
    OptimizerConfig config;
    config.name = name;
    config.learning_rate = 0.25;
    const OptimizerConfig resolved = resolved_optimizer(config);
    EXPECT_EQ(resolved.other_learning_rate, name == muon || name == adamh ? 6e-4 : 0.25);  // AdamW's, where rates differ in kind
    EXPECT_EQ(resolved.beta1, 0.9);
    const bool slow = name == ademamix || name == schedule_free_adamw;
    EXPECT_EQ(resolved.beta2, slow ? 0.999 : name == lion ? 0.99 : 0.95) << static_cast<int>(name);
    EXPECT_EQ(resolved.momentum, name == muon ? 0.95 : 0.9);
    EXPECT_EQ(resolved.decay, name == sgd || name == adam ? DecayMode::l2
                              : name == sgdw              ? DecayMode::independent
                                                          : DecayMode::decoupled);
    EXPECT_EQ(resolved.norm_control, name == lionar  ? NormControlChoice::rotational
                                     : name == adamh ? NormControlChoice::relative
                                                     : NormControlChoice::none);
    EXPECT_EQ(resolved.decay_schedule, name == adamc ? DecaySchedule::follow_rate : DecaySchedule::constant);
    std::vector<std::string> decayed = {"matrices", "embeddings"};
    if (name == adamc) decayed.pop_back();
    EXPECT_EQ(resolved.decay_on, decayed);
    EXPECT_EQ(resolved.norm_granularity, name == adamh ? Granularity::matrix : Granularity::row);
    EXPECT_EQ(problems(name), std::vector<std::string>()) << static_cast<int>(name);
  }
}

TEST(OptimizerDefaults, WhatIsGivenStays) {
  OptimizerConfig config;
  config.name = muon;
  config.other_learning_rate = 0.5;
  config.beta1 = 0.0;
  config.beta2 = 0.5;
  config.momentum = 0.0;
  config.decay = DecayMode::none;
  config.norm_granularity = Granularity::matrix;
  const OptimizerConfig resolved = resolved_optimizer(config);
  EXPECT_EQ(resolved.other_learning_rate, 0.5);
  EXPECT_EQ(resolved.beta1, 0.0);
  EXPECT_EQ(resolved.beta2, 0.5);
  EXPECT_EQ(resolved.momentum, 0.0);
  EXPECT_EQ(resolved.decay, DecayMode::none);
  EXPECT_EQ(resolved.norm_granularity, Granularity::matrix);
}

TEST(OptimizerDefaults, RateAndDecayFollowNameAndKindOfDecay) {
  const auto resolved_with = [](OptimizerName name, const Change& change) {
    OptimizerConfig config;
    config.name = name;
    change(config);
    return resolved_optimizer(config);
  };
  const Change nothing = [](auto&) {};
  EXPECT_EQ(resolved_with(adamw, nothing).learning_rate, 6e-4);
  EXPECT_EQ(resolved_with(adamw, nothing).weight_decay, 0.1);
  EXPECT_EQ(resolved_with(lion, nothing).learning_rate, 1e-4);
  EXPECT_EQ(resolved_with(lion, nothing).weight_decay, 0.6);
  EXPECT_EQ(resolved_with(muon, nothing).learning_rate, 0.02);
  EXPECT_EQ(resolved_with(muon, [](auto& c) { c.muon_scale = MuonScale::match_rms; }).learning_rate, 6e-4);
  EXPECT_EQ(resolved_with(muon, [](auto& c) { c.muon_scale = MuonScale::match_rms; }).other_learning_rate, 6e-4);
  // Under decoupled decay all lose as much of a weight at the peak rate; independent decay says the same without the rate.
  for (const OptimizerTraits& traits : optimizers) {
    if (traits.learning_rate && traits.decoupled_decay) {
      EXPECT_NEAR(*traits.learning_rate * *traits.decoupled_decay, 6e-5, 1e-12) << traits.text;
    }
    const OptimizerConfig independent = resolved_with(traits.name, [](auto& c) { c.decay = DecayMode::independent; });
    EXPECT_EQ(independent.weight_decay, 6e-5) << traits.text;
    EXPECT_EQ(resolved_with(traits.name, [](auto& c) { c.decay = DecayMode::none; }).weight_decay, 0.0) << traits.text;
  }
}

TEST(OptimizerDefaults, AreRequiredWhereNoneCanBeRight) {
  const auto missing = [](OptimizerName name, const Change& change, const char* key, const char* reason) {
    RunConfig config = valid_config();
    config.optimizer = {};
    config.optimizer.name = name;
    change(config.optimizer);
    const std::vector<std::string> found = problems(config);
    ASSERT_EQ(found.size(), 1u) << key;
    expect_parts(found[0], {std::string(key) + " is not given", "no default", reason, "set it"});
  };
  missing(
      sgd, [](auto& c) { c.weight_decay = 0.1; }, "optimizer.learning_rate", "size of the gradients");
  missing(
      sgdw, [](auto&) {}, "optimizer.learning_rate", "size of the gradients");
  missing(
      adamh, [](auto&) {}, "optimizer.learning_rate", "share of its norm");
  missing(
      adam, [](auto&) {}, "optimizer.weight_decay", "L2");
  missing(
      adamw, [](auto& c) { c.decay = DecayMode::normalized; }, "optimizer.weight_decay", "number of updates");
  missing(
      muon, [](auto&) {}, "optimizer.weight_decay", "muon_scale shape");
  for (const OptimizerName name : {adamw, lion, nesterov_lion, liona, lionar, ademamix, schedule_free_adamw}) {
    RunConfig config = valid_config();
    config.optimizer = {};
    config.optimizer.name = name;
    EXPECT_EQ(problems(config), std::vector<std::string>()) << static_cast<int>(name);
  }
}

TEST(ValidateOptimizer, EachKeyGoesWithItsNames) {
  struct Key {
    const char* path;
    Change set;
    std::vector<OptimizerName> names;  // that read it
  };
  const std::vector<OptimizerName> adam_family = {adam, adamw, adamc, adamh, muon, ademamix, schedule_free_adamw};
  std::vector<OptimizerName> with_beta1 = adam_family;
  with_beta1.push_back(lion);
  const std::vector<OptimizerName> plain_adams = {adam, adamw, adamc, adamh};
  std::vector<OptimizerName> with_placement = plain_adams;
  with_placement.push_back(schedule_free_adamw);
  const Key keys[] = {
      {"optimizer.other_learning_rate", [](auto& c) { c.other_learning_rate = 0.1; }, {muon, adamh}},
      {"optimizer.beta1", [](auto& c) { c.beta1 = 0.8; }, with_beta1},
      {"optimizer.beta2", [](auto& c) { c.beta2 = 0.8; }, with_beta1},
      {"optimizer.momentum", [](auto& c) { c.momentum = 0.8; }, {sgd, sgdw, nesterov_lion, liona, lionar, muon}},
      {"optimizer.beta3", [](auto& c) { c.beta3 = 0.99; }, {ademamix}},
      {"optimizer.ademamix_alpha", [](auto& c) { c.ademamix_alpha = 2.0; }, {ademamix}},
      {"optimizer.ademamix_warmup_steps", [](auto& c) { c.ademamix_warmup_steps = 5; }, {ademamix}},
      {"optimizer.averaging_power", [](auto& c) { c.averaging_power = 1.0; }, {schedule_free_adamw}},
      {"optimizer.muon_iterations", [](auto& c) { c.muon_iterations = 6; }, {muon}},
      {"optimizer.muon_scale", [](auto& c) { c.muon_scale = MuonScale::match_rms; }, {muon}},
      {"optimizer.nesterov", [](auto& c) { c.nesterov = true; }, {sgd, sgdw, liona, lionar}},
      {"optimizer.dampening", [](auto& c) { c.dampening = 0.5; }, {sgd}},
      {"optimizer.momentum_includes_rate", [](auto& c) { c.momentum_includes_rate = false; }, {sgdw}},
      {"optimizer.eps", [](auto& c) { c.eps = 1e-6; }, adam_family},
      {"optimizer.eps_placement", [](auto& c) { c.eps_placement = EpsilonPlacement::inside; }, with_placement},
      {"optimizer.bias_correction", [](auto& c) { c.bias_correction = BiasCorrection::second; }, plain_adams},
      {"optimizer.inverse_bias_correction",
       [](auto& c) { c.inverse_bias_correction = InverseBiasCorrection::root; },
       {nesterov_lion, liona, lionar}},
      {"optimizer.sign_scale", [](auto& c) { c.sign_scale = SignScale::one; }, {liona, lionar}},
  };
  for (const Key& key : keys) {
    for (const OptimizerName name : all_names) {
      SCOPED_TRACE(std::string(key.path) + " with name " + std::to_string(static_cast<int>(name)));
      if (std::find(key.names.begin(), key.names.end(), name) != key.names.end())
        expect_accepted(name, key.set);
      else
        expect_refused(name, key.set, {key.path, "nothing reads it", "remove it"});
    }
  }
  expect_refused(adam, [](auto& c) { c.nesterov = true; },
                 {"optimizer.nesterov is true with optimizer.name adam", "sgd, sgdw, liona and lionar"});
}

TEST(ValidateOptimizer, KeysThatNeedAChoice) {
  expect_refused(adamw, [](auto& c) { c.rotation_zero_mean = false; }, {"optimizer.rotation_zero_mean is false", "rotational"});
  expect_refused(adamw, [](auto& c) { c.rotation_averaging = 0.0; }, {"optimizer.rotation_averaging is 0", "rotational"});
  expect_refused(adamh, [](auto& c) { c.rotation_embeddings = false; }, {"optimizer.rotation_embeddings", "rotational"});
  expect_refused(liona, [](auto& c) { c.rotation_schedule = RotationSchedule::linear; }, {"optimizer.rotation_schedule is linear"});
  expect_accepted(lionar, [](auto& c) { c.rotation_zero_mean = c.rotation_embeddings = false; });
  const std::vector<std::string> by_row = {"optimizer.rotation_gains is true", "norm_control rotational with norm_granularity row"};
  expect_refused(
      adamw, [](auto& c) { c.rotation_gains = true; }, by_row);
  expect_refused(
      adamh, [](auto& c) { c.rotation_gains = true; }, by_row);
  expect_refused(
      lionar,
      [](auto& c) {
        c.rotation_gains = true;
        c.norm_granularity = Granularity::matrix;
      },
      by_row);
  expect_accepted(lionar, [](auto& c) { c.rotation_gains = true; });
  expect_refused(adamw, [](auto& c) { c.norm_granularity = Granularity::matrix; }, {"optimizer.norm_granularity is matrix"});
  expect_accepted(adamh, [](auto& c) { c.norm_granularity = Granularity::row; });
  expect_refused(adamw, [](auto& c) { c.rate_correction_smoothing = 0.5; }, {"optimizer.rate_correction_smoothing is 0.5"});
  expect_refused(adamw, [](auto& c) { c.l2_stage = L2Stage::before_clipping; }, {"optimizer.l2_stage is before_clipping", "l2"});
  expect_accepted(adam, [](auto& c) { c.l2_stage = L2Stage::before_clipping; });
  expect_refused(adamw,
                 [](auto& c) {
                   c.decay = DecayMode::none;
                   c.decay_schedule = DecaySchedule::cosine;
                 },
                 {"optimizer.decay_schedule is cosine"});
  expect_refused(adamw,
                 [](auto& c) {
                   c.decay = DecayMode::none;
                   c.decay_factors = {"*=2"};
                 },
                 {"optimizer.decay_factors"});
  expect_refused(adamw,
                 [](auto& c) {
                   c.grad_clip = 0.0;
                   c.clip_mode = ClipMode::value;
                 },
                 {"optimizer.clip_mode is value", "grad_clip above 0"});
  expect_accepted(adamw, [](auto& c) { c.weight_decay = 0.0; });  // as a grid over decays has it
}

TEST(ValidateOptimizer, ADecayTimescaleNeedsDecayBesideTheStep) {
  const auto with = [](DecayMode mode, const char* text = "2000 steps") {
    return Change([=](auto& c) {
      c.weight_decay.reset();
      c.decay = mode;
      c.decay_timescale = text;
    });
  };
  for (const DecayMode mode : {DecayMode::decoupled, DecayMode::independent, DecayMode::normalized, DecayMode::cautious})
    expect_accepted(adamw, with(mode));
  expect_accepted(lionar, with(DecayMode::decoupled));
  expect_accepted(muon, with(DecayMode::decoupled));  // whose decay is required otherwise
  for (const OptimizerName name : {sgd, adam})
    expect_refused(name, with(DecayMode::l2),
                   {"optimizer.decay_timescale is 2000 steps and optimizer.decay is l2", "its gradients"});
  expect_refused(adamw, with(DecayMode::scale_adjusted), {"optimizer.decay is scale_adjusted", "its gradients"});
  expect_refused(adamw, with(DecayMode::none), {"optimizer.decay is none", "nothing decays", "remove it"});
  expect_refused(adamw, with(DecayMode::decoupled, "0.9 steps"), {"0.9 steps", "at least 1 step"});
  expect_refused(adamw, with(DecayMode::decoupled, "0.0009 runs"), {"0.0009 runs", "in a run of 1000 steps", "at least 1 step"});
  expect_accepted(adamw, with(DecayMode::decoupled, "0.001 runs"));
  RunConfig config = valid_config();
  config.schedule.name = ScheduleName::restarts;
  config.schedule.cycle_steps = 10;
  config.optimizer.decay = DecayMode::normalized;
  config.optimizer.decay_timescale = "2000 steps";
  ASSERT_EQ(problems(config).size(), 1u);
  expect_parts(problems(config)[0], {"cycle to cycle", "independent"});
  config = valid_config();
  config.optimizer.weight_decay = 0.1;
  config.optimizer.decay_timescale = "2000 steps";
  expect_parts(usage_error([&] { validate(config); }),
               {"optimizer.weight_decay is 0.1 and optimizer.decay_timescale is \"2000 steps\"; give only one"});
}

TEST(ValidateOptimizer, DecayHasOneName) {
  for (const DecayMode mode : {DecayMode::decoupled, DecayMode::independent, DecayMode::normalized, DecayMode::cautious}) {
    const Change set = [mode](auto& c) { c.decay = mode; };
    expect_refused(adam, set, {"optimizer.decay is", "optimizer.name adam", "is AdamW", "optimizer.name=adamw"});
    expect_refused(sgd, set, {"is SGDW", "optimizer.name=sgdw"});
    for (const OptimizerName name : {adamw, sgdw, lion, nesterov_lion, liona, muon, ademamix, schedule_free_adamw, adamh})
      expect_accepted(name, set);
  }
  expect_refused(adamw, [](auto& c) { c.decay = DecayMode::l2; }, {"optimizer.decay is l2", "optimizer.name=adam"});
  expect_refused(adamc, [](auto& c) { c.decay = DecayMode::l2; }, {"optimizer.name adamc", "optimizer.name=adam"});
  expect_refused(sgdw, [](auto& c) { c.decay = DecayMode::l2; }, {"optimizer.decay is l2", "optimizer.name=sgd"});
  for (const OptimizerName name : {lion, muon, ademamix, schedule_free_adamw})
    expect_accepted(name, [](auto& c) { c.decay = DecayMode::l2; });
  for (const OptimizerName name : all_names) {
    const Change set = [](auto& c) { c.decay = DecayMode::scale_adjusted; };
    if (name == adam || name == adamw) expect_accepted(name, set);
    if (name == sgd || name == lion || name == muon || name == ademamix)
      expect_refused(name, set, {"optimizer.decay is scale_adjusted", "second moment", "adam or adamw"});
  }
}

TEST(ValidateOptimizer, NormalizedDecayNeedsALength) {
  RunConfig config = valid_config();
  config.optimizer.decay = DecayMode::normalized;
  config.optimizer.weight_decay = 0.05;
  EXPECT_TRUE(problems(config).empty());
  config.train.steps.reset();
  ASSERT_EQ(problems(config).size(), 1u);
  expect_parts(problems(config)[0], {"optimizer.decay is normalized", "number of updates", "train.steps or train.tokens"});
  config.train.tokens = 1000000;
  EXPECT_TRUE(problems(config).empty());
}

TEST(ValidateOptimizer, NormControlHasOneName) {
  const auto control = [](NormControlChoice choice) { return [choice](OptimizerConfig& c) { c.norm_control = choice; }; };
  const Change none = control(NormControlChoice::none), rotational = control(NormControlChoice::rotational),
               relative = control(NormControlChoice::relative);
  expect_refused(lionar, none, {"optimizer.norm_control is none", "optimizer.name=liona"});
  expect_refused(lionar, relative, {"optimizer.norm_control is relative", "use liona with relative control"});
  expect_refused(liona, rotational, {"optimizer.norm_control is rotational", "optimizer.name=lionar"});
  expect_refused(adamh, none, {"optimizer.norm_control is none", "optimizer.name=adamw"});
  expect_refused(adamh, rotational, {"optimizer.norm_control is rotational", "optimizer.name=adamw"});
  expect_refused(adamw, relative, {"is AdamH", "optimizer.name=adamh"});
  expect_refused(adam, relative, {"is AdamH", "optimizer.name=adamh"});
  for (const Change& any : {rotational, relative}) {
    expect_refused(muon, any, {"orthogonalised"});
    expect_refused(schedule_free_adamw, any, {"average of weights"});
  }
  expect_refused(adam, rotational, {"no equilibrium angle", "adamw"});
  expect_refused(ademamix, rotational, {"no equilibrium angle"});
  for (const OptimizerName name : {adamw, lion, nesterov_lion, sgd, sgdw}) expect_accepted(name, rotational);
  for (const OptimizerName name : {lion, nesterov_lion, liona, sgd, ademamix}) expect_accepted(name, relative);
  expect_refused(sgdw, relative, {"momentum_includes_rate=false"});
  expect_accepted(sgdw, [](auto& c) {
    c.norm_control = NormControlChoice::relative;
    c.momentum_includes_rate = false;
  });
}

TEST(ValidateOptimizer, TheDecaySetsTheAngle) {
  expect_refused(lionar, [](auto& c) { c.weight_decay = 0.0; },
                 {"optimizer.weight_decay is 0 under rotational control", "optimizer.name=liona"});
  for (const DecayMode mode : {DecayMode::none, DecayMode::cautious, DecayMode::l2})
    expect_refused(lionar, [mode](auto& c) { c.decay = mode; },
                   {"under rotational control", "decoupled, independent or normalized"});
  expect_refused(lionar, [](auto& c) { c.decay_on = {"biases"}; }, {"optimizer.decay_on is [biases]", "add matrices"});
  expect_refused(lionar,
                 [](auto& c) {
                   c.decay_on = {"embeddings"};
                   c.rotation_embeddings = false;
                 },
                 {"optimizer.decay_on is [embeddings]"});
  expect_accepted(lionar, [](auto& c) { c.decay_on = {"embeddings"}; });
  expect_accepted(lionar, [](auto& c) { c.decay = DecayMode::independent; });
}

TEST(ValidateOptimizer, Momentum) {
  expect_refused(sgd,
                 [](auto& c) {
                   c.nesterov = true;
                   c.dampening = 0.25;
                 },
                 {"optimizer.nesterov is true and optimizer.dampening 0.25"});
  expect_refused(sgd,
                 [](auto& c) {
                   c.momentum = 0.0;
                   c.dampening = 0.25;
                 },
                 {"optimizer.momentum is 0 and optimizer.dampening 0.25"});
  RunConfig config = valid_config();
  config.optimizer.name = sgd;
  config.optimizer.learning_rate = config.optimizer.weight_decay = 0.1;
  config.optimizer.momentum = 0.0;
  config.schedule.momentum_warmup_steps = 10;
  ASSERT_EQ(problems(config).size(), 1u);
  expect_parts(problems(config)[0], {"optimizer.momentum is 0 and schedule.momentum_warmup_steps 10"});
  config.optimizer.momentum = 0.5;
  EXPECT_TRUE(problems(config).empty());
  expect_accepted(liona, [](auto& c) { c.momentum = 0.0; });  // a row of the warmup experiment
}

TEST(ValidateOptimizer, RateCorrectionNeedsOneAverage) {
  const Change gradient = [](auto& c) { c.rate_correction = RateCorrectionChoice::gradient; };
  const Change momentum = [](auto& c) { c.rate_correction = RateCorrectionChoice::momentum; };
  for (const OptimizerName name : {adam, adamw, adamh, nesterov_lion, liona, lionar, sgd, ademamix})
    expect_accepted(name, gradient);
  for (const OptimizerName name : {adamw, lionar, sgd}) expect_accepted(name, momentum);
  expect_refused(schedule_free_adamw, gradient, {"optimizer.rate_correction is gradient", "each tensor's own"});
  expect_refused(lion, gradient, {"one average", "lionar"});
  expect_refused(muon, gradient, {"orthogonalised"});
  expect_refused(ademamix, momentum, {"two averages", "rate_correction=gradient"});
  expect_refused(sgdw, gradient, {"momentum_includes_rate=false"});
  expect_accepted(sgdw, [](auto& c) {
    c.rate_correction = RateCorrectionChoice::gradient;
    c.momentum_includes_rate = false;
  });
  expect_refused(sgd,
                 [](auto& c) {
                   c.rate_correction = RateCorrectionChoice::gradient;
                   c.dampening = 0.5;
                 },
                 {"optimizer.dampening 0.5"});
  for (const OptimizerName name : {sgd, lionar})
    expect_accepted(name, [](auto& c) {
      c.rate_correction = RateCorrectionChoice::gradient;
      c.momentum = 0.0;
    });
}

TEST(ValidateOptimizer, RateCorrectionNeedsTwoMicroBatches) {
  RunConfig config = valid_config();
  config.optimizer.rate_correction = RateCorrectionChoice::momentum;
  config.batch.micro_batch = 4;
  const auto set_sequences = [&](std::int64_t sequences) { config.batch.tokens_per_step = sequences * config.model.n_ctx; };
  set_sequences(8);
  EXPECT_EQ(config_problems(config), std::vector<std::string>());
  set_sequences(4);
  ASSERT_EQ(config_problems(config).size(), 1u);
  expect_parts(config_problems(config)[0],
               {"optimizer.rate_correction momentum with one micro-batch in a step (batch.micro_batch 4", "two halves",
                "set batch.micro_batch to at most half"});
  set_sequences(16);
  config.schedule.batch_warmup_steps = 3;
  config.schedule.batch_start_tokens = 4 * config.model.n_ctx;
  ASSERT_EQ(config_problems(config).size(), 1u);
  expect_parts(config_problems(config)[0], {"in the first step", "or raise schedule.batch_start_tokens"});
  config.schedule.batch_start_tokens = 8 * config.model.n_ctx;
  EXPECT_EQ(config_problems(config), std::vector<std::string>());
}

TEST(ValidateOptimizer, IsPartOfValidation) {
  RunConfig config = valid_config();
  config.optimizer.nesterov = true;
  expect_parts(usage_error([&] { validate(config); }), {"optimizer.nesterov is true with optimizer.name adamw"});
}

TEST(OptimizerCombinations, WhatHasNoLawOfTheWidthIsRefused) {
  const auto at_a_base = [](
                             OptimizerName name, const Change& change = [](auto&) {}) {
    RunConfig config = valid_config();
    config.model.mup_base_width = config.model.n_embd;
    config.optimizer.name = name;
    config.optimizer.learning_rate = 6e-4;
    config.optimizer.weight_decay = 0.1;
    config.optimizer.grad_clip = 0.0;
    change(config.optimizer);
    return problems(config);
  };
  for (const OptimizerName name : all_names) {
    if (name == adam) continue;
    EXPECT_EQ(at_a_base(name), std::vector<std::string>()) << static_cast<int>(name);
  }
  EXPECT_EQ(at_a_base(adamw, [](auto& c) { c.grad_clip = 1.0; }), std::vector<std::string>());
  const auto expect_one = [](const std::vector<std::string>& found, const std::vector<std::string>& parts) {
    ASSERT_EQ(found.size(), 1u);
    expect_parts(found[0], parts);
  };
  expect_one(at_a_base(adam), {"optimizer.decay is l2 with optimizer.name adam", "model.mup_base_width", "use adamw"});
  for (const OptimizerName name : {sgd, sgdw})
    expect_one(at_a_base(name, [](auto& c) { c.grad_clip = 1.0; }),
               {"optimizer.grad_clip is 1", "model.mup_base_width", "grad_clip=0"});
  expect_one(at_a_base(lionar, [](auto& c) { c.rotation_gains = true; }),
             {"optimizer.rotation_gains", "model.mup_base_width", "false"});
}

}  // namespace
}  // namespace temper
