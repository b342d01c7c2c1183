// Which tensors decay, how fast each learns, whose norm is held, and what a wrong pattern is told.
#include "optim/pipeline.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>

#include "config/run_config.h"
#include "io/error.h"

namespace temper {
namespace {

using enum OptimizerName;

/// A GPT-2 of two blocks and width 8, in small.
std::vector<OptimizedTensor> tensors() {
  std::vector<OptimizedTensor> all = {{"transformer.wte.weight", {32, 8}, 0, ParameterKind::embedding},
                                      {"transformer.wpe.weight", {16, 8}, 0, ParameterKind::embedding}};
  for (int layer = 0; layer < 2; ++layer) {
    const std::string block = "transformer.h." + std::to_string(layer) + ".";
    all.push_back({block + "ln_1.weight", {8}, 0, ParameterKind::layernorm, layer});
    all.push_back({block + "attn.c_attn.weight", {24, 8}, 0, ParameterKind::matrix, layer, 3});
    all.push_back({block + "attn.c_attn.bias", {24}, 0, ParameterKind::bias, layer});
    all.push_back({block + "mlp.c_fc.weight", {32, 8}, 0, ParameterKind::matrix, layer});
    all.push_back({block + "mlp.c_proj.weight", {8, 32}, 0, ParameterKind::matrix, layer});
  }
  std::int64_t offset = 0;
  for (OptimizedTensor& tensor : all) {
    tensor.offset = offset;
    offset += (tensor.shape.numel() + 63) / 64 * 64;
  }
  return all;
}

OptimizerConfig of(OptimizerName name) {
  OptimizerConfig config;
  config.name = name;
  config.learning_rate = 0.02;
  config.weight_decay = 0.5;
  return config;
}

Pipeline made(const OptimizerConfig& config) { return make_pipeline(resolved_optimizer(config), tensors()); }

/// The segments of a tensor among the part's.
std::vector<ParameterSegment> segments_of(const Pipeline& pipeline, const std::string& name, std::size_t part = 0) {
  std::vector<ParameterSegment> found;
  const UpdatePart& of = pipeline.parts[part];
  for (std::int64_t i = of.first; i < of.first + of.count; ++i)
    if (tensors()[pipeline.tensor_of[static_cast<std::size_t>(i)]].name == name)
      found.push_back(pipeline.segments[static_cast<std::size_t>(i)]);
  return found;
}
ParameterSegment segment_of(const Pipeline& pipeline, const std::string& name, std::size_t part = 0) {
  const std::vector<ParameterSegment> found = segments_of(pipeline, name, part);
  EXPECT_EQ(found.size(), 1u) << name;
  return found.at(0);
}

TEST(Pipeline, MatricesAndEmbeddingsDecay) {
  const Pipeline pipeline = made(of(adamw));
  ASSERT_EQ(pipeline.segments.size(), tensors().size());
  for (const OptimizedTensor& tensor : tensors()) {
    const ParameterSegment segment = segment_of(pipeline, tensor.name);
    EXPECT_EQ(segment.weight_decay, tensor.shape.rank() == 2 ? 0.5f : 0.0f) << tensor.name;
    EXPECT_EQ(segment.learning_rate_scale, 1.0f);
    EXPECT_EQ(segment.control, NormControl::none);
    EXPECT_EQ(segment.offset, tensor.offset);
    EXPECT_EQ(segment.rows * segment.columns, tensor.shape.numel());
    EXPECT_EQ(segment.rows, tensor.shape.rank() == 2 ? tensor.shape[0] : 1);
  }
  EXPECT_EQ(pipeline.controlled_rows, 0);
}

TEST(Pipeline, DecayByKind) {
  OptimizerConfig config = of(adamw);
  config.decay_on = {"biases", "layernorms"};
  for (const OptimizedTensor& tensor : tensors())
    EXPECT_EQ(segment_of(made(config), tensor.name).weight_decay, tensor.shape.rank() == 1 ? 0.5f : 0.0f) << tensor.name;
  config.decay_on = {"embeddings"};
  EXPECT_EQ(segment_of(made(config), "transformer.wpe.weight").weight_decay, 0.5f);
  EXPECT_EQ(segment_of(made(config), "transformer.h.0.mlp.c_fc.weight").weight_decay, 0.0f);
  config.decay_on = std::vector<std::string>();
  for (const ParameterSegment& segment : made(config).segments) EXPECT_EQ(segment.weight_decay, 0.0f);
  config = of(adamw);
  config.decay = DecayMode::none;
  for (const ParameterSegment& segment : made(config).segments) EXPECT_EQ(segment.weight_decay, 0.0f);
}

TEST(Pipeline, TheLastMatchingPatternCounts) {
  OptimizerConfig config = of(adamw);
  config.decay_factors = {"*=0.5", "*.h.1.*=2", "*.wpe.weight=0"};
  const Pipeline pipeline = made(config);
  EXPECT_EQ(segment_of(pipeline, "transformer.wte.weight").weight_decay, 0.25f);
  EXPECT_EQ(segment_of(pipeline, "transformer.h.0.mlp.c_fc.weight").weight_decay, 0.25f);
  EXPECT_EQ(segment_of(pipeline, "transformer.h.1.mlp.c_fc.weight").weight_decay, 1.0f);
  EXPECT_EQ(segment_of(pipeline, "transformer.wpe.weight").weight_decay, 0.0f);
  EXPECT_EQ(segment_of(pipeline, "transformer.h.1.ln_1.weight").weight_decay, 0.0f) << "its kind does not decay";
}

TEST(Pipeline, RatesByPatternAndDepth) {
  OptimizerConfig config = of(adamw);
  config.rate_factors = {"*.w[tp]e.weight=0.25"};
  config.depth_rate_factor = 0.5;
  for (const auto& [decay, first_block] : {std::pair(DecayMode::decoupled, 0.25f), {DecayMode::independent, 0.5f}}) {
    config.decay = decay;
    const Pipeline pipeline = made(config);
    EXPECT_EQ(segment_of(pipeline, "transformer.wte.weight").learning_rate_scale, 0.25f);
    EXPECT_EQ(segment_of(pipeline, "transformer.h.0.mlp.c_fc.weight").learning_rate_scale, 0.5f);
    EXPECT_EQ(segment_of(pipeline, "transformer.h.1.mlp.c_fc.weight").learning_rate_scale, 1.0f);
    // Decay that goes with the rate goes with the tensor's own.
    EXPECT_EQ(segment_of(pipeline, "transformer.h.0.mlp.c_fc.weight").weight_decay, first_block);
  }
  config.name = adam;
  config.decay = DecayMode::scale_adjusted;  // lambda / rate
  EXPECT_EQ(segment_of(made(config), "transformer.wte.weight").weight_decay, 2.0f);
}

/// At four times the base width, a matrix that holds half of muP's weights and a vector that holds all.
std::vector<OptimizedTensor> wide_tensors() {
  return {{"matrix", {16, 8}, 0, ParameterKind::matrix, 0, 1, 4.0, 0.5},
          {"vector", {8}, 128, ParameterKind::layernorm, 0, 1, 4.0, 0.5}};
}

TEST(Pipeline, RatesFollowTheWidth) {
  struct Case {
    OptimizerName name;
    double matrix, vector;
    void (*change)(OptimizerConfig&) = [](OptimizerConfig&) {};
  };
  const auto match_rms = [](OptimizerConfig& c) { c.muon_scale = MuonScale::match_rms; };
  const double other = 6e-4 / 0.02;  // other_learning_rate beside learning_rate
  for (const Case& one : {Case{adamw, 0.125, 0.5}, Case{adam, 0.125, 0.5, [](OptimizerConfig& c) { c.decay = DecayMode::none; }},
                          Case{adamc, 0.125, 0.5}, Case{lion, 0.125, 0.5}, Case{nesterov_lion, 0.125, 0.5}, Case{liona, 0.125, 0.5},
                          Case{ademamix, 0.125, 0.5}, Case{schedule_free_adamw, 0.125, 0.5}, Case{sgd, 0.25, 1.0},
                          Case{sgdw, 0.25, 1.0}, Case{muon, 0.5 * std::sqrt(2.0), 0.5 * other},
                          Case{muon, 0.25 * 0.2 * std::sqrt(16.0), 0.5, match_rms}, Case{adamh, 1.0, 0.5 * other}}) {
    OptimizerConfig config = of(one.name);
    one.change(config);
    const Pipeline pipeline = make_pipeline(resolved_optimizer(config), wide_tensors());
    const std::size_t last = pipeline.segments.size() - 1;
    const ParameterSegment &matrix = pipeline.segments[one.name == muon ? last : 0], &vector = pipeline.segments[1];
    EXPECT_FLOAT_EQ(matrix.learning_rate_scale, static_cast<float>(one.matrix)) << static_cast<int>(one.name);
    EXPECT_FLOAT_EQ(vector.learning_rate_scale, static_cast<float>(one.vector)) << static_cast<int>(one.name);
    // What a weight loses is that of the base width; of L2 it is multiplied by the rate.
    if (one.name == adam || one.name == adamh) continue;  // which do not decay
    const bool in_gradient = resolved_optimizer(config).decay == DecayMode::l2;
    EXPECT_FLOAT_EQ(matrix.weight_decay * (in_gradient ? matrix.learning_rate_scale : 1.0f), 0.5f) << static_cast<int>(one.name);
  }
  // An angle follows from rate x decay, which does not change.
  const ParameterSegment turned = make_pipeline(resolved_optimizer(of(lionar)), wide_tensors()).segments[0];
  EXPECT_EQ(turned.control, NormControl::rotational);
  EXPECT_FLOAT_EQ(turned.learning_rate_scale, std::sqrt(0.5f));
  OptimizerConfig scaled = of(adamw);
  scaled.decay = DecayMode::scale_adjusted;
  EXPECT_FLOAT_EQ(make_pipeline(resolved_optimizer(scaled), wide_tensors()).segments[0].weight_decay, 0.5f / 0.125f);
}

TEST(Pipeline, ARateOfZeroFreezes) {
  OptimizerConfig config = of(lionar);
  config.decay = DecayMode::independent;
  config.rate_factors = {"*.wte.weight=0"};
  const ParameterSegment frozen = segment_of(made(config), "transformer.wte.weight");
  EXPECT_EQ(frozen.learning_rate_scale, 0.0f);
  EXPECT_EQ(frozen.weight_decay, 0.0f);
  EXPECT_EQ(frozen.control, NormControl::none);
}

TEST(Pipeline, APatternWithoutAMatchIsAnErrorThatNamesNearOnes) {
  const auto message = [](const std::string& line) -> std::string {
    OptimizerConfig config = of(adamw);
    config.rate_factors = {"*=1", line};
    try {
      made(config);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::usage);
      return error.what();
    }
    ADD_FAILURE() << line << " was taken";
    return "";
  };
  const std::string typo = message("*.c_atn.weight=0.5");
  EXPECT_NE(typo.find("optimizer.rate_factors: no tensor's name matches \"*.c_atn.weight\""), std::string::npos) << typo;
  EXPECT_NE(typo.find("nearest are transformer.h.*.attn.c_attn.weight"), std::string::npos) << typo;
  EXPECT_NE(message("transformer.wte=2").find("nearest are transformer.wte.weight"), std::string::npos);
  EXPECT_NE(message("*mpl*=2").find("transformer.h.*.mlp."), std::string::npos);
  EXPECT_NE(message("x=-1").find("GLOB=FACTOR"), std::string::npos);
}

TEST(Pipeline, DecayModesBecomeForms) {
  const auto form = [](OptimizerName name, DecayMode mode, L2Stage stage = L2Stage::after_clipping) {
    OptimizerConfig config = of(name);
    config.decay = mode;
    config.l2_stage = stage;
    return made(config).parts[0].settings.decay_form;
  };
  EXPECT_EQ(form(adamw, DecayMode::decoupled), DecayForm::multiplicative);
  EXPECT_EQ(form(adamw, DecayMode::independent), DecayForm::multiplicative);
  EXPECT_EQ(form(adamw, DecayMode::normalized), DecayForm::multiplicative);
  EXPECT_EQ(form(adamw, DecayMode::cautious), DecayForm::cautious);
  EXPECT_EQ(form(adam, DecayMode::l2), DecayForm::gradient);
  EXPECT_EQ(form(adam, DecayMode::l2, L2Stage::before_clipping), DecayForm::none) << "it is in the gradient already";
  EXPECT_EQ(form(adam, DecayMode::scale_adjusted), DecayForm::scaled_gradient);
  EXPECT_EQ(form(adamw, DecayMode::none), DecayForm::none);
}

TEST(Pipeline, RotationalControlByRow) {
  OptimizerConfig config = of(lionar);
  config.rate_factors = {"*.h.0.*=0.25"};
  const Pipeline pipeline = made(config);
  std::int64_t rows = 0;
  for (const ParameterSegment& segment : pipeline.segments) {
    if (segment.rows == 1) {
      EXPECT_EQ(segment.control, NormControl::none);
      continue;
    }
    EXPECT_EQ(segment.control, NormControl::rotational);
    EXPECT_EQ(segment.per_row, 1);
    EXPECT_EQ(segment.weight_decay, 0.0f) << "the norm is held, nothing decays";
    EXPECT_EQ(segment.first_row, rows);
    rows += segment.rows;
  }
  EXPECT_EQ(pipeline.controlled_rows, rows);
  EXPECT_EQ(rows, 32 + 16 + 2 * (24 + 32 + 8));
  EXPECT_EQ(segments_of(pipeline, "transformer.h.0.attn.c_attn.weight").size(), 1u) << "rows need no splitting";
  EXPECT_FLOAT_EQ(segment_of(pipeline, "transformer.h.1.mlp.c_fc.weight").learning_rate_scale, std::sqrt(0.5f));
  EXPECT_FLOAT_EQ(segment_of(pipeline, "transformer.h.0.mlp.c_fc.weight").learning_rate_scale, std::sqrt(0.125f));
  EXPECT_EQ(segment_of(pipeline, "transformer.h.0.mlp.c_fc.weight").gain_rate_scale, 0.25f) << "gains have rates, not angles";
  config.decay = DecayMode::independent;  // the angle does not depend on the rate
  EXPECT_FLOAT_EQ(segment_of(made(config), "transformer.h.0.mlp.c_fc.weight").learning_rate_scale, std::sqrt(0.5f));
}

TEST(Pipeline, RotationalControlActsOnWhatDecays) {
  OptimizerConfig config = of(lionar);
  config.rotation_embeddings = false;
  config.decay_factors = {"*.mlp.c_fc.weight=0"};
  const Pipeline pipeline = made(config);
  EXPECT_EQ(segment_of(pipeline, "transformer.wte.weight").control, NormControl::none);
  EXPECT_EQ(segment_of(pipeline, "transformer.wte.weight").weight_decay, 0.5f);
  EXPECT_EQ(segment_of(pipeline, "transformer.h.0.mlp.c_fc.weight").control, NormControl::none);
  EXPECT_EQ(segment_of(pipeline, "transformer.h.0.mlp.c_fc.weight").learning_rate_scale, 1.0f);
  EXPECT_EQ(segment_of(pipeline, "transformer.h.0.mlp.c_proj.weight").control, NormControl::rotational);
}

TEST(Pipeline, ControlByMatrixSplitsQueriesKeysAndValues) {
  for (const OptimizerName name : {lionar, adamh}) {
    OptimizerConfig config = of(name);
    config.norm_granularity = Granularity::matrix;
    const std::vector<ParameterSegment> parts = segments_of(made(config), "transformer.h.1.attn.c_attn.weight");
    ASSERT_EQ(parts.size(), 3u);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(parts[i].rows, 8);
      EXPECT_EQ(parts[i].columns, 8);
      EXPECT_EQ(parts[i].per_row, 0);
      EXPECT_EQ(parts[i].offset, parts[0].offset + static_cast<std::int64_t>(i) * 64);
      EXPECT_EQ(parts[i].first_row, parts[0].first_row + static_cast<std::int64_t>(i) * 8);
    }
  }
}

