#include "model/parameters.h"

#include <gtest/gtest.h>

#include <set>

namespace temper {
namespace {

ModelConfig gpt2_124m() { return {}; }  // the defaults

TEST(Parameters, Gpt2SmallHasItsPublishedSize) {
  EXPECT_EQ(padded_vocab_size(gpt2_124m()), 50304);
  EXPECT_EQ(ParameterLayout(gpt2_124m()).parameter_count(), 124'439'808);
}

TEST(Parameters, WithoutBiasesOnlyTheBiasesAreMissing) {
  ModelConfig config = gpt2_124m();
  config.bias = false;
  const ParameterLayout layout(config);
  // A block's biases: c_attn 3C, attn c_proj C, c_fc 4C, mlp c_proj C, two layer norms C each; and the last norm's C.
  EXPECT_EQ(layout.parameter_count(), 124'439'808 - 12 * 11 * 768 - 768);
  for (const Parameter& parameter : layout.parameters()) {
    EXPECT_FALSE(parameter.name.ends_with(".bias")) << parameter.name;
    EXPECT_NE(parameter.kind, ParameterKind::bias) << parameter.name;
  }
}

TEST(Parameters, PlacesAreAlignedInOrderAndDoNotOverlap) {
  ModelConfig config;
  config.n_layer = 3;
  config.n_head = 3;
  config.n_embd = 42;  // a multiple of nothing that the alignment is
  config.n_ctx = 17;
  config.vocab_size = 129;
  const ParameterLayout layout(config);
  std::int64_t end = 0;
  for (const Parameter& parameter : layout.parameters()) {
    EXPECT_EQ(parameter.offset % 64, 0) << parameter.name;
    EXPECT_GE(parameter.offset, end) << parameter.name;
    EXPECT_LT(parameter.offset - end, 64) << parameter.name << " wastes memory";
    end = parameter.offset + parameter.numel();
  }
  EXPECT_GE(layout.flat_size(), end);
  EXPECT_EQ(layout.flat_size() % 64, 0);
  EXPECT_EQ(layout.find("transformer.wte.weight")->shape, Shape({256, 42}));
}

TEST(Parameters, NamesAreUniqueAndFound) {
  const ParameterLayout layout(gpt2_124m());
  std::set<std::string> names;
  for (const Parameter& parameter : layout.parameters()) {
    EXPECT_TRUE(names.insert(parameter.name).second) << parameter.name;
    EXPECT_EQ(layout.find(parameter.name), &parameter);
  }
  EXPECT_EQ(names.size(), 2 + 12 * 12 + 2u);
  EXPECT_EQ(layout.find("transformer.h.12.ln_1.weight"), nullptr);
  EXPECT_EQ(layout.find("lm_head.weight"), nullptr);
}

TEST(Parameters, KindsAndLayers) {
  const ParameterLayout layout(gpt2_124m());
  const auto* matrix = layout.find("transformer.h.7.mlp.c_fc.weight");
  ASSERT_NE(matrix, nullptr);
  EXPECT_EQ(matrix->kind, ParameterKind::matrix);
  EXPECT_EQ(matrix->layer, 7);
  EXPECT_EQ(matrix->shape, Shape({3072, 768}));
  EXPECT_EQ(layout.find("transformer.h.7.mlp.c_fc.bias")->kind, ParameterKind::bias);
  EXPECT_EQ(layout.find("transformer.h.7.ln_1.bias")->kind, ParameterKind::layernorm);
  EXPECT_EQ(layout.find("transformer.wpe.weight")->kind, ParameterKind::embedding);
  EXPECT_EQ(layout.find("transformer.ln_f.weight")->layer, -1);
}

TEST(Parameters, OperationsPerTokenAreThoseOfLlmC) {
  // 6 N + 6 L C T with N = 124,475,904: 803.5 MFLOP.
  EXPECT_DOUBLE_EQ(training_flops_per_token(gpt2_124m(), 1024), 6.0 * 124'475'904.0 + 6.0 * 12 * 768 * 1024);
  EXPECT_NEAR(training_flops_per_token(gpt2_124m(), 1024), 803.5e6, 0.05e6);
}

}  // namespace
}  // namespace temper
