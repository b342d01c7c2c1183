// A step free of decay in every mode, against a twin that has no decay and formulas in double; and the rows that a new run centres.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <ostream>

#include "diagnostics_problem.h"

namespace temper {
namespace {

struct Mode {
  const char* name;
  OptimizerName optimizer;
  DecayMode decay;
  double weight_decay;
  bool taken_apart = true;  ///< false: the step is all of the update
  std::function<void(OptimizerConfig&)> change = [](OptimizerConfig&) {};
};

void PrintTo(const Mode& mode, std::ostream* out) { *out << mode.name; }

OptimizerConfig config_of(const Mode& mode) {
  OptimizerConfig config = adamw();
  config.name = mode.optimizer;
  config.decay = mode.decay;
  config.weight_decay = mode.weight_decay;
  config.other_learning_rate = 0.01;
  mode.change(config);
  return config;
}

/// The step of AdamW, or of Schedule-Free, in double; absent for other rules. `states` are those before the update.
std::optional<Vector> written_down(const OptimizerConfig& config, const Vector& w, const Vector& g,
                                   const std::vector<Vector>& states, double t, double average_weight) {
  const bool average = config.name == OptimizerName::schedule_free_adamw;
  if (!average && config.name != OptimizerName::adamw) return std::nullopt;
  const double beta1 = 0.9, beta2 = average ? 0.999 : 0.95, rate = 0.01;
  Vector step(w.size());
  for (std::size_t i = 0; i < w.size(); ++i) {
    const double v = beta2 * states[1][i] + (1 - beta2) * g[i] * g[i], root = std::sqrt(v / (1 - std::pow(beta2, t))) + 1e-8;
    const double m = beta1 * states[0][i] + (1 - beta1) * g[i];
    step[i] = -rate * m / (1 - std::pow(beta1, t)) / root;
    if (!average) continue;
    const double z = states[0][i] - rate * g[i] / root, x = (1 - average_weight) * states[2][i] + average_weight * z;
    step[i] = (1 - beta1) * z + beta1 * x - w[i];
  }
  return step;
}

class StepAlone : public testing::TestWithParam<Mode> {};

// What the same update of the same state would have been without decay: by a twin that has none and, where the rule is short, in
// double.
TEST_P(StepAlone, IsTheUpdateWithoutTheDecay) {
  const OptimizerConfig config = config_of(GetParam());
  OptimizerConfig without = config;
  without.decay = DecayMode::none;
  Problem run(config), twin(GetParam().taken_apart ? without : config);
  for (std::int64_t k = 0; k < 3; ++k) {
    run.new_gradients();
    run.step(k);
  }
  run.new_gradients();
  const Vector before = run.weights(0, Problem::flat);
  std::vector<Vector> states;
  for (const TensorView& state : run.optimizer.flat_states()) states.push_back(run.read(state, 0, Problem::flat));
  twin.become(run);
  const StepDiagnostics measured = run.step(3);
  const Vector update = sum(run.weights(0, Problem::flat), before, -1.0);
  const StepScalars scalars = run.optimizer.finish_read(run.optimizer.start_read());
  Vector expected = update;
  if (GetParam().taken_apart) {
    twin.step(3);
    expected = sum(twin.weights(0, Problem::flat), before, -1.0);
    const auto in_double =
        written_down(config, before, run.gradients(0, Problem::flat), states, 4, static_cast<double>(scalars.average_weight));
    if (in_double) {
      EXPECT_LT(norm(sum(expected, *in_double, -1.0)), 1e-5 * norm(expected));
    }
  }
  EXPECT_EQ(norm(sum(expected, update, -1.0)) > 0.05 * norm(update), GetParam().taken_apart) << "the decay is too small for a test";

  const Vector step = run.read(run.diagnostics.step(), 0, Problem::flat);
  struct Part {
    std::ptrdiff_t offset, rows, columns;
  };
  const std::vector<Part> parts = {{0, 4, 4}, {16, 4, 4}, {32, 4, 4}, {64, 6, 8}, {128, 1, 5}};
  ASSERT_EQ(measured.tensors.size(), parts.size());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Part part = parts[i];
    const auto slice = [&](const Vector& of, std::ptrdiff_t first, std::ptrdiff_t count) {
      return Vector(of.begin() + part.offset + first, of.begin() + part.offset + first + count);
    };
    const std::ptrdiff_t count = part.rows * part.columns;
    const Vector w = slice(before, 0, count), s = slice(expected, 0, count);
    double squares = 0.0;
    for (std::ptrdiff_t row = 0; row < part.rows; ++row) {
      const Vector of_row = slice(before, row * part.columns, part.columns);
      const Vector step_of_row = slice(expected, row * part.columns, part.columns);
      squares += std::pow(angle_between(sum(of_row, step_of_row, 1.0), of_row), 2);
    }
    const UpdateDiagnostics& tensor = measured.tensors[i];
    EXPECT_NEAR(tensor.step_norm, norm(s), rounding * norm(s)) << tensor.name;
    EXPECT_NEAR(tensor.step_angle, angle_between(sum(w, s, 1.0), w), rounding) << tensor.name;
    EXPECT_NEAR(tensor.step_row_angle, std::sqrt(squares / static_cast<double>(part.rows)), rounding) << tensor.name;
    EXPECT_LT(norm(sum(slice(step, 0, count), s, -1.0)), rounding * norm(s)) << tensor.name;
  }
}

const Mode modes[] = {
    {"decoupled", OptimizerName::adamw, DecayMode::decoupled, 5.0},
    {"independent", OptimizerName::adamw, DecayMode::independent, 0.05},
    {"normalized", OptimizerName::adamw, DecayMode::normalized, 1.5},
    {"cautious", OptimizerName::adamw, DecayMode::cautious, 5.0},
    {"scale_adjusted", OptimizerName::adamw, DecayMode::scale_adjusted, 0.05, false},
    {"adam_l2", OptimizerName::adam, DecayMode::l2, 0.5, false},
    {"schedule_free", OptimizerName::schedule_free_adamw, DecayMode::decoupled, 5.0},
    {"schedule_free_cautious", OptimizerName::schedule_free_adamw, DecayMode::cautious, 5.0},
    {"schedule_free_l2", OptimizerName::schedule_free_adamw, DecayMode::l2, 0.5, false},
    {"sgdw", OptimizerName::sgdw, DecayMode::decoupled, 5.0},
    {"lion_cautious", OptimizerName::lion, DecayMode::cautious, 5.0},
    {"sgd_l2", OptimizerName::sgd, DecayMode::l2, 0.5, false},
    {"sgd_l2_without_momentum", OptimizerName::sgd, DecayMode::l2, 0.5, true, [](OptimizerConfig& c) { c.momentum = 0.0; }},
    {"sgd_l2_before_clipping", OptimizerName::sgd, DecayMode::l2, 0.5, false,
     [](OptimizerConfig& c) {
       c.momentum = 0.0;
       c.l2_stage = L2Stage::before_clipping;
     }},
    {"muon", OptimizerName::muon, DecayMode::decoupled, 5.0},
    {"muon_cautious", OptimizerName::muon, DecayMode::cautious, 5.0},
    {"muon_l2", OptimizerName::muon, DecayMode::l2, 0.5, false},
    {"rotational", OptimizerName::adamw, DecayMode::decoupled, 5.0, false,
     [](OptimizerConfig& c) { c.norm_control = NormControlChoice::rotational; }},
    {"relative", OptimizerName::adamh, DecayMode::decoupled, 5.0, false},
};
INSTANTIATE_TEST_SUITE_P(All, StepAlone, testing::ValuesIn(modes),
                         [](const auto& instance) { return std::string(instance.param.name); });

// REQ's constructor, before the first gradient: means gone, norms as they were. A second call, as of a branch, changes nothing.
TEST(Optimizer, CentersRowsOfANewRun) {
  for (const Granularity granularity : {Granularity::row, Granularity::matrix}) {
    OptimizerConfig config = adamw();
    config.name = OptimizerName::lionar;
    config.norm_granularity = granularity;
    Problem run(config);
    const std::size_t count = granularity == Granularity::row ? 8 : 48;  // of the matrix at 64
    const auto part = [&](const Vector& all, std::size_t first) {
      return Vector(all.begin() + static_cast<std::ptrdiff_t>(first), all.begin() + static_cast<std::ptrdiff_t>(first + count));
    };
    const Vector before = run.weights(64, 48), vector = run.weights(128, 5);
    run.optimizer.center_rows();
    const Vector after = run.weights(64, 48);
    for (std::size_t first = 0; first < 48; first += count) {
      const Vector row = part(after, first), was = part(before, first);
      EXPECT_NEAR(std::accumulate(row.begin(), row.end(), 0.0), 0.0, 1e-6);
      EXPECT_NEAR(norm(row), norm(was), 1e-6);
      Vector centred = was;
      for (double& w : centred) w -= std::accumulate(was.begin(), was.end(), 0.0) / static_cast<double>(count);
      EXPECT_LT(angle_between(centred, row), 1e-6);
    }
    EXPECT_EQ(run.weights(128, 5), vector);
    run.optimizer.center_rows();
    EXPECT_EQ(run.weights(64, 48), after);
    run.new_gradients();
    const StepDiagnostics measured = run.step(0);
    // sqrt(2 rate decay (1 - b)/(1 + b)), whose tangent the first step makes exactly.
    const double angle = std::atan(std::sqrt(2 * 0.01 * *resolved_optimizer(config).weight_decay * 0.1 / 1.9));
    EXPECT_NEAR(granularity == Granularity::row ? measured.tensors[3].row_angle : measured.tensors[3].angle, angle, 1e-4 * angle);
  }
}

}  // namespace
}  // namespace temper
