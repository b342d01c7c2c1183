// What a GPU chooses by time belongs to the run: bits depend on it. Emulated; there its GELU in a product and the kernel of its own
// differ in the last bits, and so do sums that are split.
#include <sstream>

#include "kernels/choice_cache.h"
#include "trainer_support.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

class ChoicesOfARun : public TrainerTest {
 protected:
  ChoicesOfARun() {
    config.data.val = {};
    config.train.steps = 4;
    config.checkpoint.every = 2;
  }

  void open_device(const std::string& file) { ops = make_emulated_ops({}, {.choices_file = folder / file}); }

  std::string trained() const { return read_file(folder / "run/checkpoints/step-00000004/optimizer.safetensors"); }

  /// Another GPU of the same make, on which nothing was faster fused: every "fused" in `from` is "apart" in `to`.
  int write_apart(const std::string& from, const std::string& to) const {
    std::istringstream lines(read_file(folder / from));
    int changed = 0;
    for (std::string line; std::getline(lines, line);) {
      std::istringstream fields(line);
      std::string machine, name, value;
      std::getline(fields, machine, '\t');
      std::getline(fields, name, '\t');
      std::getline(fields, value, '\t');
      if (name.empty()) continue;
      changed += value == "fused" ? 1 : 0;
      ChoiceCache(folder / to, machine).keep(name, value == "fused" ? "apart" : value);
    }
    return changed;
  }
};

TEST_P(ChoicesOfARun, AResumeTakesThemWithoutTheFile) {
  open_device("fused");
  run();
  const std::string fused = trained();
  EXPECT_GE(write_apart("fused", "apart"), 4) << "GELU, its gradient, residuals, bias gradients";

  fs::remove_all(folder / "run");
  open_device("apart");
  run();
  const std::string whole = trained();
  EXPECT_NE(whole, fused) << "the choice makes no difference, so this test shows nothing";

  fs::remove_all(folder / "run/checkpoints/step-00000004");
  fs::remove(folder / "apart");
  open_device("apart");
  run(true);
  EXPECT_EQ(trained(), whole);
  EXPECT_FALSE(fs::exists(folder / "apart")) << "something was timed, though the run has its choices";

  // As after a move to a machine whose file says otherwise.
  fs::remove_all(folder / "run/checkpoints/step-00000004");
  open_device("fused");
  run(true);
  EXPECT_EQ(trained(), whole);
}

TEST_P(ChoicesOfARun, OtherRanksTakeRank0s) {
  open_device("fused");
  run();
  write_apart("fused", "apart");
  fs::remove_all(folder / "run");
  open_device("apart");
  run();
  const std::string alone = trained();

  const std::string chosen = ops->choices();
  ops = make_emulated_ops();  // of a rank that has no file
  EXPECT_TRUE(ops->take_choices(chosen));
  fs::remove_all(folder / "run");
  run();
  EXPECT_EQ(trained(), alone);
}

TEST_P(ChoicesOfARun, NothingIsTimedAfterTheFirstStep) {
  open_device("file");
  config.optimizer.name = OptimizerName::muon;
  config.batch.tokens_per_step = 32;
  run();
  const std::string kept = read_file(folder / "file");
  EXPECT_EQ(Json::parse(read_file(folder / "run/checkpoints/step-00000004/trainer.json"))["choices"], ops->choices());
  EXPECT_NE(kept.find(" += "), std::string::npos) << "the second micro-batch's products";
  EXPECT_NE(kept.find("m=16 n=16 k=16 f32 a b^T"), std::string::npos) << "Muon's products:\n" << kept;
  fs::remove_all(folder / "run");
  open_device("file");
  run();
  EXPECT_EQ(read_file(folder / "file"), kept);
}

// Attention's choices go by the length of sequences.
TEST_P(ChoicesOfARun, EachLengthIsTimedBeforeTheFirstStep) {
  open_device("file");
  config.precision = Precision::bf16;
  config.model.n_head = 1;
  config.model.n_embd = 64;
  config.model.n_ctx = 16;
  config.schedule.context_warmup_steps = 3;
  config.schedule.context_start = 8;
  run();
  const std::string kept = read_file(folder / "file");
  EXPECT_EQ(Json::parse(read_file(folder / "run/checkpoints/step-00000004/trainer.json"))["choices"], ops->choices());
  for (const char* length : {"heads of 64 at 8 positions", "heads of 64 at 16 positions"})
    EXPECT_NE(kept.find(length), std::string::npos) << kept;
  fs::remove_all(folder / "run");
  open_device("file");
  run();
  EXPECT_EQ(read_file(folder / "file"), kept);
}

INSTANTIATE_TEST_SUITE_P(Gpu, ChoicesOfARun, testing::Values("emulated"),
                         [](const auto& instance) { return std::string(instance.param); });

}  // namespace
}  // namespace temper
