// AdamW steps against PyTorch's in float64, from the same weights on the same tokens: fifty, and some while sequences grow.
#include <gtest/gtest.h>

#include <map>
#include <span>

#include "config/resolved.h"
#include "config/validate.h"
#include "kernels/emulated/emulated_ops.h"
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
                      {small.weights.master(), small.weights.gradients(), small.weights.low_precision()}, small.ops.get(),
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

TEST_P(Trajectory, LossesFollowPyTorchsWhileSequencesGrow) {
  const std::filesystem::path folder = golden_folder(GetParam());
  const nlohmann::json windows = read_json(folder / "trajectory.json"), golden = read_json(folder / "curriculum.json");
  const nlohmann::json& steps = golden.at("steps");
  ASSERT_EQ(steps.size(), 12u);

  RunConfig config;
  config.model = read_hf_config(folder);
  config.data.train = {"of the golden file"};
  config.batch = {.tokens_per_step = 3 * config.model.n_ctx, .micro_batch = 1};
  config.train.steps = 12;
  config.optimizer = optimizer_config(windows.at("optimizer"));
  config.schedule.name = ScheduleName::constant;
  config.schedule.context_warmup_steps = golden.at("context_warmup_steps");
  config.schedule.context_start = golden.at("context_start").get<std::int64_t>();
  validate(config);

  for (const bool emulated : {false, true}) {
    const std::unique_ptr<Ops> ops = emulated ? make_emulated_ops() : make_cpu_ops();
    Engine engine(resolved(config), ops.get());
    load_hf_model(folder, engine.weights);
    for (std::size_t k = 0; k < steps.size(); ++k) {
      SCOPED_TRACE((emulated ? "emulated, step " : "CPU, step ") + std::to_string(k + 1));
      const std::int64_t n_ctx = config.model.n_ctx, length = context_at(config, static_cast<std::int64_t>(k));
      ASSERT_EQ(length, steps[k].at("length"));
      const GoldenTokens tokens(windows.at("steps")[k]);
      std::vector<Batch> micro_batches;
      for (std::int64_t row = 0; row < 3; ++row) {
        const auto of_row = [&](const Tokens& all) { return Tokens(all.begin() + row * n_ctx, all.begin() + (row + 1) * n_ctx); };
        micro_batches.push_back({of_row(tokens.inputs), of_row(tokens.targets)});
      }
      const StepScalars scalars = engine.finish_step(engine.start_step(static_cast<std::int64_t>(k), 3, [&](std::int64_t number) {
        engine.batch.upload(micro_batches[static_cast<std::size_t>(number)], n_ctx / length, length);
      }));
      ASSERT_EQ(scalars.finite, 1);
      ASSERT_NEAR(scalars.loss, steps[k].at("loss").get<double>(), 1e-4);
      const double norm = steps[k].at("grad_norm");
      ASSERT_NEAR(scalars.gradient_norm, norm, 1e-4 * norm);
    }
  }
}

// The reference multiplies logits and scores and has rates and decays of muP's; temper trains a plain GPT-2 whose tensors are multiples of
// those. Weights are brought to them by Parameter::fold, so that a wrong fold shows in the first loss and a wrong rate soon after.
TEST_P(Trajectory, LossesFollowPyTorchsUnderMup) {
  const std::filesystem::path folder = golden_folder(GetParam());
  const nlohmann::json windows = read_json(folder / "trajectory.json"), golden = read_json(folder / "mup.json");
  const nlohmann::json& steps = windows.at("steps");

  RunConfig config;
  config.model = read_hf_config(folder);
  config.model.mup_base_width = config.model.n_embd / golden.at("ratio").get<std::int64_t>();
  config.data.train = {"of the golden file"};
  config.batch = {.tokens_per_step = 3 * config.model.n_ctx, .micro_batch = 3};
  config.train.steps = 50;
  config.schedule.name = ScheduleName::constant;
  for (const std::string rule : {"adamw", "sgd"}) {
    const nlohmann::json& losses = golden.at("losses").at(rule);
    ASSERT_EQ(losses.size(), 50u);
    config.optimizer = optimizer_config(windows.at("optimizer"));
    config.optimizer.grad_clip = 0.0;  // of multiples the norm is another
    if (rule == "sgd") {
      const nlohmann::json& settings = golden.at("sgd");
      config.optimizer.name = OptimizerName::sgd;
      config.optimizer.learning_rate = settings.at("learning_rate");
      config.optimizer.momentum = settings.at("momentum");
      config.optimizer.weight_decay = settings.at("weight_decay");
      config.optimizer.beta1.reset();
      config.optimizer.beta2.reset();
    }
    validate(config);
    for (const bool emulated : {false, true}) {
      const std::unique_ptr<Ops> ops = emulated ? make_emulated_ops() : make_cpu_ops();
      Engine engine(resolved(config), ops.get());
      load_hf_model(folder, engine.weights);
      std::map<std::string, std::vector<float>> loaded;
      for (const Parameter& parameter : engine.weights.layout().parameters())
        loaded[parameter.name] = engine.weights.download(parameter);
      engine.weights.upload([&](const Parameter& parameter, std::span<float> values) {
        for (std::size_t i = 0; i < values.size(); ++i)
          values[i] = static_cast<float>(parameter.fold * static_cast<double>(loaded.at(parameter.name)[i]));
      });
      for (std::size_t k = 0; k < (emulated ? 5 : steps.size()); ++k) {
        const GoldenTokens tokens(steps[k]);
        const StepScalars scalars = engine.finish_step(engine.start_step(static_cast<std::int64_t>(k), 1, [&](std::int64_t) {
          engine.batch.upload({tokens.inputs, tokens.targets}, 3, config.model.n_ctx);
        }));
        ASSERT_EQ(scalars.finite, 1);
        ASSERT_NEAR(scalars.loss, losses[k].get<double>(), 1e-4) << rule << (emulated ? ", emulated" : "") << ", step " << k + 1;
      }
    }
  }
}

}  // namespace
}  // namespace temper
