#include "config/validate.h"

#include "config_files.h"

namespace temper {
namespace {

template <class Change>
std::string problem_after(Change change) {
  RunConfig config = valid_config();
  change(config);
  return usage_error([&] { validate(config); });
}

TEST(Validate, AcceptsAValidConfiguration) {
  EXPECT_TRUE(config_problems(valid_config()).empty());
  RunConfig config = valid_config();
  config.schedule.warmup_steps = 1000;  // as long as the run
  EXPECT_TRUE(config_problems(config).empty());
  config.model.n_embd = 12 * 256;  // the largest head
  EXPECT_TRUE(config_problems(config).empty());
}

TEST(Validate, HeadsAreWholeEvenAndAtMost256Wide) {
  expect_parts(problem_after([](RunConfig& c) { c.model.n_embd = 100; }), {"model.n_embd is 100", "n_head 12", "96 or 120"});
  expect_parts(problem_after([](RunConfig& c) { c.model.n_embd = 36; }), {"model.n_embd is 36", "even", "24 or 48"});  // size 3
  expect_parts(problem_after([](RunConfig& c) {
                 c.model.n_head = 1;
                 c.model.n_embd = 1000;
               }),
               {"1000 / 1 = 1000", "n_head 4 or more"});
}

TEST(Validate, TheLengthIsGivenOnce) {
  expect_parts(problem_after([](RunConfig& c) { c.train.steps.reset(); }), {"train.steps or train.tokens"});
  expect_parts(problem_after([](RunConfig& c) { c.train.tokens = 10; }),
               {"train.steps is 1000 and train.tokens is 10", "only one"});
}

TEST(Validate, AStepIsWholeMicroBatches) {
  expect_parts(problem_after([](RunConfig& c) { c.batch.tokens_per_step = 10000; }),
               {"batch.tokens_per_step is 10000", "4 x 1024 = 4096", "8192 or 12288"});
  const std::string small = problem_after([](RunConfig& c) { c.batch.tokens_per_step = 1000; });
  expect_parts(small, {"nearest: 4096"});
  EXPECT_EQ(small.find(" or "), std::string::npos) << small;  // 0 is no remedy
}

TEST(Validate, SharedStatesLeaveNothingToLookAt) {
  for (const auto interval :
       {&DiagnosticsConfig::every, &DiagnosticsConfig::representation_every, &DiagnosticsConfig::histogram_every}) {
    const std::string problem = problem_after([&](RunConfig& c) {
      c.parallel.zero_stage = 1;
      c.diagnostics.*interval = 10;
    });
    expect_parts(problem, {"parallel.zero_stage is 1", "diagnostics.every"});
  }
  expect_parts(problem_after([](RunConfig& c) {
                 c.parallel.zero_stage = 1;
                 c.eval.weight_average = 0.99;
               }),
               {"parallel.zero_stage is 1", "eval.weight_average 0.99"});
  expect_parts(problem_after([](RunConfig& c) {
                 c.parallel.zero_stage = 1;
                 c.optimizer.name = OptimizerName::schedule_free_adamw;
                 c.schedule.name = ScheduleName::constant;
               }),
               {"schedule_free_adamw", "parallel.zero_stage to 0"});
}

TEST(Validate, DataIsNamed) {
  expect_parts(problem_after([](RunConfig& c) { c.data.train.clear(); }), {"data.train is empty"});
}

TEST(Validate, RangesHoldForStructsMadeInCodeToo) {
  expect_parts(problem_after([](RunConfig& c) { c.model.vocab_size = 70000; }), {"model.vocab_size is 70000", "65536"});
  expect_parts(problem_after([](RunConfig& c) { c.checkpoint.keep = 0; }), {"checkpoint.keep is 0"});
  expect_parts(problem_after([](RunConfig& c) { c.model.n_head = 0; }), {"model.n_head is 0"});  // and no division by it
  expect_parts(problem_after([](RunConfig& c) { c.schedule.warmup_fraction = -0.5; }), {"schedule.warmup_fraction is -0.5"});
  expect_parts(problem_after([](RunConfig& c) { c.schedule.name = static_cast<ScheduleName>(99); }), {"schedule.name is \"99\""});
  expect_parts(problem_after([](RunConfig& c) { c.optimizer.learning_rate = std::numeric_limits<double>::quiet_NaN(); }),
               {"optimizer.learning_rate"});
}

TEST(Validate, SeveralProblemsAreToldTogether) {
  expect_parts(problem_after([](RunConfig& c) {
                 c.model.n_embd = 100;
                 c.batch.tokens_per_step = 1;
                 c.train.steps.reset();
               }),
               {"3 problems", "model.n_embd", "batch.tokens_per_step", "train.steps"});
}

TEST(Derived, StepsComeFromTokensRoundedUp) {
  RunConfig config = valid_config();
  EXPECT_EQ(total_steps(config), 1000);
  config.train.steps.reset();
  config.train.tokens = 2 * 524288;
  EXPECT_EQ(total_steps(config), 2);
  ++*config.train.tokens;
  EXPECT_EQ(total_steps(config), 3);
  config.train.tokens = 1;
  EXPECT_EQ(total_steps(config), 1);
}

}  // namespace
}  // namespace temper
