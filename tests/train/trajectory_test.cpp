// Fifty AdamW steps against PyTorch's in float64, from the same weights on the same tokens.
#include <gtest/gtest.h>

#include "model/hf_format.h"
#include "tests/model/golden_model.h"
#include "train/engine.h"

namespace temper {
namespace {

class Trajectory : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, Trajectory, testing::Values("gpt2_bias", "gpt2_nobias"),
                         [](const auto& instance) { return std::string(instance.param); });

OptimizerConfig optimizer_config(const nlohmann::json& settings) {
  OptimizerConfig config;
  config.learning_rate = settings.at("learning_rate");
  config.beta1 = settings.at("beta1");
  config.beta2 = settings.at("beta2");
  config.eps = settings.at("eps");
  config.weight_decay = settings.at("weight_decay");
  config.grad_clip = settings.at("grad_clip");
  return config;
}

TEST_P(Trajectory, LossesFollowPyTorchs) {
  const std::filesystem::path folder = golden_folder(GetParam());
  const nlohmann::json golden = read_json(folder / "trajectory.json");
  const nlohmann::json& steps = golden.at("steps");
  ASSERT_EQ(steps.size(), 50u);

  SmallModel small(read_hf_config(folder), Precision::fp32, static_cast<std::int64_t>(steps[0].at("inputs").size()));
  load_hf_model(folder, small.weights);
  ScheduleConfig constant;
  constant.name = ScheduleName::constant;
  Optimizer optimizer(optimizer_config(golden.at("optimizer")), Schedule(constant, 50, 1),
                      optimized_tensors(small.weights.config(), small.weights.layout()),
                      {small.weights.master(), small.weights.gradients(), small.weights.low_precision()}, 1, small.ops.get(),
                      small.memory);

  for (std::size_t k = 0; k < steps.size(); ++k) {
    const GoldenTokens tokens(steps[k]);
    optimizer.begin_step(static_cast<std::int64_t>(k));
    const float loss = small.forward_backward(tokens.inputs, tokens.targets, tokens.sequences);
    small.ops->copy_to_device(optimizer.loss().data, &loss, sizeof(loss));
    optimizer.finish_step(small.weights.gradients());
    const StepScalars scalars = optimizer.finish_read(optimizer.start_read());
    ASSERT_EQ(scalars.finite, 1) << "step " << k + 1;
    // The project's bound; f32 rounding starts near 1e-6 and grows from step to step.
    ASSERT_NEAR(scalars.loss, steps[k].at("loss").get<double>(), 1e-4) << "step " << k + 1;
    const double norm = steps[k].at("grad_norm");
    ASSERT_NEAR(scalars.gradient_norm, norm, 1e-4 * norm) << "step " << k + 1;
  }
}

}  // namespace
}  // namespace temper
