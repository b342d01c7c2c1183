#include "config/resolved.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "config/validate.h"
#include "config_files.h"

namespace temper {
namespace {

/// Valid configurations; each field differs from RunConfig{} in at least one of them.
std::vector<RunConfig> changed_everywhere() {
  RunConfig first;
  first.name = "other.run-1";
  first.seed = UINT64_MAX;
  first.device = DeviceChoice::cpu;
  first.precision = Precision::bf16;
  first.model = {2, 2, 32, 64, 300, false, 1.0 / 3.0, Initialization::he, false, {}};
  first.data = {{"a \"quoted\" \xc3\xa9.bin", "b*.bin"}, {"v.bin"}, "tok", true, "raw_u16"};
  first.batch = {1280, 5};
  first.train.tokens = 12'345'678'901;
  first.train.branch_from = "runs/a checkpoint";
  first.train.recompute = Recompute::block;
  first.eval = {3, 0, "h.bin", 17, 0.875};
  first.checkpoint = {5, 9, 20};
  first.log = {2, false};
  first.diagnostics = {1, 2, 3, 4, 50};

  OptimizerConfig& adam = first.optimizer;
  adam.name = OptimizerName::adam;
  adam.learning_rate = 0.1 + 0.2;
  adam.beta1 = 0.8;
  adam.beta2 = 0.999;
  adam.eps = 1e-12;
  adam.eps_placement = EpsilonPlacement::inside;
  adam.bias_correction = BiasCorrection::second;
  adam.weight_decay = 5e-324;
  adam.decay = DecayMode::l2;
  adam.l2_stage = L2Stage::before_clipping;
  adam.decay_schedule = DecaySchedule::cosine;
  adam.decay_on = {"biases"};
  adam.decay_factors = {"*.wte.*=0.5", "*=2"};
  adam.rate_factors = {"*=1e-3"};
  adam.depth_rate_factor = 0.9;
  adam.clip_mode = ClipMode::tensor;

  first.train.on_nonfinite = OnNonfinite::rollback;
  first.train.nonfinite_limit = 3;
  first.train.spike_sigmas = 1.0 / 0.3;
  first.train.on_spike = OnSpike::rollback;

  ScheduleConfig& wsd = first.schedule;
  wsd.name = ScheduleName::wsd;
  wsd.warmup_fraction = 1e-3;
  wsd.warmup_shape = WarmupShape::cosine;
  wsd.warmup_first = WarmupFirst::zero;
  wsd.min_ratio = 1.0 / 7.0;
  wsd.cooldown_fraction = 0.3;
  wsd.cooldown_shape = CooldownShape::exponential;
  wsd.momentum_warmup_steps = 7;
  wsd.momentum_start = 0.5;
  wsd.momentum_cooldown_steps = 8;
  wsd.batch_warmup_steps = 9;
  wsd.batch_start_tokens = 640;
  wsd.context_warmup_steps = 10;
  wsd.context_start = 16;

  std::vector<RunConfig> all = {first};
  const auto with = [&](auto change) {
    all.push_back(valid_config());
    change(all.back());
  };
  with([](RunConfig& c) {
    c.train.init_from = "runs/a model";
    c.optimizer.name = OptimizerName::lionar;
    c.optimizer.momentum = 0.98;
    c.optimizer.nesterov = true;
    c.optimizer.inverse_bias_correction = InverseBiasCorrection::root;
    c.optimizer.sign_scale = SignScale::norm_matched;
    c.optimizer.grad_clip = 0.0;
    c.optimizer.norm_control = NormControlChoice::rotational;
    c.optimizer.norm_granularity = Granularity::matrix;
    c.optimizer.rotation_zero_mean = false;
    c.optimizer.rotation_averaging = 0.0;
    c.optimizer.rotation_embeddings = false;
    c.optimizer.rotation_schedule = RotationSchedule::linear;
    c.optimizer.rate_correction = RateCorrectionChoice::momentum;
    c.optimizer.rate_correction_smoothing = 0.5;
    c.schedule.warmup_steps = 3;
    c.schedule.horizon_steps = 1005;
  });
  with([](RunConfig& c) {
    c.optimizer.name = OptimizerName::ademamix;
    c.optimizer.beta3 = 0.99;
    c.optimizer.ademamix_alpha = 2.0;
    c.optimizer.ademamix_warmup_steps = 3;
    c.schedule.name = ScheduleName::step;
    c.schedule.warmup_tokens = 7;
    c.schedule.milestones = {1.0 / 3.0, 0.5};
    c.schedule.step_factor = 0.5;
  });
  with([](RunConfig& c) {
    c.parallel = {1, true, 7, 8, 9};
    c.device_check = DeviceCheck::always;
    c.optimizer.name = OptimizerName::muon;
    c.optimizer.weight_decay = 0.1;
    c.optimizer.other_learning_rate = 0.7;
    c.optimizer.muon_iterations = 6;
    c.optimizer.muon_scale = MuonScale::match_rms;
    c.schedule.name = ScheduleName::restarts;
    c.schedule.cycle_steps = 6;
    c.schedule.cycle_growth = 1.5;
  });
  with([](RunConfig& c) {
    c.optimizer.name = OptimizerName::sgd;
    c.optimizer.learning_rate = c.optimizer.weight_decay = 0.01;
    c.optimizer.dampening = 0.5;
    c.schedule.name = ScheduleName::power;
    c.schedule.power = 1.0;
    c.schedule.power_scale = 2.0;
  });
  with([](RunConfig& c) {
    c.optimizer.name = OptimizerName::sgdw;
    c.optimizer.learning_rate = 0.01;
    c.optimizer.momentum_includes_rate = false;
  });
  with([](RunConfig& c) {
    c.optimizer.name = OptimizerName::schedule_free_adamw;
    c.optimizer.averaging_power = 1.0;
    c.schedule.name = ScheduleName::constant;
  });
  with([](RunConfig& c) {
    c.optimizer.name = OptimizerName::lionar;
    c.optimizer.rotation_gains = true;
  });
  with([](RunConfig& c) {
    c.model.mup_base_width = 64;
    c.optimizer.decay_timescale = "0.3 runs";
    c.schedule.name = ScheduleName::file;
    c.schedule.file = "runs/a/metrics.jsonl";
    c.schedule.file_column = "effective_rate";
  });
  return all;
}

TEST(Resolved, ReadsBackToTheSameConfiguration) {
  std::set<std::string_view> changed;
  for (const RunConfig& config : changed_everywhere()) {
    for (const FieldDifference& difference : compare(RunConfig{}, config)) changed.insert(difference.path);
    const std::string text = config_to_json(config);
    const RunConfig again = config_from_json(text, "resolved");
    EXPECT_TRUE(compare(config, again).empty());
    EXPECT_EQ(config_to_json(again), text);
  }
  for (const Field& field : config_fields()) EXPECT_TRUE(changed.contains(field.path)) << field.path;

  const RunConfig first = config_from_json(config_to_json(changed_everywhere()[0]), "resolved");
  EXPECT_EQ(first.optimizer.weight_decay, 5e-324);
  EXPECT_EQ(first.schedule.min_ratio, 1.0 / 7.0);
  EXPECT_EQ(first.optimizer.decay_factors, (std::vector<std::string>{"*.wte.*=0.5", "*=2"}));
}

TEST(Resolved, IsAFileThatLoads) {
  const RunConfig config = valid_config();
  EXPECT_TRUE(compare(config, config_from_json(config_to_json(config), "resolved")).empty());
}

TEST(Resolved, HasTheTablesOrderAndLeavesOutWhatIsNotGiven) {
  const std::string text = config_to_json(valid_config());
  std::size_t at = 0;
  for (const char* key :
       {"\"name\"", "\"seed\"", "\"model\"", "\"n_layer\"", "\"data\"", "\"train\": {", "\"optimizer\"", "\"log\""}) {
    const std::size_t next = text.find(key, at);
    ASSERT_NE(next, std::string::npos) << key;
    at = next;
  }
  EXPECT_FALSE(nlohmann::json::parse(text).at("train").contains("tokens"));
  for (const char* key : {"\"warmup_steps", "warmup_fraction", "warmup_tokens", "init_from", "branch_from", "cycle_steps"})
    EXPECT_EQ(text.find(key), std::string::npos) << key;
  EXPECT_NE(text.find("\"learning_rate\": 0.0006"), std::string::npos);
}

TEST(Resolved, HoldsEveryKeyThatIsReadWithItsValueAndNoOthers) {
  const auto optimizer = nlohmann::json::parse(config_to_json(valid_config())).at("optimizer");
  EXPECT_EQ(optimizer.at("decay"), "decoupled");
  EXPECT_EQ(optimizer.at("beta1"), 0.9);
  EXPECT_EQ(optimizer.at("beta2"), 0.95);
  for (const char* key : {"beta3", "momentum", "muon_scale", "nesterov", "l2_stage", "rotation_averaging", "norm_granularity"})
    EXPECT_FALSE(optimizer.contains(key)) << key;
  RunConfig lionar = valid_config();
  lionar.optimizer.name = OptimizerName::lionar;
  const auto other = nlohmann::json::parse(config_to_json(lionar)).at("optimizer");
  for (const char* key : {"momentum", "rotation_averaging", "norm_granularity"}) EXPECT_TRUE(other.contains(key)) << key;
  EXPECT_FALSE(other.contains("beta1"));
  // A base for more layers leaves to each of them what it does not say itself.
  EXPECT_FALSE(nlohmann::json::parse(base_to_json(valid_config())).at("optimizer").contains("beta1"));
}

/// The weight_decay that a timescale means, in a run of 1000 steps at the rate 0.002.
double settled_decay(const std::string& timescale, DecayMode decay, double epoch = 0.0) {
  RunConfig config = valid_config();
  config.optimizer.learning_rate = 0.002;
  config.optimizer.decay = decay;
  EXPECT_EQ(set_field(*find_field("optimizer.decay_timescale"), config, {timescale}), "");
  EXPECT_EQ(config_problems(config), std::vector<std::string>());
  const OptimizerConfig settled = settled_optimizer(config, epoch);
  EXPECT_FALSE(settled.decay_timescale);
  return *settled.weight_decay;
}

TEST(DecayTimescale, BecomesTheDecayThatTakesItsShareAtThePeak) {
  for (const DecayMode mode : {DecayMode::decoupled, DecayMode::cautious}) {
    EXPECT_DOUBLE_EQ(settled_decay("2000 steps", mode), 0.25);  // 1 / (2000 x 0.002)
    EXPECT_DOUBLE_EQ(settled_decay("0.5 runs", mode), 1.0);
    EXPECT_DOUBLE_EQ(settled_decay("1.5 epochs", mode, 200.0), 1.0 / 0.6);
  }
  EXPECT_DOUBLE_EQ(settled_decay("2000 steps", DecayMode::independent), 5e-4);
  EXPECT_DOUBLE_EQ(settled_decay("2000 steps", DecayMode::normalized), 5e-4 * std::sqrt(1000.0));
  RunConfig config = valid_config();
  config.optimizer.decay_timescale = "0.01 epochs";
  for (const double epoch : {99.0, 0.0})
    expect_parts(usage_error([&] { settled_optimizer(config, epoch); }),
                 {"optimizer.decay_timescale is \"0.01 epochs\"", "at least one step"});
  EXPECT_NO_THROW(settled_optimizer(config, 100.0));
  EXPECT_TRUE(counts_epochs(config.optimizer));
  config.optimizer.decay_timescale = "5 steps";
  EXPECT_FALSE(counts_epochs(config.optimizer));
  config.optimizer.decay_timescale = "1e308 runs";  // a decay of 0
  expect_parts(usage_error([&] { settled_optimizer(config, 100.0); }), {"\"1e308 runs\"", "more steps"});
}

TEST(DecayTimescale, IsWhatTheConfigurationKeeps) {
  RunConfig config = valid_config();
  const Field& field = *find_field("optimizer.decay_timescale");
  EXPECT_EQ(set_field(field, config, {"2e3 steps"}), "");
  const auto optimizer = nlohmann::json::parse(config_to_json(config)).at("optimizer");
  EXPECT_EQ(optimizer.at("decay_timescale"), "2000 steps");
  EXPECT_FALSE(optimizer.contains("weight_decay"));
  RunConfig spelled = valid_config(), other = valid_config();
  EXPECT_EQ(set_field(field, spelled, {"2000.0 steps"}), "");
  EXPECT_EQ(set_field(field, other, {"2001 steps"}), "");
  EXPECT_EQ(config_identity(spelled), config_identity(config));
  EXPECT_NE(config_identity(other), config_identity(config));
  EXPECT_NE(config_identity(valid_config()), config_identity(config));
  for (const char* text : {"2000", "2000steps", "2000  steps", " 2000 steps", "2000 steps ", "0 steps", "-1 runs", "inf runs",
                           "nan epochs", "1e999 steps", "0x10 steps", "2000 step", "2,000 steps", "two epochs", "", "steps"})
    expect_parts(set_field(field, config, {text}),
                 {"optimizer.decay_timescale is", "\"2000 steps\", \"1.5 epochs\" or \"0.3 runs\""});
  EXPECT_NE(set_field(field, config, {2000.0}), "");
}

TEST(Identity, IsOneForAllSpellings) {
  const RunConfig plain = valid_config();
  RunConfig spelled = plain;
  spelled.optimizer.decay = DecayMode::decoupled;
  EXPECT_EQ(config_identity(spelled), config_identity(plain));
  spelled.optimizer.beta1 = 0.9;
  spelled.optimizer.learning_rate = 6e-4;
  EXPECT_EQ(config_identity(spelled), config_identity(plain));
  EXPECT_EQ(config_identity(spelled), config_identity(resolved(spelled)));
  spelled.optimizer.beta1 = 0.8;
  EXPECT_NE(config_identity(spelled), config_identity(plain));
  RunConfig without = plain, other_strength = plain;  // decay none: its strength is not read
  without.optimizer.decay = other_strength.optimizer.decay = DecayMode::none;
  other_strength.optimizer.weight_decay = 0.3;
  EXPECT_EQ(config_identity(without), config_identity(other_strength));
}

/// A row as a later version may add it, over a member that no row of today has with this path.
Field added_row(const std::string& path, Value as_before) {
  Field row = *find_field("optimizer.eps");
  row.path = path;
  row.as_before = std::move(as_before);
  return row;
}

TEST(Identity, ANewKeyChangesNone) {
  std::vector<Field> later = config_fields();
  later.insert(later.begin(), added_row("optimizer.a_new_key", Value{1e-8}));  // the default of eps: runs are as before
  later.push_back(added_row("zz.another", Value{1e-8}));
  RunConfig config = valid_config();
  EXPECT_EQ(config_identity(config, later), config_identity(config));
  config.optimizer.eps = 1e-6;
  EXPECT_NE(config_identity(config, later), config_identity(config));  // it is set to something new
  // Without `as_before` it would have changed every identity.
  later.front().as_before = Value{};
  EXPECT_NE(config_identity(valid_config(), later), config_identity(valid_config()));
}

TEST(Identity, WhatIsNotOfTheRunIsNoPartOfIt) {
  RunConfig config = valid_config();
  config.device_check = DeviceCheck::off;
  EXPECT_EQ(config_identity(config), config_identity(valid_config()));
}

// The identities of released runs: these literals never change. One that does not hold any more says that a default was changed or
// a row was added without as_before; then runs that exist would be trained again.
TEST(Identity, IsOnRecord) {
  EXPECT_EQ(config_identity(valid_config()), "1c608ffa4b29da8c");
  RunConfig lionar = valid_config();
  lionar.optimizer.name = OptimizerName::lionar;
  lionar.schedule.name = ScheduleName::wsd;
  EXPECT_EQ(config_identity(lionar), "ab6c34128c3630c2");
}

TEST(Compare, NamesFieldClassAndBothValues) {
  const RunConfig before = valid_config();
  RunConfig after = before;
  after.model.n_layer = 13;
  after.batch.micro_batch = 8;
  after.train.steps.reset();
  after.train.tokens = 7;
  after.log.every = 10;
  const auto differences = compare(before, after);
  ASSERT_EQ(differences.size(), 5u);
  EXPECT_EQ(differences[0].path, "model.n_layer");
  EXPECT_EQ(differences[0].resume, ResumeClass::must_match);
  EXPECT_EQ(differences[0].before, "12");
  EXPECT_EQ(differences[0].after, "13");
  EXPECT_EQ(differences[1].path, "batch.micro_batch");
  EXPECT_EQ(differences[1].resume, ResumeClass::topology);
  EXPECT_EQ(differences[2].path, "train.steps");
  EXPECT_EQ(differences[2].resume, ResumeClass::trajectory);
  EXPECT_EQ(differences[2].after, "not given");
  EXPECT_EQ(differences[3].before, "not given");
  EXPECT_EQ(differences[4].path, "log.every");
  EXPECT_EQ(differences[4].resume, ResumeClass::free);
}

TEST(Compare, ClassesFollowWhatAFieldDoesToTheWeights) {
  for (const Field& field : config_fields()) {
    if (field.section() == "model") {
      EXPECT_EQ(field.resume, ResumeClass::must_match) << field.path;
    }
    if (field.path == "train.recompute") {  // the same sums, like another micro-batch
      EXPECT_EQ(field.resume, ResumeClass::topology) << field.path;
    } else if (field.path.starts_with("train.on_") || field.path == "train.nonfinite_limit" || field.path == "train.spike_sigmas") {
      EXPECT_EQ(field.resume, ResumeClass::free) << field.path << ": of steps that go wrong, all of which are to come";
    } else if (field.section() == "optimizer" || field.section() == "schedule" || field.section() == "train") {
      EXPECT_EQ(field.resume, ResumeClass::trajectory) << field.path;
    }
    if (field.path == "eval.weight_average") {  // which is saved
      EXPECT_EQ(field.resume, ResumeClass::must_match) << field.path;
    } else if (field.section() == "eval" || field.section() == "checkpoint" || field.section() == "log" ||
               field.section() == "diagnostics") {
      EXPECT_EQ(field.resume, ResumeClass::free) << field.path;
    }
  }
  const std::map<std::string, ResumeClass> others = {{"name", ResumeClass::free},
                                                     {"seed", ResumeClass::must_match},
                                                     {"device", ResumeClass::topology},
                                                     {"device_check", ResumeClass::free},
                                                     {"precision", ResumeClass::trajectory},
                                                     {"data.train", ResumeClass::free},  // what is there must match
                                                     {"data.val", ResumeClass::free},
                                                     {"data.tokenizer", ResumeClass::free},
                                                     {"data.format", ResumeClass::must_match},
                                                     {"data.shuffle", ResumeClass::trajectory},
                                                     {"batch.tokens_per_step", ResumeClass::trajectory},
                                                     {"batch.micro_batch", ResumeClass::topology},
                                                     {"parallel.zero_stage", ResumeClass::topology},
                                                     {"parallel.deterministic", ResumeClass::topology},
                                                     {"parallel.bucket_mib", ResumeClass::topology},
                                                     {"parallel.timeout_seconds", ResumeClass::free},
                                                     {"parallel.check_every", ResumeClass::free}};
  for (const auto& [path, expected] : others) EXPECT_EQ(find_field(path)->resume, expected) << path;
  for (const Field& field : config_fields()) {
    const bool by_section = !others.contains(field.path) && field.section() != "" && field.section() != "data" &&
                            field.section() != "batch" && field.section() != "parallel";
    EXPECT_TRUE(by_section || others.contains(field.path)) << field.path << " has no expected class here";
  }
}

}  // namespace
}  // namespace temper
