#include "model/weights.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/check.h"
#include "small_model.h"

namespace temper {
namespace {

struct HeldWeights {
  HeldWeights(const ModelConfig& config, Precision precision)
      : ops(make_cpu_ops()), memory(ops.get()), weights(config, precision, Weights::Use::inference, ops.get(), memory) {}

  std::vector<float> get(const std::string& name) const { return weights.download(*weights.layout().find(name)); }

  std::unique_ptr<Ops> ops;
  DeviceMemory memory;
  Weights weights;
};

ModelConfig wide_config() {
  ModelConfig config = small_config(true);
  config.n_layer = 8;
  config.n_embd = 128;
  return config;
}

struct Moments {
  double mean, deviation;
};

Moments moments(const std::vector<float>& values, std::size_t count) {
  double sum = 0.0, squares = 0.0;
  for (std::size_t i = 0; i < count; ++i) {
    sum += values[i];
    squares += static_cast<double>(values[i]) * values[i];
  }
  const double mean = sum / static_cast<double>(count);
  return {mean, std::sqrt(squares / static_cast<double>(count) - mean * mean)};
}

void expect_normal(const std::vector<float>& values, std::size_t count, double deviation, const std::string& name) {
  const Moments found = moments(values, count);
  // Standard errors are deviation / sqrt(n) and deviation / sqrt(2n); five of them leave one seed in a million to chance.
  const double n = static_cast<double>(count);
  EXPECT_NEAR(found.mean, 0.0, 5.0 * deviation / std::sqrt(n)) << name;
  EXPECT_NEAR(found.deviation, deviation, 5.0 * deviation / std::sqrt(2.0 * n)) << name;
}

TEST(Initialization, IsThatOfGpt2) {
  const ModelConfig config = wide_config();
  HeldWeights held(config, Precision::fp32);
  held.weights.initialize(7);
  const double residual = config.init_std / std::sqrt(2.0 * 8.0);
  for (const Parameter& parameter : held.weights.layout().parameters()) {
    const std::vector<float> values = held.weights.download(parameter);
    if (parameter.name == "transformer.wte.weight") {
      expect_normal(values, 131 * 128, config.init_std, parameter.name);
    } else if (parameter.kind == ParameterKind::matrix || parameter.kind == ParameterKind::embedding) {
      const bool projection = parameter.name.find("c_proj") != std::string::npos;
      expect_normal(values, values.size(), projection ? residual : config.init_std, parameter.name);
    } else {
      const bool gain = parameter.name.find("ln_") != std::string::npos && parameter.name.ends_with(".weight");
      EXPECT_EQ(values, std::vector<float>(values.size(), gain ? 1.0f : 0.0f)) << parameter.name;
    }
  }
}

TEST(Initialization, XavierAndHeGoByFans) {
  ModelConfig config = wide_config();
  struct Case {
    const char* name;
    double fan_in, fan_out;
    bool into_residual;
  };
  const double C = 128.0;
  for (const Initialization init : {Initialization::gpt2, Initialization::xavier, Initialization::he}) {
    for (const bool scaled : {false, true}) {
      config.init = init;
      config.residual_scaling = scaled;
      HeldWeights held(config, Precision::fp32);
      held.weights.initialize(7);
      for (const Case& one : {Case{"attn.c_attn", C, C, false}, Case{"attn.c_proj", C, C, true}, Case{"mlp.c_fc", C, 4 * C, false},
                              Case{"mlp.c_proj", 4 * C, C, true}}) {
        double deviation = config.init_std;
        if (init == Initialization::xavier) deviation = std::sqrt(2.0 / (one.fan_in + one.fan_out));
        if (init == Initialization::he) deviation = std::sqrt(2.0 / one.fan_in);
        if (scaled && one.into_residual) deviation /= 4.0;  // sqrt(2 x 8 layers)
        const std::vector<float> values = held.get(std::string("transformer.h.3.") + one.name + ".weight");
        expect_normal(values, values.size(), deviation, one.name);
      }
      const std::vector<float> positions = held.get("transformer.wpe.weight");
      expect_normal(positions, positions.size(), config.init_std, "embeddings have no fan");
    }
  }
}

// At m = 4: block matrices are half as large whatever the rule, by their fans or by the root of m, and c_attn, c_proj of the attention and the
// last norm hold m^(-1/4), m^(1/4) and 1/m of that.
TEST(Initialization, UnderMupFollowsTheWidth) {
  ModelConfig config = wide_config();
  for (const Initialization init : {Initialization::gpt2, Initialization::xavier, Initialization::he}) {
    config.init = init;
    config.n_embd = 32;
    HeldWeights base(config, Precision::fp32);
    base.weights.initialize(7);
    config.n_embd = 128;
    config.mup_base_width = 32;
    HeldWeights wide(config, Precision::fp32);
    wide.weights.initialize(7);
    config.mup_base_width.reset();
    const double root = std::sqrt(2.0);
    for (const auto& [name, factor] : {std::pair{"transformer.wpe.weight", 1.0},
                                       {"transformer.h.3.attn.c_attn.weight", 0.5 / root},
                                       {"transformer.h.3.attn.c_proj.weight", 0.5 * root},
                                       {"transformer.h.3.mlp.c_fc.weight", 0.5},
                                       {"transformer.h.3.mlp.c_proj.weight", 0.5}}) {
      const std::vector<float> narrow = base.get(name), values = wide.get(name);
      const double deviation = moments(narrow, narrow.size()).deviation;
      // Five standard errors of the smaller sample, beside those of expect_normal.
      EXPECT_NEAR(moments(values, values.size()).deviation / deviation, factor,
                  6.0 * factor / std::sqrt(2.0 * static_cast<double>(narrow.size())))
          << name;
    }
    EXPECT_EQ(wide.get("transformer.ln_f.weight"), std::vector<float>(128, 0.25f));
    EXPECT_EQ(wide.get("transformer.h.3.ln_1.weight"), std::vector<float>(128, 1.0f));
  }
}

TEST(Initialization, PaddedVocabularyRowsAreZero) {
  HeldWeights held(wide_config(), Precision::fp32);
  held.weights.initialize(7);
  const std::vector<float> wte = held.get("transformer.wte.weight");
  ASSERT_EQ(wte.size(), 256u * 128u);
  for (std::size_t i = 131 * 128; i < wte.size(); ++i) ASSERT_EQ(wte[i], 0.0f) << i;
}

TEST(Initialization, DependsOnTheSeedAndNothingElse) {
  HeldWeights first(small_config(true), Precision::fp32), second(small_config(true), Precision::fp32);
  first.weights.initialize(1);
  second.weights.initialize(2);
  EXPECT_NE(first.get("transformer.wpe.weight"), second.get("transformer.wpe.weight"));
  second.weights.initialize(1);
  for (const Parameter& parameter : first.weights.layout().parameters())
    EXPECT_EQ(first.weights.download(parameter), second.weights.download(parameter)) << parameter.name;
}

TEST(Initialization, TensorsOfOneShapeDiffer) {
  HeldWeights held(small_config(true), Precision::fp32);
  held.weights.initialize(1);
  EXPECT_NE(held.get("transformer.h.0.attn.c_attn.weight"), held.get("transformer.h.1.attn.c_attn.weight"));
}

TEST(Weights, Bf16CopyIsTheRoundedMaster) {
  HeldWeights held(small_config(true), Precision::bf16);
  held.weights.initialize(3);
  const Parameter& parameter = *held.weights.layout().find("transformer.h.1.mlp.c_proj.weight");
  const std::vector<float> master = held.weights.download(parameter);
  std::vector<bfloat16> low(master.size());
  held.ops->copy_to_host(low.data(), held.weights.weight(parameter).data, low.size() * sizeof(bfloat16));
  for (std::size_t i = 0; i < low.size(); ++i) ASSERT_EQ(low[i].bits, to_bfloat16(master[i]).bits) << i;
}

TEST(Weights, MastersOfOneShardGiveTheWholeBf16Copy) {
  const ModelConfig config = small_config(true);
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  DeviceMemory memory(ops.get());
  Weights whole(config, Precision::bf16, Weights::Use::training, ops.get(), memory);
  whole.initialize(3);
  const auto read = [&](ConstTensorView view) {
    std::vector<char> bytes(view.bytes());
    ops->copy_to_host(bytes.data(), view.data, bytes.size());
    return bytes;
  };
  const std::int64_t flat = whole.layout().flat_size(), row = config.n_embd;
  // In the first tensor's middle, over several tensors, to the end, nothing.
  for (const auto& [begin, end] : {std::pair{std::int64_t{0}, 5 * row}, {5 * row, flat / 2}, {flat / 2, flat}, {flat, flat}}) {
    Weights part(config, Precision::bf16, Weights::Use::training, ops.get(), memory, Weights::Range{begin, end});
    part.initialize(3);
    EXPECT_EQ(part.master().numel(), end - begin);
    EXPECT_FALSE(part.has_all_masters());
    EXPECT_EQ(read(part.low_precision()), read(whole.low_precision()));
    const std::vector<char> masters = read(whole.master());
    if (end > begin) {
      EXPECT_EQ(read(part.master()), std::vector<char>(masters.begin() + 4 * begin, masters.begin() + 4 * end));
    }
    const Parameter& parameter = part.layout().parameters().back();
    EXPECT_THROW(part.download(parameter), ContractViolation);
  }
  const Weights fp32(config, Precision::fp32, Weights::Use::training, ops.get(), memory, Weights::Range{0, row});
  EXPECT_TRUE(fp32.has_all_masters()) << "the model reads them";
}

TEST(Weights, PlanWithoutADeviceIsThePlanWithOne) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    const ModelConfig config = small_config(true);
    const auto plan = [&](Ops* ops) {
      DeviceMemory memory(ops);
      Weights weights(config, precision, Weights::Use::training, ops, memory);
      Gpt2 model(weights, Weights::Use::training, Recompute::none, 2, config.n_ctx, ops, memory);
      std::vector<std::pair<std::string, std::size_t>> groups;
      for (const MemoryGroup& group : memory.plan())
        if (group.name != "packed weights") groups.emplace_back(group.name, group.bytes);  // the device's own affair
      return groups;
    };
    const std::unique_ptr<Ops> ops = make_cpu_ops();
    EXPECT_EQ(plan(nullptr), plan(ops.get()));
  }
}

}  // namespace
}  // namespace temper
