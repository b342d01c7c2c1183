// The average of weights (eval.weight_average), and runs whose rate or decay is given otherwise than by a number.
#include "io/safetensors.h"
#include "train/start.h"
#include "trainer_support.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

class MeansTest : public TrainerTest {
 protected:
  MeansTest() { config.train.steps = 9; }

  fs::path saved(int step) const { return folder / ("run/checkpoints/step-0000000" + std::to_string(step)); }
  std::string model(int step) const { return read_file(saved(step) / "model.safetensors"); }
  void start_anew() { fs::remove_all(folder / "run"); }
  /// The validation loss of the weights in a file of a checkpoint.
  double loss_of(const fs::path& checkpoint, const std::string& file) {
    fs::create_directory(folder / "model");
    fs::copy_file(checkpoint / "config.json", folder / "model/config.json", fs::copy_options::overwrite_existing);
    fs::copy_file(checkpoint / file, folder / "model/model.safetensors", fs::copy_options::overwrite_existing);
    RunConfig measured = config;
    measured.eval.weight_average = 0.0;
    measured.train.steps = 1;
    measured.train.init_from = folder / "model";
    fs::remove_all(folder / "measured");
    testing::internal::CaptureStderr();
    const TrainSummary summary = train({measured, folder / "measured", false, {}}, *ops, *ranks);
    testing::internal::GetCapturedStderr();
    return *summary.first_val_loss;
  }
};
/// What does not depend on the device.
class GivenOtherwiseTest : public MeansTest {};
INSTANTIATE_TEST_SUITE_P(Cpu, GivenOtherwiseTest, testing::Values("cpu"));
INSTANTIATE_TEST_SUITE_P(Backends, MeansTest, testing::Values("cpu", "emulated"),
                         [](const auto& instance) { return std::string(instance.param); });

// Each of the weights after updates 1, 2, ... counts 0.8 to the power of its age; the initial ones do not.
TEST_P(MeansTest, TheAverageIsThatOfTheCheckpoints) {
  config.eval.weight_average = 0.8;
  config.checkpoint.every = 1;
  config.checkpoint.keep = 9;
  run();
  const SafetensorsFile averaged(saved(9) / "average.safetensors");
  for (const TensorEntry& tensor : averaged.tensors()) {
    std::vector<double> sum;
    double weights = 0.0;
    for (int step = 1; step <= 9; ++step) {
      const std::vector<float> values = SafetensorsFile(saved(step) / "model.safetensors").read_f32(tensor.name);
      sum.resize(values.size());
      for (std::size_t i = 0; i < values.size(); ++i) sum[i] = 0.8 * sum[i] + static_cast<double>(values[i]);
      weights = 0.8 * weights + 1.0;
    }
    const std::vector<float> found = averaged.read_f32(tensor.name);
    ASSERT_EQ(found.size(), sum.size());
    for (std::size_t i = 0; i < sum.size(); ++i) ASSERT_NEAR(found[i], sum[i] / weights, 5e-7) << tensor.name << " " << i;
  }
  EXPECT_EQ(read_file(saved(1) / "average.safetensors"), model(1));
}

TEST_P(MeansTest, TheAverageIsEvaluatedAndDisturbsNothing) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    start_anew();
    config.precision = precision;
    config.eval.weight_average = 0.0;
    run();
    const std::string plain = model(9);
    EXPECT_FALSE(summary_file()["val_loss_average"].is_number());
    EXPECT_FALSE(fs::exists(saved(9) / "average.safetensors"));
    start_anew();
    config.eval.weight_average = 0.8;
    run();
    EXPECT_EQ(model(9), plain);
    const std::vector<Json> lines = metrics();
    EXPECT_FALSE(lines[0].contains("val_loss_average")) << "no update, no average";
    for (const int step : {3, 6, 9}) EXPECT_NE(lines[step]["val_loss_average"], lines[step]["val_loss"]) << step;
    EXPECT_EQ(lines[9]["val_loss_average"], summary_file()["val_loss_average"]);
    EXPECT_EQ(loss_of(saved(9), "average.safetensors"), lines[9]["val_loss_average"]);
    EXPECT_EQ(loss_of(saved(9), "model.safetensors"), lines[9]["val_loss"]);
    EXPECT_NE(said.find("with averaged weights"), std::string::npos) << said;
  }
}

