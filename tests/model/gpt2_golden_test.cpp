// The model against PyTorch in float64: logits, loss and every gradient.
#include <gtest/gtest.h>

#include "golden_model.h"
#include "io/safetensors.h"
#include "model/hf_format.h"

namespace temper {
namespace {

struct GoldenCase {
  std::string folder;
  Precision precision;
  // fp32: sums of a few hundred products, each rounded to 6e-8, over three layers forward and back. bf16: numbers of 8 bits
  // (2e-3) between operations; the errors of a path add up in quadrature. Both bounds are the project's own.
  double tolerance;
};

class Gpt2Golden : public testing::TestWithParam<GoldenCase> {};

/// Ours is [out, in] where Conv1D is [in, out], and has padded rows.
std::vector<float> as_in_file(const std::vector<float>& values, const Parameter& parameter, const ModelConfig& config) {
  const Shape shape = parameter.shape;
  if (parameter.kind == ParameterKind::matrix) {
    std::vector<float> transposed(values.size());
    for (std::int64_t row = 0; row < shape[0]; ++row)
      for (std::int64_t column = 0; column < shape[1]; ++column)
        transposed[static_cast<std::size_t>(column * shape[0] + row)] = values[static_cast<std::size_t>(row * shape[1] + column)];
    return transposed;
  }
  if (parameter.name != "transformer.wte.weight") return values;
  const auto real = values.begin() + config.vocab_size * config.n_embd;
  EXPECT_EQ(std::vector<float>(real, values.end()), std::vector<float>(static_cast<std::size_t>(values.end() - real), 0.0f))
      << "padded rows must have no gradient";
  return {values.begin(), real};
}

TEST_P(Gpt2Golden, LogitsLossAndGradientsEqualPyTorchs) {
  const GoldenCase& golden = GetParam();
  const std::filesystem::path folder = golden_folder(golden.folder);
  const GoldenTokens tokens(read_json(folder / "tokens.json"));
  const SafetensorsFile expected(folder / "expected.safetensors");

  const ModelConfig config = read_hf_config(folder);
  SmallModel small(config, golden.precision, tokens.sequences);
  load_hf_model(folder, small.weights);

  const auto check = [&](const std::string& name, const std::vector<float>& values) {
    const double error = relative_error(values, expected.read_f32(name));
    // Written so that NaN fails.
    EXPECT_TRUE(error < golden.tolerance) << name << ": relative error " << error;
    return error;
  };
  check("logits", small.logits(tokens.inputs, tokens.sequences));
  check("loss", {small.forward_backward(tokens.inputs, tokens.targets, tokens.sequences)});
  double worst = 0.0;
  for (const Parameter& parameter : small.weights.layout().parameters())
    worst = std::max(worst, check(parameter.name, as_in_file(small.gradient(parameter), parameter, config)));
  RecordProperty("worst_gradient_error", std::to_string(worst));
}

INSTANTIATE_TEST_SUITE_P(
    All, Gpt2Golden,
    testing::Values(GoldenCase{"gpt2_bias", Precision::fp32, 2e-5}, GoldenCase{"gpt2_nobias", Precision::fp32, 2e-5},
                    GoldenCase{"gpt2_bias", Precision::bf16, 2e-2}, GoldenCase{"gpt2_nobias", Precision::bf16, 2e-2}),
    [](const auto& instance) { return instance.param.folder + (instance.param.precision == Precision::fp32 ? "_fp32" : "_bf16"); });

}  // namespace
}  // namespace temper
