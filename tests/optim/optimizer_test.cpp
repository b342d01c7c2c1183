// The optimizer over flat buffers: clipping, what a step that is not finite leaves, states and resuming, the average that
// Schedule-Free shows, and what logs and diagnostics are told.
#include "optim/optimizer.h"

#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "golden_systems.h"
#include "optim/prior.h"

namespace temper {
namespace {

using enum OptimizerName;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

/// A matrix "w" [3,4] and a vector "b" [5].
std::vector<OptimizedTensor> matrix_and_vector() {
  return {{"w", {3, 4}, 0, ParameterKind::matrix, 0}, {"b", {5}, 0, ParameterKind::bias, 0}};
}
constexpr std::size_t count = 17;

OptimizerConfig adamw_config() {
  OptimizerConfig config = bare(adamw, 0.1, 0.5);
  return config;
}

/// Gradients of norm 5: 3 in the matrix, 4 in the vector.
Numbers gradients_of_norm_5() {
  Numbers gradients(count, 0.0);
  gradients[7] = 3.0;
  gradients[14] = -4.0;
  return gradients;
}

// ---- clipping ------------------------------------------------------------------------------------------------------------------

TEST(Optimizer, ClipFactorIsTheSmallerOfOneAndTheRatio) {
  const auto clip_factor = [](double grad_clip) {
    OptimizerConfig config = adamw_config();
    config.grad_clip = grad_clip;
    OptimizerRun run(config, matrix_and_vector(), Numbers(count, 1.0));
    const StepScalars scalars = run.step(0, gradients_of_norm_5());
    EXPECT_EQ(scalars.gradient_norm, 5.0f);
    EXPECT_EQ(scalars.finite, 1);
    return scalars.clip_factor;
  };
  EXPECT_EQ(clip_factor(0.0), 1.0f);  // off
  EXPECT_EQ(clip_factor(1.0), 1.0f / 5.0f);
  EXPECT_EQ(clip_factor(4.0), 4.0f / 5.0f);
  EXPECT_EQ(clip_factor(5.0), 1.0f);
  EXPECT_EQ(clip_factor(6.0), 1.0f);
}

TEST(Optimizer, MomentsSeeTheClippedGradient) {
  const auto moments = [](ClipMode mode) {
    OptimizerConfig config = adamw_config();
    config.grad_clip = 1.0;
    config.clip_mode = mode;
    OptimizerRun run(config, matrix_and_vector(), Numbers(count, 1.0));
    run.step(0, gradients_of_norm_5());
    return std::array{run.state("w.exp_avg")[7], run.state("b.exp_avg")[2], run.state("b.exp_avg_sq")[2]};
  };
  const double f32 = 1e-7;
  const auto global = moments(ClipMode::global), tensor = moments(ClipMode::tensor), value = moments(ClipMode::value);
  EXPECT_NEAR(global[0], 0.1 * 0.6, f32);
  EXPECT_NEAR(global[2], 0.05 * 0.64, f32);
  for (const auto& each : {tensor, value}) {  // both tensors have one gradient, larger than 1
    EXPECT_NEAR(each[0], 0.1, f32);
    EXPECT_NEAR(each[1], -0.1, f32);
  }
}

TEST(Optimizer, NormOfNothingIsNoNumberOfHarm) {
  OptimizerConfig config = adamw_config();
  config.grad_clip = 1.0;
  for (const ClipMode mode : {ClipMode::global, ClipMode::tensor, ClipMode::value}) {
    config.clip_mode = mode;
    OptimizerRun run(config, matrix_and_vector(), Numbers(count, 1.0));
    const StepScalars scalars = run.step(0, Numbers(count, 0.0));
    EXPECT_EQ(scalars.gradient_norm, 0.0f);
    EXPECT_EQ(scalars.clip_factor, 1.0f);
    EXPECT_EQ(scalars.finite, 1);
    for (const double weight : run.weights()) EXPECT_TRUE(std::isfinite(weight));
  }
}

// ---- a step as a whole ------------------------------------------------------------------------------------------------

class Systems : public testing::TestWithParam<std::string> {
 protected:
  const Golden golden;
  const RunConfig config = config_of(golden, GetParam());