TEST_P(MeansTest, AResumedAverageIsTheSame) {
  config.eval.weight_average = 0.8;
  run();
  const std::string whole = read_file(saved(9) / "average.safetensors");
  const Json summary = summary_file();
  fs::remove_all(saved(9));
  run(true);  // from 8
  EXPECT_EQ(read_file(saved(9) / "average.safetensors"), whole);
  EXPECT_EQ(summary_file()["val_loss_average"], summary["val_loss_average"]);
  config.eval.weight_average = 0.9;
  expect_error(ExitCode::checkpoint, {"eval.weight_average: 0.8 then, 0.9 now", "cannot change"}, [&] { run(true); });
}

TEST_P(GivenOtherwiseTest, ARunFollowsTheRatesOfAnother) {
  config.schedule.name = ScheduleName::cosine;
  config.schedule.warmup_steps = 3;
  run();
  const std::string followed = model(9);
  fs::rename(folder / "run", folder / "followed");
  config.schedule = {};
  config.schedule.name = ScheduleName::file;
  config.schedule.file = folder / "followed/metrics.jsonl";
  run();
  EXPECT_EQ(model(9), followed);

  fs::remove_all(saved(9));
  run(true);
  EXPECT_EQ(model(9), followed);
  fs::remove_all(saved(9));
  std::ofstream(folder / "followed/metrics.jsonl", std::ios::app) << "\n";
  expect_error(ExitCode::checkpoint, {"what schedule.file names", "then", "--allow-change schedule.file"}, [&] { run(true); });
  run(true, {"schedule.file"});
  EXPECT_NE(said.find("what schedule.file names"), std::string::npos) << said;
  fs::remove_all(saved(9));
  expect_error(ExitCode::checkpoint, {"what schedule.file names"}, [&] { run(true); });  // 8 is of the old file
}

TEST_P(GivenOtherwiseTest, ADecayTimescaleIsADecay) {
  config.optimizer.learning_rate = 0.01;
  config.optimizer.weight_decay = 5.0;
  run();
  const std::string decayed = model(9);
  EXPECT_DOUBLE_EQ(summary_file()["decay_timescale"].get<double>(), 20.0);
  EXPECT_NEAR(summary_file()["rate_decay_sum"].get<double>(), 9 * 0.05, 1e-12);
  EXPECT_NEAR(summary_file()["equilibrium_rms"].get<double>(), std::sqrt(0.001), 1e-12);
  const double epoch = static_cast<double>(RunData(config).train.windows_per_epoch() * 8) / 32.0;
  config.optimizer.weight_decay.reset();
  for (const std::string& timescale : {std::string("20 steps"), fmt::format("{} epochs", 20.0 / epoch)}) {
    start_anew();
    config.optimizer.decay_timescale = timescale;
    run();
    EXPECT_EQ(model(9), decayed) << timescale;
    EXPECT_EQ(read_file(folder / "run/config.json"), config_to_json(config));
    EXPECT_NE(config_to_json(config).find(timescale), std::string::npos);
    run(true);
  }
  config.optimizer.decay_timescale = "21 steps";
  expect_error(ExitCode::checkpoint, {"optimizer.decay_timescale"}, [&] { run(true); });
  config.optimizer.decay_timescale = "0.01 epochs";
  start_anew();
  expect_error(ExitCode::usage, {"0.01 epochs", "at least one step"}, [&] { run(); });
}

}  // namespace
}  // namespace temper