TEST(Pipeline, AdamHControlsBlockMatrices) {
  OptimizerConfig config = of(adamh);
  config.other_learning_rate = 0.005;
  const Pipeline pipeline = made(config);
  const ParameterSegment matrix = segment_of(pipeline, "transformer.h.0.mlp.c_fc.weight");
  EXPECT_EQ(matrix.control, NormControl::relative);
  EXPECT_EQ(matrix.learning_rate_scale, 1.0f);
  EXPECT_EQ(matrix.weight_decay, 0.0f);
  const ParameterSegment embedding = segment_of(pipeline, "transformer.wte.weight");
  EXPECT_EQ(embedding.control, NormControl::none);
  EXPECT_FLOAT_EQ(embedding.learning_rate_scale, 0.25f);
  EXPECT_FLOAT_EQ(embedding.weight_decay, 0.125f) << "other_learning_rate x weight_decay, where StepScalars have learning_rate";
}

TEST(Pipeline, MuonTakesBlockMatricesAndAdamWTheRest) {
  OptimizerConfig config = of(muon);
  config.other_learning_rate = 0.01;
  config.clip_mode = ClipMode::value;
  const Pipeline pipeline = made(config);
  ASSERT_EQ(pipeline.parts.size(), 3u);
  const UpdatePart &directions = pipeline.parts[0], &steps = pipeline.parts[1], &others = pipeline.parts[2];
  EXPECT_TRUE(std::get<Momentum>(directions.rule).nesterov);
  EXPECT_TRUE(std::holds_alternative<PlainGradient>(steps.rule));
  EXPECT_TRUE(std::holds_alternative<Adam>(others.rule));
  EXPECT_TRUE(others.beside_muon);
  EXPECT_FALSE(steps.settings.clip_norm) << "a direction is no gradient";
  EXPECT_EQ(steps.settings.clip_value, 0.0f);
  EXPECT_EQ(directions.settings.clip_value, 1.0f);
  EXPECT_EQ(directions.count, 2 * (3 + 1 + 1));
  EXPECT_EQ(steps.count, directions.count);
  EXPECT_EQ(pipeline.with_gradient, directions.count + others.count);
  EXPECT_EQ(pipeline.controlled_rows, 0);

  const std::string up = "transformer.h.0.mlp.c_fc.weight", down = "transformer.h.0.mlp.c_proj.weight";
  EXPECT_EQ(segment_of(pipeline, up, 0).control, NormControl::direction);
  EXPECT_EQ(segment_of(pipeline, up, 0).weight_decay, 0.0f);
  EXPECT_EQ(segment_of(pipeline, up, 1).control, NormControl::none);
  EXPECT_FLOAT_EQ(segment_of(pipeline, up, 1).learning_rate_scale, 2.0f);  // sqrt(32/8)
  EXPECT_FLOAT_EQ(segment_of(pipeline, down, 1).learning_rate_scale, 1.0f);
  EXPECT_FLOAT_EQ(segment_of(pipeline, up, 1).weight_decay, 0.5f) << "by the rate without the shape's factor";
  EXPECT_EQ(segments_of(pipeline, "transformer.h.0.attn.c_attn.weight", 1).size(), 3u);
  EXPECT_TRUE(segments_of(pipeline, "transformer.wte.weight", 0).empty());
  EXPECT_FLOAT_EQ(segment_of(pipeline, "transformer.wte.weight", 2).learning_rate_scale, 0.5f);

  config.muon_scale = MuonScale::match_rms;
  EXPECT_FLOAT_EQ(segment_of(made(config), down, 1).learning_rate_scale, 0.2f * std::sqrt(32.0f));
  config.decay = DecayMode::l2;  // into the gradient, which only the direction sees
  EXPECT_EQ(segment_of(made(config), up, 0).weight_decay, 0.5f);
  EXPECT_EQ(segment_of(made(config), up, 1).weight_decay, 0.0f);
}

