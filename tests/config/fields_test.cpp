#include "config/fields.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <utility>

namespace temper {
namespace {

struct Anything {
  template <class T>
  operator T() const;  // NOLINT: only named, in unevaluated operands
};

template <class Struct, std::size_t... Index>
constexpr bool takes(std::index_sequence<Index...>) {
  return requires { Struct{(static_cast<void>(Index), Anything{})...}; };
}

/// Members of an aggregate: the longest list of initialisers it takes.
template <class Struct, std::size_t Count = 64>
constexpr std::size_t members() {
  if constexpr (takes<Struct>(std::make_index_sequence<Count>{})) {
    return Count;
  } else {
    return members<Struct, Count - 1>();
  }
}

std::size_t rows(std::string_view section) {
  std::size_t count = 0;
  for (const Field& field : config_fields()) count += field.section() == section ? 1 : 0;
  return count;
}

// A member without a row would be a setting that no file can reach.
TEST(Fields, EveryMemberOfEveryStructHasARow) {
  EXPECT_EQ(rows("model"), members<ModelConfig>());
  EXPECT_EQ(rows("data"), members<DataConfig>());
  EXPECT_EQ(rows("batch"), members<BatchConfig>());
  EXPECT_EQ(rows("train"), members<TrainConfig>());
  EXPECT_EQ(rows("optimizer"), members<OptimizerConfig>());
  EXPECT_EQ(rows("schedule"), members<ScheduleConfig>());
  EXPECT_EQ(rows("eval"), members<EvalConfig>());
  EXPECT_EQ(rows("checkpoint"), members<CheckpointConfig>());
  EXPECT_EQ(rows("log"), members<LogConfig>());
  EXPECT_EQ(rows("diagnostics"), members<DiagnosticsConfig>());
  EXPECT_EQ(rows("parallel"), members<ParallelConfig>());
  EXPECT_EQ(rows("") + config_table().sections.size(), members<RunConfig>());
}

TEST(Fields, GroupsOfAlternatives) {
  const auto names = [](std::string_view path) {
    std::set<std::string_view> paths;
    for (const Field* other : alternatives(*find_field(path))) paths.insert(other->path);
    return paths;
  };
  using Paths = std::set<std::string_view>;
  EXPECT_EQ(names("train.steps"), Paths{"train.tokens"});
  EXPECT_EQ(names("train.branch_from"), Paths{"train.init_from"});
  EXPECT_EQ(names("schedule.warmup_fraction"), (Paths{"schedule.warmup_steps", "schedule.warmup_tokens"}));
  EXPECT_EQ(names("seed"), Paths{});
}

TEST(Fields, PathsAreUniqueAndSectionsKnownAndTogether) {
  std::set<std::string_view> paths;
  std::vector<std::string_view> order;
  for (const Field& field : config_fields()) {
    EXPECT_TRUE(paths.insert(field.path).second) << field.path;
    EXPECT_FALSE(field.help.empty()) << field.path;
    EXPECT_EQ(find_field(field.path), &field);
    if (order.empty() || order.back() != field.section()) order.push_back(field.section());
    for (const Field* other : alternatives(field)) {
      EXPECT_EQ(other->section(), field.section()) << field.path;  // as the schema relies on
      EXPECT_TRUE(get_field(field, RunConfig{}).is_null()) << field.path;
    }
    EXPECT_EQ(field.group.empty(), alternatives(field).empty()) << field.path << " is a group of one";
  }
  std::vector<std::string_view> expected = {""};
  for (const Section& section : config_table().sections) expected.push_back(section.name);
  EXPECT_EQ(order, expected);
}

/// A value the field takes and does not have in RunConfig{}.
Value another_value(const Field& field) {
  const Value initial = get_field(field, RunConfig{});
  if (const auto* kind = std::get_if<IntegerKind>(&field.kind)) return {std::min(kind->min + 7, kind->max)};
  if (const auto* kind = std::get_if<NumberKind>(&field.kind)) return {kind->min + 0.125};
  if (const auto* kind = std::get_if<TextListKind>(&field.kind)) {
    if (!kind->names.empty()) return {std::vector<Value>{{std::string(kind->names.back())}}};
    if (kind->is_glob_factor) return {std::vector<Value>{{"*.wte.*=0.5"}, {"*=2"}}};
    return {std::vector<Value>{{"x.bin"}, {"y*.bin"}}};
  }
  if (const auto* text = std::get_if<TextKind>(&field.kind); text != nullptr && !text->names.empty()) {
    const Value last{std::string(text->names.back())};
    return last == initial ? Value{std::string(text->names.front())} : last;
  }
  if (field.path == "optimizer.decay_timescale") return {std::string("2000 steps")};
  const std::string_view type = type_name(field);
  if (type == "integer") return {std::int64_t{7}};
  if (type == "number or list of numbers") return {std::vector<Value>{{0.125}, {0.5}}};
  if (type == "boolean") return {!std::get<bool>(initial.data)};
  return {"something"};
}

// Two rows that reach the same member, or an accessor that reaches the wrong one, would show as a second changed field.
TEST(Fields, SettingAFieldChangesThatFieldOnly) {
  for (const Field& field : config_fields()) {
    RunConfig config;
    const Value value = another_value(field);
    ASSERT_EQ(set_field(field, config, value), "");
    EXPECT_EQ(get_field(field, config), value) << field.path;
    for (const Field& other : config_fields()) {
      if (&other == &field) continue;
      EXPECT_EQ(get_field(other, config), get_field(other, RunConfig{})) << field.path << " moved " << other.path;
    }
    reset_field(field, config);
    EXPECT_EQ(get_field(field, config), get_field(field, RunConfig{})) << field.path;
  }
}

TEST(Fields, AFieldIsWhereItsNameSays) {
  RunConfig config;
  set_field(*find_field("optimizer.beta2"), config, {0.5});
  set_field(*find_field("schedule.name"), config, {"wsd"});
  set_field(*find_field("precision"), config, {"bf16"});
  set_field(*find_field("device"), config, {"cuda"});
  set_field(*find_field("optimizer.decay"), config, {"none"});
  set_field(*find_field("model.n_embd"), config, {std::int64_t{64}});
  EXPECT_EQ(config.optimizer.beta2, 0.5);
  EXPECT_EQ(config.schedule.name, ScheduleName::wsd);
  EXPECT_EQ(config.precision, Precision::bf16);
  EXPECT_EQ(config.device, DeviceChoice::cuda);
  EXPECT_EQ(config.optimizer.decay, DecayMode::none);
  EXPECT_EQ(config.model.n_embd, 64);
}

/// The names of all enumerators of a choice, in their order.
template <class Access, class Enum>
void expect_names(std::string_view path, Access access, const std::vector<Enum>& enumerators, const std::string& expected) {
  const Field& field = *find_field(path);
  EXPECT_EQ(std::get<TextKind>(field.kind).names.size(), enumerators.size()) << path;
  std::string names;
  for (const Enum enumerator : enumerators) {
    RunConfig config;
    access(config) = enumerator;
    names += (names.empty() ? "" : " ") + std::get<std::string>(get_field(field, config).data);
  }
  EXPECT_EQ(names, expected) << path;
}

TEST(Fields, ChoicesOfTheRunHaveTheirNames) {
  {
    using enum DeviceChoice;
    expect_names(
        "device", [](auto& c) -> auto& { return c.device; }, std::vector{automatic, cpu, cuda}, "auto cpu cuda");
  }
  {
    using enum Precision;
    expect_names(
        "precision", [](auto& c) -> auto& { return c.precision; }, std::vector{fp32, bf16, tf32}, "fp32 bf16 tf32");
  }
  {
    using enum Initialization;
    expect_names(
        "model.init", [](auto& c) -> auto& { return c.model.init; }, std::vector{gpt2, xavier, he}, "gpt2 xavier he");
  }
  {
    using enum Recompute;
    expect_names(
        "train.recompute", [](auto& c) -> auto& { return c.train.recompute; }, std::vector{none, gelu_layernorm, block},
        "none gelu_layernorm block");
  }
}

TEST(Fields, ChoicesOfTheScheduleHaveTheirNames) {
  {
    using enum ScheduleName;
    expect_names(
        "schedule.name", [](auto& c) -> auto& { return c.schedule.name; },
        std::vector{constant, linear, cosine, step, wsd, inverse_sqrt, restarts, power, file},
        "constant linear cosine step wsd inverse_sqrt restarts power file");
  }
  {
    using enum WarmupShape;
    expect_names(
        "schedule.warmup_shape", [](auto& c) -> auto& { return c.schedule.warmup_shape; }, std::vector{linear, exponential, cosine},
        "linear exponential cosine");
  }
  {
    using enum WarmupFirst;
    expect_names(
        "schedule.warmup_first", [](auto& c) -> auto& { return c.schedule.warmup_first; }, std::vector{zero, one_step, percent},
        "zero one_step percent");
  }
  {
    using enum CooldownShape;
    expect_names(
        "schedule.cooldown_shape", [](auto& c) -> auto& { return c.schedule.cooldown_shape; },
        std::vector{linear, one_minus_sqrt, cosine, one_minus_square, mirror_cosine, exponential},
        "linear one_minus_sqrt cosine one_minus_square mirror_cosine exponential");
  }
}

TEST(Fields, ChoicesOfTheOptimizerHaveTheirNames) {
  {
    using enum OptimizerName;
    expect_names(
        "optimizer.name", [](auto& c) -> auto& { return c.optimizer.name; },
        std::vector{sgd, sgdw, adam, adamw, adamc, lion, nesterov_lion, liona, lionar, adamh, muon, ademamix, schedule_free_adamw},
        "sgd sgdw adam adamw adamc lion nesterov_lion liona lionar adamh muon ademamix schedule_free_adamw");
  }
  {
    using enum EpsilonPlacement;
    expect_names(
        "optimizer.eps_placement", [](auto& c) -> auto& { return c.optimizer.eps_placement; }, std::vector{outside, inside},
        "outside inside");
  }
  {
    using enum BiasCorrection;
    expect_names(
        "optimizer.bias_correction", [](auto& c) -> auto& { return c.optimizer.bias_correction; }, std::vector{both, second},
        "both second");
  }
  {
    using enum InverseBiasCorrection;
    expect_names(
        "optimizer.inverse_bias_correction", [](auto& c) -> auto& { return c.optimizer.inverse_bias_correction; },
        std::vector{none, linear, root}, "none linear root");
  }
  {
    using enum SignScale;
    expect_names(
        "optimizer.sign_scale", [](auto& c) -> auto& { return c.optimizer.sign_scale; }, std::vector{noise, norm_matched, one},
        "noise norm_matched one");
  }
  {
    using enum DecayMode;
    expect_names(
        "optimizer.decay", [](auto& c) -> auto& { return c.optimizer.decay; },
        std::vector{none, l2, decoupled, independent, normalized, scale_adjusted, cautious},
        "none l2 decoupled independent normalized scale_adjusted cautious");
  }
  {
    using enum L2Stage;
    expect_names(
        "optimizer.l2_stage", [](auto& c) -> auto& { return c.optimizer.l2_stage; }, std::vector{before_clipping, after_clipping},
        "before_clipping after_clipping");
  }
  {
    using enum DecaySchedule;
    expect_names(
        "optimizer.decay_schedule", [](auto& c) -> auto& { return c.optimizer.decay_schedule; },
        std::vector{constant, follow_rate, linear, cosine}, "constant follow_rate linear cosine");
  }
  {
    using enum ClipMode;
    expect_names(
        "optimizer.clip_mode", [](auto& c) -> auto& { return c.optimizer.clip_mode; }, std::vector{global, tensor, value},
        "global tensor value");
  }
  {
    using enum NormControlChoice;
    expect_names(
        "optimizer.norm_control", [](auto& c) -> auto& { return c.optimizer.norm_control; },
        std::vector{none, rotational, relative}, "none rotational relative");
  }
  {
    using enum Granularity;
    expect_names(
        "optimizer.norm_granularity", [](auto& c) -> auto& { return c.optimizer.norm_granularity; }, std::vector{row, matrix},
        "row matrix");
  }
  {
    using enum RotationSchedule;
    expect_names(
        "optimizer.rotation_schedule", [](auto& c) -> auto& { return c.optimizer.rotation_schedule; }, std::vector{root, linear},
        "root linear");
  }
  {
    using enum RateCorrectionChoice;
    expect_names(
        "optimizer.rate_correction", [](auto& c) -> auto& { return c.optimizer.rate_correction; },
        std::vector{none, gradient, momentum}, "none gradient momentum");
  }
  {
    using enum MuonScale;
    expect_names(
        "optimizer.muon_scale", [](auto& c) -> auto& { return c.optimizer.muon_scale; }, std::vector{shape, match_rms},
        "shape match_rms");
  }
}

TEST(Fields, RangesHoldAtTheirEnds) {
  const auto takes_value = [](std::string_view path, Value value) {
    RunConfig config;
    return set_field(*find_field(path), config, value).empty();
  };
  EXPECT_TRUE(takes_value("model.n_layer", {std::int64_t{1}}));
  EXPECT_FALSE(takes_value("model.n_layer", {std::int64_t{0}}));
  EXPECT_TRUE(takes_value("model.vocab_size", {std::int64_t{65536}}));
  EXPECT_FALSE(takes_value("model.vocab_size", {std::int64_t{65537}}));
  EXPECT_FALSE(takes_value("checkpoint.keep", {std::int64_t{0}}));
  EXPECT_TRUE(takes_value("optimizer.beta1", {0.0}));
  EXPECT_FALSE(takes_value("optimizer.beta1", {1.0}));
  EXPECT_FALSE(takes_value("optimizer.learning_rate", {0.0}));
  EXPECT_FALSE(takes_value("optimizer.beta1", {-1.0}));
  EXPECT_FALSE(takes_value("optimizer.other_learning_rate", {-1.0}));
  EXPECT_TRUE(takes_value("schedule.cycle_growth", {1.0}));
  EXPECT_FALSE(takes_value("schedule.cycle_growth", {0.99}));
  EXPECT_TRUE(takes_value("optimizer.grad_clip", {0.0}));
  EXPECT_FALSE(takes_value("optimizer.grad_clip", {-1e-9}));
  EXPECT_TRUE(takes_value("schedule.warmup_fraction", {1.0}));
  EXPECT_FALSE(takes_value("schedule.warmup_steps", {std::int64_t{-1}}));
  EXPECT_FALSE(takes_value("optimizer.grad_clip", {std::numeric_limits<double>::infinity()}));
  EXPECT_FALSE(takes_value("optimizer.grad_clip", {std::numeric_limits<double>::quiet_NaN()}));
}

TEST(Fields, ListsHoldWhatTheirRowAllows) {
  const auto takes_value = [](std::string_view path, Value value) {
    RunConfig config;
    return set_field(*find_field(path), config, value).empty();
  };
  const auto list = [](std::vector<Value> values) { return Value{std::move(values)}; };
  EXPECT_TRUE(takes_value("schedule.milestones", {0.5}));  // one number is a list of one
  EXPECT_TRUE(takes_value("schedule.milestones", list({{0.25}, {0.5}})));
  EXPECT_FALSE(takes_value("schedule.milestones", list({{0.25}, {1.0}})));
  EXPECT_FALSE(takes_value("schedule.milestones", list({{0.25}, {std::int64_t{0}}})));
  EXPECT_FALSE(takes_value("schedule.milestones", list({{0.25}, {"0.5"}})));
  EXPECT_FALSE(takes_value("schedule.milestones", list({{std::numeric_limits<double>::quiet_NaN()}})));

  EXPECT_TRUE(takes_value("optimizer.decay_on", {"biases"}));
  EXPECT_TRUE(takes_value("optimizer.decay_on", list({})));
  EXPECT_FALSE(takes_value("optimizer.decay_on", list({{"matrices"}, {"weights"}})));

  for (const char* path : {"optimizer.decay_factors", "optimizer.rate_factors"}) {
    for (const char* text : {"*.wte.*=0.5", "*=0", "a=b=1e-3", "h.?.attn=.5"}) EXPECT_TRUE(takes_value(path, {text})) << text;
    for (const char* text : {"*.wte.*", "=1", "*=", "*=-1", "*=x", "*=1x", "*= 1", "*=nan", "*=inf", "*=1e999", "*=-0"})
      EXPECT_FALSE(takes_value(path, {text})) << text;
    EXPECT_FALSE(takes_value(path, {0.5}));
  }
  const auto read = parse_glob_factor("a=b=1e-3");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->glob, "a=b");
  EXPECT_EQ(read->factor, 1e-3);
}

TEST(Fields, IntegersMayBeWrittenAsIntegralNumbers) {
  RunConfig config;
  EXPECT_EQ(set_field(*find_field("train.tokens"), config, {5e8}), "");
  EXPECT_EQ(config.train.tokens, 500'000'000);
  EXPECT_NE(set_field(*find_field("train.tokens"), config, {5.5}), "");
  EXPECT_NE(set_field(*find_field("train.tokens"), config, {1e300}), "");
  EXPECT_EQ(set_field(*find_field("seed"), config, {UINT64_MAX}), "");
  EXPECT_EQ(config.seed, UINT64_MAX);
  EXPECT_NE(set_field(*find_field("seed"), config, {std::int64_t{-1}}), "");
}

TEST(Fields, WhatIsAllowedIsSaidInWords) {
  const std::map<std::string_view, std::string> expected = {
      {"model.n_layer", "an integer from 1 to 1024"},
      {"optimizer.beta1", "a number of at least 0 and below 1"},
      {"optimizer.learning_rate", "a number above 0 and at most 1000"},
      {"optimizer.grad_clip", "a number of at least 0"},
      {"schedule.min_ratio", "a number from 0 to 1"},
      {"precision", "one of \"fp32\", \"bf16\", \"tf32\""},
      {"schedule.milestones", "a number above 0 and below 1, or a list of them"},
      {"optimizer.decay_on", "a list of any of \"embeddings\", \"matrices\", \"biases\", \"layernorms\""},
      {"optimizer.rate_factors", "\"GLOB=FACTOR\" with a number of at least 0 as FACTOR, or a list of them"},
      {"data.train", "a path or glob, or a list of them, none of them empty"},
      {"log.tensorboard", "true or false"},
  };
  for (const auto& [path, text] : expected) EXPECT_EQ(allowed_values(*find_field(path)), text);
}

}  // namespace
}  // namespace temper
