// Values that others published, and small trajectories worked out in float64: keras-team/keras's optimizer tests, and stock
// torch.optim on given gradients.
#include "optim/muon.h"
#include "optimizer_run.h"

namespace temper {
namespace {

using enum OptimizerName;

constexpr double four_digits = 5e-4;  // Keras prints four
constexpr double keras_muon = 1e-2;

class Published : public testing::TestWithParam<NamedBackend> {
 protected:
  OptimizerRun run(const OptimizerConfig& config, std::vector<OptimizedTensor> tensors, const Numbers& weights,
                   const ScheduleConfig& schedule = constant_schedule()) {
    return OptimizerRun(GetParam().make(), config, std::move(tensors), weights, schedule);
  }
};
INSTANTIATE_TEST_SUITE_P(On, Published, testing::ValuesIn(optimizer_backends()), backend_name);

OptimizerConfig with(OptimizerConfig config, const std::function<void(OptimizerConfig&)>& change) {
  change(config);
  return config;
}

OptimizerConfig betas(OptimizerConfig config, double beta1, double beta2) {
  config.beta1 = beta1;
  config.beta2 = beta2;
  return config;
}

OptimizerConfig momentum(OptimizerConfig config, double value, bool nesterov = false) {
  config.momentum = value;
  config.nesterov = nesterov;
  return config;
}

// ---- Keras ------------------------------------------------------------------------------------------------------------

TEST_P(Published, KerasOneStep) {
  const Numbers x = {1, 2, 3, 4}, g = {1, 6, 7, 2};
  const auto one_step = [&](const OptimizerConfig& config) {
    OptimizerRun made = run(config, one_matrix(1, 4), x);
    made.step(0, g);
    return made.weights();
  };
  expect_near(one_step(bare(lion, 0.5)), {0.5, 1.5, 2.5, 3.5}, f32, "Lion");
  expect_near(one_step(bare(adamw, 0.5, 0.004)), {0.498, 1.496, 2.494, 3.492}, f32, "AdamW");
  expect_near(one_step(momentum(bare(sgd, 0.5), 0.0)), {0.5, -1, -0.5, 3}, f32, "SGD");
}

/// Keras' sequence: ten ones; a gradient of 0.01 everywhere, then (0.1, ..., 1.0) again and again.
Numbers keras_gradient(int step) {
  Numbers g(10, 0.01);
  for (std::size_t i = 0; step > 0 && i < 10; ++i) g[i] = 0.1 * static_cast<double>(i + 1);
  return g;
}

TEST_P(Published, KerasLionOnItsSequence) {
  OptimizerRun made = run(bare(lion, 1e-3), one_matrix(1, 10), Numbers(10, 1.0));
  for (int k = 0; k < 5; ++k) {
    made.step(k, keras_gradient(k));
    expect_near(made.weights(), Numbers(10, 0.999 - 0.001 * k), f32);
  }
}

TEST_P(Published, KerasSgdOnItsSequence) {
  OptimizerRun made = run(momentum(bare(sgd, 0.01), 0.0, true), one_matrix(1, 10), Numbers(10, 1.0));
  for (int k = 0; k < 5; ++k) {
    made.step(k, keras_gradient(k));
    const Numbers now = made.weights();
    if (k == 0) expect_near(now, Numbers(10, 0.9999), four_digits);
    if (k == 1) expect_near({now[0], now[9]}, {0.9989, 0.9899}, four_digits);
    if (k == 4) expect_near({now[0], now[1], now[9]}, {0.9959, 0.9919, 0.9599}, four_digits);
  }
}

TEST_P(Published, KerasAdamWIsOnlyReproducedWithEpsilonInside) {
  const OptimizerConfig outside = with(betas(bare(adamw, 1.0, 0.5), 0.9, 0.999), [](auto& c) { c.eps = 2.0; });
  OptimizerRun keras =
      run(with(outside, [](auto& c) { c.eps_placement = EpsilonPlacement::inside; }), one_matrix(1, 10), Numbers(10, 1.0));
  OptimizerRun torch = run(outside, one_matrix(1, 10), Numbers(10, 1.0));
  const Numbers inside[] = {{0.4998, 0.4998, 0.4998},
                            {0.2486, 0.2475, 0.2382},
                            {0.1223, 0.1198, 0.1003},
                            {0.0586, 0.0549, 0.0258},
                            {0.0263, 0.0215, -0.0159}};
  const Numbers stock[] = {{0.495024876, 0.495024876, 0.495024876, 0.495024876},
                           {0.219812687, 0.196149769, 0.174000088, 0.051357998},
                           {0.07479392, 0.03187929, -0.008017152, -0.224291057},
                           {-0.00138156, -0.057553318, -0.109554645, -0.387815073},
                           {-0.04164672, -0.106592208, -0.166544989, -0.484575778}};
  for (int k = 0; k < 5; ++k) {
    keras.step(k, keras_gradient(k));
    torch.step(k, keras_gradient(k));
    const Numbers a = keras.weights(), b = torch.weights();
    expect_near({a[0], a[1], a[9]}, inside[k], four_digits, "Keras");
    expect_near({b[0], b[1], b[2], b[9]}, stock[k], f32, "torch");
  }
}

TEST_P(Published, AZeroGradientLeavesDecayAlone) {
  // 2 x 0.996^3; what is excluded from decay stays.
  for (const OptimizerName name : {lion, adamw, sgdw}) {
    OptimizerConfig config = bare(name, 1.0, 0.004);
    config.decay = DecayMode::decoupled;
    OptimizerRun made = run(config, {{"w", {1, 2}, 0, ParameterKind::matrix}, {"b", {1}, 0, ParameterKind::bias}}, {2, 2, 2});
    for (int k = 0; k < 3; ++k) made.step(k, {0, 0, 0});
    expect_near(made.weights(), {1.9760959, 1.9760959, 2}, f32);
  }
}

TEST_P(Published, ClippingByNorm) {
  OptimizerConfig config = momentum(bare(sgd, 1.0), 0.0);
  config.grad_clip = 1.0;
  OptimizerRun made = run(config, one_matrix(1, 2), {0, 0});
  made.step(0, {100, 100});
  expect_near(made.weights(), {-0.70710678, -0.70710678}, f32);
}

// ---- Muon -------------------------------------------------------------------------------------------------------------

Numbers orthogonalized(Ops& ops, std::int64_t rows, std::int64_t columns, const Numbers& values, std::int64_t iterations) {
  DeviceMemory memory(&ops);
  NewtonSchulz newton_schulz({{rows, columns}}, iterations, &ops, memory);
  const TensorView matrix = memory.add("test", DType::f32, {rows, columns});
  std::vector<float> host(values.begin(), values.end());
  ops.copy_to_device(matrix.data, host.data(), matrix.bytes());
  newton_schulz.orthogonalize(matrix);
  ops.copy_to_host(host.data(), matrix.data, matrix.bytes());
  return {host.begin(), host.end()};
}

TEST_P(Published, NewtonSchulz) {
  const std::unique_ptr<Ops> ops = GetParam().make();
  // The map multiplies errors by up to 3.4 at each iteration: 1e-7 becomes 5e-5 in f32; bf16 begins with
  // 2^-9, of which that leaves no guarantee: it is within 0.05 here.
  const bool bf16 = ops->device().fast_bf16;
  if (!bf16)  // nearly singular: its smaller singular value is within bf16's rounding
    expect_near(orthogonalized(*ops, 2, 2, {0.2499, 0.9105, 0.2655, 0.8824}, 5), {-0.4422, 0.6457, 0.7285, 0.2968}, 1e-3);
  expect_near(orthogonalized(*ops, 3, 2, {1, 2, 0, 1, 2, -1}, 5),
              {0.505039825, 0.859725161, 0, 0.42986258, 1.010079649, -0.42986258}, bf16 ? 0.05 : 1e-4);
  // A diagonal goes through the scalar map.
  const double image[][2] = {{1.0, 0.696436409}, {0.5, 0.76543853}, {0.1, 0.712120082}, {0.01, 0.698917063}};
  for (const auto& [x, y] : image) {
    const double other = std::sqrt(1.0 - x * x);  // of norm 1 together
    const Numbers mapped = orthogonalized(*ops, 2, 2, {x, 0, 0, other}, 5);
    EXPECT_NEAR(mapped[0], y, bf16 ? 0.05 : 1e-4) << x;
    EXPECT_NEAR(mapped[1], 0.0, 1e-6);
  }
}

TEST_P(Published, MuonOneStep) {
  const auto one_step = [&](std::int64_t iterations) {
    OptimizerConfig config = bare(muon, 0.5);
    config.muon_iterations = iterations;
    OptimizerRun made = run(config, one_matrix(2, 2), {1, 2, 3, 4});
    made.step(0, {1, 6, 7, 2});
    return std::pair(made.weights(), made.ops().device().fast_bf16);
  };
  const auto [six, bf16] = one_step(6);
  expect_near(six, {1.13, 1.51, 2.57, 4.06}, keras_muon + (bf16 ? 0.5 * 0.05 : 0.0), "Keras");
  if (bf16) return;  // the float64 values below say more than eight bits can
  expect_near(six, {1.134072, 1.513779, 2.579922, 4.064357}, 1e-5);
  expect_near(one_step(5).first, {0.960313, 1.600671, 2.552499, 3.895172}, 1e-5);
}

// ---- trajectories of four weights under six given gradients -----------------------------------------------------------

const Numbers p_start = {1, -2, 0.5, 3};
const Numbers p_gradients[] = {{0.5, -0.2, 0.1, -1},   {-0.4, 0.3, 0.1, -1}, {0.3, -0.1, -0.2, 2},
                               {-0.2, 0.2, 0.4, -0.5}, {0.1, 0.1, -0.3, 1},  {0.6, -0.4, 0.2, -0.1}};

struct Row {
  const char* name;
  OptimizerConfig config;
  std::vector<std::pair<int, Numbers>> after;  // step, weights
  Numbers moment = {};                         // the first state after the last step, where it is known
  std::int64_t warmup = 0;
};

std::vector<Row> p_rows() {
  const OptimizerConfig adam_l2 = betas(bare(adam, 0.01, 0.1), 0.9, 0.95), adamw_like = betas(bare(adamw, 0.01, 0.1), 0.9, 0.95);
  const OptimizerConfig liona_like = momentum(bare(liona, 0.01, 0.1), 0.9);
  const Numbers nesterov_moment = {0.0779505, -0.0142168, 0.0232859, 0.060641};
  return {
      {"sgd",
       momentum(bare(sgd, 0.1, 0.1), 0.9),
       {{1, {0.94, -1.96, 0.485, 3.07}},
        {2, {0.9166, -1.9344, 0.45665, 3.2023}},
        {6, {0.638446717, -1.68370063, 0.327301015, 2.60047989}}}},
      {"sgd nesterov",
       momentum(bare(sgd, 0.1, 0.1), 0.9, true),
       {{1, {0.886, -1.924, 0.4715, 3.133}},
        {2, {0.896566, -1.912044, 0.4313915, 3.320173}},
        {6, {0.538742371, -1.597336023, 0.29159961, 2.420218541}}}},
      {"sgd dampening",
       with(momentum(bare(sgd, 0.1), 0.9), [](auto& c) { c.dampening = 0.9; }),
       {{1, {0.95, -1.98, 0.49, 3.1}}, {2, {0.909, -1.965, 0.48, 3.2}}, {6, {0.7693039, -1.9184545, 0.448787, 3.43628}}}},
      {"sgdw",
       momentum(bare(sgdw, 0.1, 0.01), 0.9),
       {{1, {0.94, -1.96, 0.485, 3.07}},
        {2, {0.9256, -1.9524, 0.46115, 3.2293}},
        {6, {0.747126196, -1.910696281, 0.382246388, 2.958992314}}}},
      {"adam l2",
       adam_l2,
       {{1, {0.99, -1.99, 0.490000001, 3.01}},
        {2, {0.987329345, -1.985273533, 0.48000096, 3.019999804}},
        {6, {0.968658493, -1.960354654, 0.465605066, 3.007782339}}}},
      {"adamw",
       adamw_like,
       {{1, {0.989, -1.988000001, 0.489500001, 3.007}},
        {2, {0.987428139, -1.988477131, 0.479010502, 3.013993}},
        {6, {0.9736885, -1.985925686, 0.470970332, 2.998973322}}}},
      {"adamw, second moment corrected",
       with(adamw_like, [](auto& c) { c.bias_correction = BiasCorrection::second; }),
       {{1, {0.998, -1.997, 0.4985, 2.998}},
        {2, {0.996891256, -1.995471375, 0.4961015, 2.996902}},
        {6, {0.989138828, -1.989429818, 0.491683752, 2.983707474}}}},
      {"adamw cautious",
       with(adamw_like, [](auto& c) { c.decay = DecayMode::cautious; }),
       {{1, {0.989, -1.988000001, 0.489500001, 3.01}},
        {2, {0.987428139, -1.990465131, 0.479010502, 3.02}},
        {6, {0.9736885, -1.993868334, 0.471447907, 3.007966534}}}},
      {"lion",
       betas(bare(lion, 0.01, 0.1), 0.9, 0.99),
       {{6, {0.97404492, -1.9880399, 0.47707735, 3.00197508}}},
       {0.008853263, -0.001040291, 0.002921388, 0.004289619}},
      {"lion .95 .98",
       betas(bare(lion, 0.01, 0.1), 0.95, 0.98),
       {{6, {0.97404492, -1.9880399, 0.47707735, 2.98197508}}},
       {0.017425815, -0.002162258, 0.00569101, 0.009117901}},
      {"lion .9 .9",
       betas(bare(lion, 0.01, 0.1), 0.9, 0.9),
       {{6, {0.93416478, -2.00797996, 0.45709735, 2.98197508}}},
       nesterov_moment},
      {"lion .81 .9",
       betas(bare(lion, 0.01, 0.1), 0.81, 0.9),
       {{6, {0.97404492, -1.9880399, 0.47707735, 2.98197508}}},
       nesterov_moment},
      {"nesterov lion",
       momentum(bare(nesterov_lion, 0.01, 0.1), 0.9),
       {{6, {0.97404492, -1.9880399, 0.47707735, 2.98197508}}},
       nesterov_moment},
      {"liona",
       liona_like,
       {{1, {0.996705843, -1.995705843, 0.497205843, 2.999294157}}, {6, {0.980284402, -1.992606804, 0.487851476, 2.982028913}}}},
      {"liona nesterov",
       momentum(liona_like, 0.9, true),
       {{1, {0.996705843, -1.995705843, 0.497205843, 2.999294157}},
        {2, {0.998003294, -1.996004294, 0.494414479, 2.998589021}},
        {6, {0.989433534, -1.98803224, 0.492435202, 2.982028913}}}},
      {"liona nesterov, inverse bias correction",
       with(momentum(liona_like, 0.9, true), [](auto& c) { c.inverse_bias_correction = InverseBiasCorrection::linear; }),
       {{1, {0.998770584, -1.997770584, 0.499270584, 2.997229416}}, {6, {0.992374899, -1.988266961, 0.496041133, 2.980861401}}}},
      {"ademamix",
       with(betas(bare(ademamix, 0.01, 0.1), 0.9, 0.999), [](auto& c) { c.beta3 = 0.99; }),
       {{1, {0.9882, -1.987200001, 0.488700001, 3.0078}}, {6, {0.969103933, -1.987012738, 0.465831341, 3.000987146}}}},
      {"schedule-free",
       betas(bare(schedule_free_adamw, 0.01, 0.1), 0.9, 0.999),
       {{1, {0.9945, -1.994, 0.49475, 3.0035}},
        {2, {1.000772406, -2.001817469, 0.486354201, 3.0090972}},
        {6, {0.993492486, -2.000156411, 0.487866631, 2.99296546}}},
       {},
       2},
  };
}

TEST_P(Published, TrajectoriesOfSixSteps) {
  for (const Row& row : p_rows()) {
    SCOPED_TRACE(row.name);
    ScheduleConfig schedule = constant_schedule();
    schedule.warmup_steps = row.warmup;
    OptimizerRun made = run(row.config, one_matrix(1, 4), p_start, schedule);
    for (int step = 1; step <= 6; ++step) {
      made.step(step - 1, p_gradients[step - 1]);
      made.optimizer.average().show();
      for (const auto& [when, weights] : row.after)
        if (when == step) expect_near(made.weights(), weights, f32, "step " + std::to_string(step));
    }
    if (!row.moment.empty()) expect_near(made.state("w.exp_avg"), row.moment, 1e-7, "moment");  // 1 - beta holds six digits in f32
  }
}

// ---- trajectories of a matrix under two given gradients ---------------------------------------------------------------

const Numbers m_start = {1, 2, -1, 2, 0, 3, 4, 0};
const Numbers m_gradients[] = {{0.5, -0.5, 1, 0, -1, 0.2, 0.1, 0.3}, {-0.2, 0.4, 0.3, -0.1, 0.5, 0.5, -0.5, 1}};

/// An angle of 0.1 per step: sqrt(2 x rate x (1-b)/(1+b)) with decay 1.
OptimizerConfig lionar_by_a_tenth() {
  OptimizerConfig config = momentum(bare(lionar, 0.01 * 1.9 / 0.2, 1.0), 0.9, true);
  config.rotation_averaging = 0.0;
  config.rotation_zero_mean = false;
  return config;
}

TEST_P(Published, LionarOnAMatrix) {
  const Numbers first = {0.760865774, 2.107160089, -1.151151468, 1.912017242, 0.348332688, 2.929378341, 4.021948684, -0.348332688};
  {
    OptimizerRun made = run(lionar_by_a_tenth(), one_matrix(2, 4), m_start);
    Numbers before = m_start;
    for (const int k : {0, 1}) {
      made.step(k, m_gradients[k]);
      const Numbers now = made.weights();
      for (const std::size_t row : {0u, 4u}) {
        EXPECT_NEAR(angle(before, now, row, 4), 0.099668652, 1e-6);
        EXPECT_NEAR(norm(now, row, 4), row == 0 ? std::sqrt(10.0) : 5.0, f32);
      }
      if (k == 0) expect_near(now, first, f32);
      before = now;
    }
    expect_near(before, {0.597348508, 1.932826103, -1.299306748, 2.054059393, 0.092536825, 2.63254446, 4.208258101, -0.593051735},
                f32);
  }
  {
    OptimizerRun made = run(with(lionar_by_a_tenth(), [](auto& c) { c.rotation_averaging = 0.9; }), one_matrix(2, 4), m_start);
    made.step(0, m_gradients[0]);
    expect_near(made.weights(), first, f32);
    made.step(1, m_gradients[1]);
    EXPECT_NEAR(angle(first, made.weights(), 0, 4), 0.109033513, 1e-6);
    EXPECT_NEAR(angle(first, made.weights(), 4, 4), 0.113411681, 1e-6);
    expect_near(made.weights(),
                {0.581653994, 1.915431257, -1.312586438, 2.06637813, 0.05713634, 2.589495321, 4.230707723, -0.626387726}, f32);
  }
  {
    OptimizerRun made = run(with(lionar_by_a_tenth(), [](auto& c) { c.rotation_zero_mean = true; }), one_matrix(2, 4), m_start);
    for (const int k : {0, 1}) made.step(k, m_gradients[k]);
    expect_near(made.weights(),
                {-0.30098166, 1.313288858, -2.464762733, 1.452455536, -2.060390546, 1.286215591, 3.453091948, -2.678916992}, f32);
  }
  {
    OptimizerRun made =
        run(with(lionar_by_a_tenth(), [](auto& c) { c.norm_granularity = Granularity::matrix; }), one_matrix(2, 4), m_start);
    for (const int k : {0, 1}) made.step(k, m_gradients[k]);
    expect_near(made.weights(),
                {0.575138429, 2.05459338, -1.456313067, 2.240174213, 0.023141884, 2.606589925, 4.039761108, -0.440587319}, f32);
  }
}

TEST_P(Published, AdamHOnAMatrix) {
  OptimizerRun made = run(bare(adamh, 0.018), one_matrix(2, 4), m_start);
  made.step(0, m_gradients[0]);
  expect_near(made.weights(),
              {0.965159131, 2.051746367, -1.046111202, 2.011270332, 0.040476036, 2.976429464, 3.982064632, -0.040476035}, f32);
  made.step(1, m_gradients[1]);
  expect_near(made.weights(),
              {0.942419415, 2.048757517, -1.091943089, 2.046777282, 0.055570095, 2.914489899, 4.003392666, -0.091154178}, f32);
}

}  // namespace
}  // namespace temper