  std::unique_ptr<OptimizerRun> make(std::unique_ptr<Ops> ops) const {
    const auto initial = golden.read<float>("initial");
    return std::make_unique<OptimizerRun>(std::move(ops), config.optimizer, golden.tensors(),
                                          Numbers(initial.begin(), initial.end()), config.schedule, *config.train.steps, true);
  }
  Numbers gradients(std::int64_t k) const {
    const auto all = golden.read<float>("gradients");
    const auto size = static_cast<std::ptrdiff_t>(all.size()) / *config.train.steps;
    return {all.begin() + k * size, all.begin() + (k + 1) * size};
  }
  /// Everything a step depends on, and the model's copy of it.
  static std::vector<std::vector<float>> contents(OptimizerRun& run) {
    run.optimizer.average().show();
    std::vector<std::vector<float>> all = {run.flat(run.buffers().master)};
    for (const Optimizer::State& state : run.optimizer.states()) all.push_back(run.flat(run.values_of(state)));
    std::vector<float> low_precision;
    for (const bfloat16 one : run.flat<bfloat16>(run.buffers().low_precision)) low_precision.push_back(to_float(one));
    all.push_back(low_precision);
    return all;
  }
};
INSTANTIATE_TEST_SUITE_P(All, Systems, testing::ValuesIn(systems()), [](const auto& instance) { return instance.param; });

TEST_P(Systems, ResumeInMidRunIsBitIdentical) {
  const auto whole = make(make_cpu_ops());
  std::vector<std::vector<float>> saved;
  for (std::int64_t k = 0; k < 14; ++k) {
    if (k == 7) saved = contents(*whole);
    whole->step(k, gradients(k));
  }
  const auto resumed = make(make_cpu_ops());
  Numbers other = resumed->weights();
  for (double& one : other) one *= 3.0;
  resumed->set_weights(other);
  resumed->step(0, gradients(50));  // states that must be overwritten
  resumed->ops().copy_to_device(resumed->buffers().master.data, saved[0].data(), saved[0].size() * sizeof(float));
  for (std::size_t i = 0; i < resumed->optimizer.states().size(); ++i)
    resumed->ops().copy_to_device(resumed->values_of(resumed->optimizer.states()[i]).data, saved[i + 1].data(),
                                  saved[i + 1].size() * sizeof(float));
  resumed->optimizer.average().restored();
  for (std::int64_t k = 7; k < 14; ++k) resumed->step(k, gradients(k));
  const auto expected = contents(*whole), found = contents(*resumed);
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_EQ(std::memcmp(found[i].data(), expected[i].data(), expected[i].size() * sizeof(float)), 0)
        << (i == 0 || i + 1 == found.size() ? "weights" : whole->optimizer.states()[i - 1].name);
}

TEST_P(Systems, WhatIsNotFiniteLeavesEveryBitAlone) {
  const auto run = make(make_cpu_ops());
  for (std::int64_t k = 0; k < 3; ++k) ASSERT_EQ(run->step(k, gradients(k)).finite, 1);
  run->optimizer.average().show();
  const auto before = contents(*run);
  const auto expect_untouched = [&](const char* what) {
    const auto after = contents(*run);
    for (std::size_t i = 0; i < before.size(); ++i)
      EXPECT_EQ(std::memcmp(after[i].data(), before[i].data(), before[i].size() * sizeof(float)), 0) << what << " " << i;
  };
  struct Case {
    const char* what;
    float loss, gradient;
  };
  const float huge = std::numeric_limits<float>::max();
  for (const Case& one : {Case{"loss NaN", not_a_number, 1.0f}, Case{"loss infinite", infinity, 1.0f},
                          Case{"gradient NaN", 1.0f, not_a_number}, Case{"gradient infinite", 1.0f, -infinity}}) {
    Numbers g = gradients(3);
    g[9] = static_cast<double>(one.gradient);
    EXPECT_EQ(run->step(3, g, one.loss).finite, 0) << one.what;
    expect_untouched(one.what);
  }
  // Finite gradients whose norm f32 cannot hold are as little use.
  EXPECT_EQ(run->step(3, Numbers(gradients(3).size(), static_cast<double>(huge))).finite, 0);
  expect_untouched("norm too large");
  EXPECT_EQ(run->step(3, gradients(3)).finite, 1) << "one bad step must not stop the next";
  EXPECT_NE(contents(*run), before);
}

TEST_P(Systems, ModelReadsTheRoundedMaster) {
  const auto run = make(make_cpu_ops());
  const auto agree = [&](const std::string& when) {
    const auto master = run->flat(run->buffers().master);
    const auto low_precision = run->flat<bfloat16>(run->buffers().low_precision);
    for (const std::size_t place : run->places())
      ASSERT_EQ(low_precision[place].bits, to_bfloat16(master[place]).bits) << when << " " << place;
  };
  for (std::int64_t k = 0; k < 3; ++k) {
    run->step(k, gradients(k));
    agree("after a step");
    run->optimizer.average().show();
    agree("average");
    run->optimizer.average().hide();
    agree("training point");
  }
}

TEST_P(Systems, PaddingIsNeverTouched) {
  const auto run = make(make_cpu_ops());
  for (std::int64_t k = 0; k < 2; ++k) run->step(k, gradients(k));
  for (const bool average : {false, true}) {
    if (average) run->optimizer.average().show();
    std::vector<float> master = run->flat(run->buffers().master);
    for (const std::size_t place : run->places()) master[place] = 0.0f;
    EXPECT_EQ(master, std::vector<float>(master.size(), 0.0f));
  }
}

TEST_P(Systems, PlanWithoutADeviceIsThePlanWithOne) {
  const auto run = make(make_cpu_ops());
  DeviceMemory memory(nullptr);
  const TensorView flat = memory.add("test", DType::f32, run->buffers().master.shape);
  memory.add("test", DType::f32, flat.shape);
  const TensorView low_precision = memory.add("test", DType::bf16, flat.shape);
  const Optimizer optimizer(config.optimizer, Schedule(config.schedule, *config.train.steps, 1), run->optimizer.tensors(),
                            {flat, flat, low_precision}, nullptr, memory);
  ASSERT_EQ(memory.plan().size(), run->memory().plan().size());
  for (std::size_t i = 0; i < memory.plan().size(); ++i)
    EXPECT_EQ(memory.plan()[i].bytes, run->memory().plan()[i].bytes) << memory.plan()[i].name;
  EXPECT_EQ(optimizer.segment_count(), run->optimizer.segment_count());
}

TEST_P(Systems, StepsCanBeRecorded) {
  // Recorded on one backend and made directly on another: what is queued must not depend on the step.
  const auto direct = make(make_emulated_ops({1, true, 2})), recorded = make(make_emulated_ops({1, true, 2}));
  Recording recording;
  for (std::int64_t k = 0; k < 4; ++k) {
    direct->step(k, gradients(k));
    recorded->step(k, gradients(k), 1.0f, &recording);
  }
  EXPECT_EQ(contents(*recorded), contents(*direct));
}

// ---- states -----------------------------------------------------------------------------------------------------------

TEST(Optimizer, StatesHavePyTorchsNames) {
  const auto names = [](OptimizerConfig config) {
    OptimizerRun run(config, matrix_and_vector(), Numbers(count, 1.0));
    std::vector<std::string> all;
    for (const Optimizer::State& state : run.optimizer.states()) all.push_back(state.name);
    return all;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names(bare(adamw, 0.1)), (Names{"w.exp_avg", "b.exp_avg", "w.exp_avg_sq", "b.exp_avg_sq"}));
  EXPECT_EQ(names(bare(sgd, 0.1)), (Names{"w.momentum_buffer", "b.momentum_buffer"}));
  EXPECT_EQ(names(bare(lion, 0.1)), (Names{"w.exp_avg", "b.exp_avg"}));
  EXPECT_EQ(names(bare(muon, 0.1)), (Names{"w.momentum_buffer", "b.exp_avg", "b.exp_avg_sq"}));
  EXPECT_EQ(names(bare(lionar, 0.1, 0.1)), (Names{"w.exp_avg", "b.exp_avg", "w.row_norm", "w.row_mean_square"}));
  EXPECT_EQ(names(bare(adamh, 0.1)), (Names{"w.exp_avg", "b.exp_avg", "w.exp_avg_sq", "b.exp_avg_sq", "w.row_norm"}));
  EXPECT_EQ(names(bare(schedule_free_adamw, 0.1)), (Names{"w.z", "b.z", "w.exp_avg_sq", "b.exp_avg_sq", "w.y", "b.y"}));
  OptimizerConfig plain = bare(sgd, 0.1);
  plain.momentum = 0.0;
  EXPECT_EQ(names(plain), Names());
  OptimizerConfig trained = bare(lionar, 0.1, 0.1);
  trained.rotation_gains = true;
  EXPECT_EQ(names(trained), (Names{"w.exp_avg", "b.exp_avg", "w.row_norm", "w.row_mean_square", "w.row_gain_moments"}));
  OptimizerConfig corrected = bare(adamw, 0.1);
  corrected.rate_correction = RateCorrectionChoice::gradient;
  EXPECT_EQ(names(corrected)[4], "w.signal_noise");
}

TEST(Optimizer, StatesStartAtZeroAndHaveTheirTensorsShape) {
  OptimizerRun run(bare(ademamix, 0.1), matrix_and_vector(), Numbers(count, 1.0));
  ASSERT_EQ(run.optimizer.states().size(), 6u);
  for (const Optimizer::State& state : run.optimizer.states()) {
    EXPECT_EQ(state.shape, state.name[0] == 'w' ? Shape({3, 4}) : Shape({5})) << state.name;
    for (const float one : run.flat(run.values_of(state))) EXPECT_EQ(one, 0.0f) << state.name;
  }
}

TEST(Optimizer, NormsAreHeldFromTheFirstStepOn) {
  OptimizerRun run(bare(lionar, 0.1, 0.1), matrix_and_vector(), Numbers(count, 2.0));
  Normal random(3);
  run.step(0, random(count));
  run.set_weights(random(count));  // whatever happens to the weights
  run.step(1, random(count));
  for (const double one : run.state("w.row_norm")) EXPECT_NEAR(one, 4.0, 1e-6);
}

// Norms follow Adam on <g, w>/||w||; until a row turns over its directions are those of a run whose norms are held.
TEST(Optimizer, TrainedGainsChangeNormsAndNoAngles) {
  constexpr std::size_t rows = 3, columns = 8, elements = rows * columns;
  for (const NamedBackend& backend : optimizer_backends()) {
    SCOPED_TRACE(backend.name);
    OptimizerConfig held = bare(lionar, 0.2, 0.05);
    held.rate_factors = {"w=0.5"};
    held.grad_clip = 0.25;
    OptimizerConfig trained = held;
    trained.rotation_gains = true;
    Normal random(11);
    const Numbers start = random(elements);
    OptimizerRun with(backend.make(), trained, one_matrix(rows, columns), start);
    OptimizerRun without(backend.make(), held, one_matrix(rows, columns), start);
    double moments[rows][2] = {};
    bool turned_over[rows] = {};
    for (int k = 0; k < 60; ++k) {
      Numbers gradients = random(elements);
      for (std::size_t i = 0; i < elements; ++i) gradients[i] += 2.0 * start[i];  // norms fall until they cross 0
      const Numbers before = with.weights();
      const double clip = static_cast<double>(with.step(k, gradients).clip_factor), t = k + 1;
      without.step(k, gradients);
      const Numbers after = with.weights(), turned = without.weights(), norms = with.state("w.row_norm");
      for (std::size_t row = 0; row < rows; ++row) {
        double squares = 0.0, product = 0.0, norm = 0.0, other = 0.0, cosine = 0.0;
        for (std::size_t i = row * columns; i < (row + 1) * columns; ++i) {
          squares += before[i] * before[i];
          product += clip * gradients[i] * before[i];
          norm += after[i] * after[i];
          other += turned[i] * turned[i];
          cosine += after[i] * turned[i];
        }
        const double slope = product / std::sqrt(squares);
        double& first = moments[row][0];
        double& second = moments[row][1];
        first = 0.9 * first + 0.1 * slope;
        second = 0.95 * second + 0.05 * slope * slope;
        const double size = std::sqrt(second / (1.0 - std::pow(0.95, t))) + 1e-8;
        double expected = std::sqrt(squares) - 0.1 * first / (1.0 - std::pow(0.9, t)) / size;
        if (expected < 0.0) {
          turned_over[row] = true;
          expected = -expected;
          first = -first;
        }
        EXPECT_NEAR(std::sqrt(norm), expected, 1e-5) << "update " << k << ", row " << row;
        EXPECT_NEAR(norms[row], expected, 1e-5) << "update " << k << ", row " << row;
        if (turned_over[row]) continue;  // both turn against their gradients, from opposite sides
        EXPECT_NEAR(cosine / std::sqrt(norm * other), 1.0, 1e-6) << "update " << k << ", row " << row;
      }
    }
    EXPECT_TRUE(turned_over[0] && turned_over[1] && turned_over[2]);
  }
}

// ---- Schedule-Free ----------------------------------------------------------------------------------------------------

TEST(Optimizer, TheAverageIsShownUntilTheNextStep) {
  OptimizerRun run(bare(schedule_free_adamw, 0.1), matrix_and_vector(), Numbers(count, 1.0));
  Normal random(5);
  run.optimizer.average().show();
  EXPECT_EQ(run.weights(), Numbers(count, 1.0)) << "before any step it is the weights";
  for (int k = 0; k < 3; ++k) run.step(k, random(count));
  const Numbers y = run.weights();
  run.optimizer.average().show();
  const Numbers x = run.weights();
  EXPECT_NE(x, y);
  run.optimizer.average().show();
  EXPECT_EQ(run.weights(), x) << "twice is once";
  run.optimizer.average().hide();
  EXPECT_EQ(run.weights(), y);
  run.optimizer.average().show();
  run.optimizer.begin_step(3);
  EXPECT_EQ(run.weights(), y);
}

TEST(Optimizer, OtherRulesShowTheirWeights) {
  OptimizerRun run(adamw_config(), matrix_and_vector(), Numbers(count, 1.0));
  run.step(0, gradients_of_norm_5());
  const Numbers weights = run.weights();
  const std::vector<float> gradients = run.flat(run.buffers().gradients);
  run.optimizer.average().show();
  EXPECT_EQ(run.weights(), weights);
  EXPECT_EQ(run.flat(run.buffers().gradients), gradients);
}

TEST(Optimizer, EarlierUpdatesCount) {
  OptimizerRun run(adamw_config(), matrix_and_vector(), Numbers(count, 1.0));
  run.optimizer.set_earlier_updates(6);
  EXPECT_FLOAT_EQ(run.step(0, gradients_of_norm_5()).bias_correction1, static_cast<float>(1.0 - std::pow(0.9, 7)));
}

// ---- logs and diagnostics ---------------------------------------------------------------------------------------------

TEST(Optimizer, SaysWhatDecays) {
  const auto decay = [](const OptimizerConfig& config, std::int64_t offset) {
    OptimizerRun run(config, matrix_and_vector(), Numbers(count, 1.0));
    return decay_of(run.optimizer, offset);
  };
  EXPECT_EQ(decay(adamw_config(), 0), 0.5f);
  EXPECT_EQ(decay(adamw_config(), 11), 0.5f);
  EXPECT_EQ(decay(adamw_config(), 64), 0.0f);  // the vector
  EXPECT_EQ(decay(bare(adam, 0.1, 0.5), 0), 0.0f) << "L2 is in the gradient";
  EXPECT_EQ(decay(bare(lionar, 0.1, 0.5), 0), 0.0f) << "the norm is held";
  EXPECT_EQ(decay(bare(muon, 0.1, 0.5), 0), 0.5f);
}

TEST(Optimizer, SaysWhichAverageItsDirectionIs) {
  const auto beta = [](const OptimizerConfig& config, std::int64_t offset = 0) {
    OptimizerRun run(config, matrix_and_vector(), Numbers(count, 1.0));
    EXPECT_EQ(first_moment(run.optimizer).present(), config.name != schedule_free_adamw && config.momentum != 0.0);
    return direction_beta(run.optimizer, offset, 4);
  };
  EXPECT_NEAR(*beta(adamw_config()), 0.9, 1e-7);
  EXPECT_NEAR(*beta(bare(muon, 0.1)), 0.95, 1e-7);
  EXPECT_NEAR(*beta(bare(muon, 0.1), 64), 0.9, 1e-7) << "AdamW beside it";
  EXPECT_FALSE(beta(bare(lion, 0.1))) << "two averages";
  EXPECT_EQ(beta(bare(schedule_free_adamw, 0.1)), 0.0);
  OptimizerConfig plain = bare(sgd, 0.1);
  plain.momentum = 0.0;
  EXPECT_EQ(beta(plain), 0.0);
}

TEST(Optimizer, SaysWhichPriorL2StandsFor) {
  OptimizerRun run(bare(adam, 0.1, 1e-3), matrix_and_vector(), Numbers(count, 1.0));
  EXPECT_NEAR(*prior_deviation(run.optimizer, 3, 0, 1e6), 1.0 / std::sqrt(1e3), 1e-7);
  EXPECT_FALSE(prior_deviation(run.optimizer, 64, 0, 1e6)) << "the vector has none";
  EXPECT_FALSE(prior_deviation(OptimizerRun(adamw_config(), matrix_and_vector(), Numbers(count, 1.0)).optimizer, 3, 0, 1e6));
}

TEST(Optimizer, SaysWhichPriorDecoupledDecayStandsForUnderAdam) {
  const auto deviation = [](OptimizerConfig config, DecayMode decay, std::int64_t offset = 3) {
    config.decay = decay;
    OptimizerRun run(config, matrix_and_vector(), Numbers(count, 1.0));
    return preconditioned_prior_deviation(run.optimizer, offset, 0, 1e6);
  };
  const OptimizerConfig config = bare(adamw, 0.1, 1e-3);
  EXPECT_NEAR(*deviation(config, DecayMode::decoupled), 1.0 / std::sqrt(1e3), 1e-7);
  EXPECT_NEAR(*deviation(config, DecayMode::independent), 1.0 / std::sqrt(1e4), 1e-7) << "lambda over the rate";
  EXPECT_NEAR(*deviation(config, DecayMode::scale_adjusted), *deviation(config, DecayMode::independent), 1e-7);
  EXPECT_FALSE(deviation(config, DecayMode::decoupled, 64)) << "the vector has none";
  EXPECT_FALSE(deviation(config, DecayMode::cautious));
  EXPECT_FALSE(deviation(bare(adam, 0.1, 1e-3), DecayMode::l2));
  EXPECT_FALSE(deviation(bare(lion, 0.1, 1e-3), DecayMode::decoupled)) << "no preconditioner";
}

TEST(Optimizer, PreconditionerIsAdams) {
  const auto of = [](OptimizerConfig config) {
    OptimizerRun run(config, matrix_and_vector(), Numbers(count, 1.0));
    const auto found = preconditioner(run.optimizer, 4);
    return found ? std::optional(found->scale) : std::nullopt;
  };
  OptimizerConfig config = bare(adamw, 0.1, 1e-3);
  config.beta2 = 0.95;
  config.eps = 1e-3;
  const double root = 1.0 / std::sqrt(1.0 - std::pow(0.95, 5));
  EXPECT_NEAR(of(config)->root_scale, root, 1e-6);
  EXPECT_NEAR(of(config)->epsilon, 1e-3, 1e-9);
  config.eps_placement = EpsilonPlacement::inside;
  EXPECT_NEAR(of(config)->epsilon, 1e-3 * root, 1e-9);
  EXPECT_TRUE(of(bare(muon, 0.1, 1e-3))) << "of the AdamW beside it";
  EXPECT_FALSE(of(bare(lion, 0.1, 1e-3)));
}

}  // namespace
}  // namespace temper
