#include "config/fields.h"

#include <gtest/gtest.h>

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
  EXPECT_EQ(rows("") + config_sections().size(), members<RunConfig>());
}

TEST(Fields, PathsAreUniqueAndSectionsKnownAndTogether) {
  std::set<std::string_view> paths;
  std::vector<std::string_view> order;
  for (const Field& field : config_fields()) {
    EXPECT_TRUE(paths.insert(field.path).second) << field.path;
    EXPECT_FALSE(field.help.empty()) << field.path;
    EXPECT_EQ(find_field(field.path), &field);
    if (order.empty() || order.back() != field.section()) order.push_back(field.section());
    if (!field.alternative.empty()) {
      ASSERT_NE(find_field(field.alternative), nullptr) << field.path;
      EXPECT_EQ(find_field(field.alternative)->alternative, field.path);
      EXPECT_EQ(find_field(field.alternative)->section(), field.section());
    }
  }
  std::vector<std::string_view> expected = {""};
  for (const Section& section : config_sections()) expected.push_back(section.name);
  EXPECT_EQ(order, expected);
}

/// A value the field takes and does not have in RunConfig{}.
Value another_value(const Field& field) {
  const Value initial = get_field(field, RunConfig{});
  const std::string_view type = type_name(field);
  if (type == "integer") return {std::int64_t{7}};
  if (type == "number") return {0.125};
  if (type == "boolean") return {!std::get<bool>(initial.data)};
  if (type == "string or list of strings") return {std::vector<Value>{{"x.bin"}, {"y*.bin"}}};
  if (const auto* choice = std::get_if<ChoiceKind>(&field.kind)) return {std::string(choice->names.back())};
  if (field.path == "data.format") return {"raw_u16"};
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

TEST(Fields, EnumeratorsHaveTheirNames) {
  const auto name = [](std::string_view path, auto change) {
    RunConfig config;
    change(config);
    return std::get<std::string>(get_field(*find_field(path), config).data);
  };
  EXPECT_EQ(name("schedule.name", [](RunConfig& c) { c.schedule.name = ScheduleName::constant; }), "constant");
  EXPECT_EQ(name("schedule.name", [](RunConfig& c) { c.schedule.name = ScheduleName::linear; }), "linear");
  EXPECT_EQ(name("schedule.name", [](RunConfig& c) { c.schedule.name = ScheduleName::cosine; }), "cosine");
  EXPECT_EQ(name("schedule.name", [](RunConfig& c) { c.schedule.name = ScheduleName::wsd; }), "wsd");
  EXPECT_EQ(name("device", [](RunConfig& c) { c.device = DeviceChoice::automatic; }), "auto");
  EXPECT_EQ(name("device", [](RunConfig& c) { c.device = DeviceChoice::cpu; }), "cpu");
  EXPECT_EQ(name("device", [](RunConfig& c) { c.device = DeviceChoice::cuda; }), "cuda");
  EXPECT_EQ(name("precision", [](RunConfig& c) { c.precision = Precision::fp32; }), "fp32");
  EXPECT_EQ(name("precision", [](RunConfig& c) { c.precision = Precision::bf16; }), "bf16");
  EXPECT_EQ(name("optimizer.name", [](RunConfig& c) { c.optimizer.name = OptimizerName::adamw; }), "adamw");
  EXPECT_EQ(name("optimizer.decay", [](RunConfig& c) { c.optimizer.decay = DecayMode::none; }), "none");
  EXPECT_EQ(name("optimizer.decay", [](RunConfig& c) { c.optimizer.decay = DecayMode::decoupled; }), "decoupled");
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
  EXPECT_TRUE(takes_value("optimizer.grad_clip", {0.0}));
  EXPECT_FALSE(takes_value("optimizer.grad_clip", {-1e-9}));
  EXPECT_TRUE(takes_value("schedule.warmup_fraction", {1.0}));
  EXPECT_FALSE(takes_value("schedule.warmup_steps", {std::int64_t{-1}}));  // the struct's "not given" cannot be written
  EXPECT_FALSE(takes_value("optimizer.grad_clip", {std::numeric_limits<double>::infinity()}));
  EXPECT_FALSE(takes_value("optimizer.grad_clip", {std::numeric_limits<double>::quiet_NaN()}));
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
      {"optimizer.name", "\"adamw\""},
      {"precision", "one of \"fp32\", \"bf16\""},
      {"log.tensorboard", "true or false"},
  };
  for (const auto& [path, text] : expected) EXPECT_EQ(allowed_values(*find_field(path)), text);
}

}  // namespace
}  // namespace temper