TEST(Pipeline, NamesBecomeRules) {
  const auto rule = [](
                        OptimizerName name, const std::function<void(OptimizerConfig&)>& change = [](auto&) {}) {
    OptimizerConfig config = of(name);
    change(config);
    return made(config).parts[0].rule;
  };
  EXPECT_TRUE(std::holds_alternative<PlainGradient>(rule(sgd, [](auto& c) { c.momentum = 0.0; })));
  EXPECT_TRUE(std::holds_alternative<Momentum>(rule(sgdw)));
  EXPECT_EQ(std::get<Lion>(rule(lion)).beta2, 0.99f);
  EXPECT_TRUE(std::get<SignMomentum>(rule(nesterov_lion)).nesterov);
  EXPECT_EQ(std::get<SignMomentum>(rule(nesterov_lion)).scale, 1.0f);
  EXPECT_FALSE(std::get<SignMomentum>(rule(liona)).nesterov);
  EXPECT_NEAR(std::get<SignMomentum>(rule(lionar)).scale, 0.229415734, 1e-8);
  EXPECT_EQ(std::get<SignMomentum>(rule(liona, [](auto& c) { c.sign_scale = SignScale::one; })).scale, 1.0f);
  const Adam adam_rule = std::get<Adam>(rule(adamw, [](auto& c) {
    c.bias_correction = BiasCorrection::second;
    c.eps_placement = EpsilonPlacement::inside;
    c.eps = 1e-6;
  }));
  EXPECT_FALSE(adam_rule.correct_first);
  EXPECT_TRUE(adam_rule.epsilon_inside);
  EXPECT_EQ(adam_rule.epsilon, 1e-6f);
  EXPECT_EQ(adam_rule.beta2, 0.95f);
  EXPECT_EQ(std::get<AdEMAMix>(rule(ademamix)).beta2, 0.999f);
  EXPECT_EQ(std::get<ScheduleFree>(rule(schedule_free_adamw)).beta2, 0.999f);
}

}  // namespace
}  // namespace temper
