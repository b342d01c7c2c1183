// Every named system over 100 steps, on every backend, against torch.optim and transcriptions of the formulas in float64
// (scripts/compare/optimizer_golden.py).
#include "config/validate.h"
#include "golden_systems.h"

namespace temper {
namespace {

class Trajectories : public testing::TestWithParam<std::tuple<NamedBackend, std::string>> {};
INSTANTIATE_TEST_SUITE_P(All, Trajectories, testing::Combine(testing::ValuesIn(optimizer_backends()), testing::ValuesIn(systems())),
                         [](const auto& named) { return std::get<0>(named.param).name + "_" + std::get<1>(named.param); });

TEST_P(Trajectories, FollowTheIndependentImplementation) {
  const auto& [backend, system] = GetParam();
  const Golden golden;
  const RunConfig config = config_of(golden, system);
  std::vector<std::string> problems;
  check_optimizer(config, problems);
  ASSERT_EQ(problems, std::vector<std::string>());

  const std::vector<OptimizedTensor> tensors = golden.tensors();
  const auto initial = golden.read<float>("initial"), gradients = golden.read<float>("gradients");
  OptimizerRun run(backend.make(), config.optimizer, tensors, {initial.begin(), initial.end()}, config.schedule,
                   *config.train.steps, true);
  const auto first_halves = golden.read<float>("first_halves");
  run.halves.first_examples = golden.table.at("halves")[0];
  run.halves.second_examples = golden.table.at("halves")[1];
  const auto sums = golden.read<double>(system + ".sums");
  const auto kept_weights = golden.read<float>(system + ".weights");
  const auto kept = golden.table.at("kept").get<std::vector<std::int64_t>>();
  const std::size_t count = initial.size();
  // f32 against f64: each step rounds weights of about 1 to 6e-8, and six digits of 1 - beta come on top; over 100 steps that stays
  // below 2e-5. Newton-Schulz multiplies small singular values, and their errors, by up to 3.4^5; in bf16 it rounds to 2^-9.
  const bool muon = config.optimizer.name == OptimizerName::muon;
  const bool bf16 = muon && run.ops().device().fast_bf16;
  const double tolerance = bf16 ? 0.03 : muon ? 1e-4 : 2e-5;
  std::size_t row = 0;
  for (std::int64_t k = 0; k < *config.train.steps; ++k) {
    const float* now = gradients.data() + static_cast<std::size_t>(k) * count;
    const float* half = first_halves.data() + static_cast<std::size_t>(k) * count;
    ASSERT_EQ(run.step(k, {now, now + count}, {half, half + count}).finite, 1);
    run.optimizer.average().show();
    const Numbers weights = run.weights();

    std::size_t at = 0;
    for (std::size_t tensor = 0; tensor < tensors.size(); ++tensor) {
      const auto size = static_cast<std::size_t>(tensors[tensor].shape.numel());
      double sum = 0.0;
      for (std::size_t i = 0; i < size; ++i) sum += weights[at + i] * std::cos(1.0 + static_cast<double>(i));
      at += size;
      // Signs of the sum's terms differ, so errors add up as their root.
      ASSERT_NEAR(sum, sums[static_cast<std::size_t>(k) * tensors.size() + tensor],
                  tolerance * std::sqrt(static_cast<double>(size)))
          << "step " << k + 1 << ", " << tensors[tensor].name;
    }
    if (k + 1 != kept[row]) continue;
    for (std::size_t i = 0; i < count; ++i)
      ASSERT_NEAR(weights[i], static_cast<double>(kept_weights[row * count + i]), tolerance)
          << "step " << k + 1 << ", element " << i;
    ++row;
  }
  EXPECT_EQ(row, kept.size());
}

}  // namespace
}  // namespace temper
