#include "config/resolved.h"

#include "config/validate.h"
#include "config_files.h"

namespace temper {
namespace {

/// Valid, and different from RunConfig{} in every field that can be given together.
RunConfig changed_everywhere() {
  RunConfig config;
  config.name = "other.run-1";
  config.seed = UINT64_MAX;
  config.device = DeviceChoice::cpu;
  config.precision = Precision::bf16;
  config.model = {2, 2, 32, 64, 300, false, 1.0 / 3.0};
  config.data = {{"a \"quoted\" \xc3\xa9.bin", "b*.bin"}, {"v.bin"}, "tok", true, "raw_u16"};
  config.batch = {1280, 5};
  config.train.tokens = 12'345'678'901;
  config.train.init_from = "runs/a model";
  config.train.recompute = Recompute::block;
  config.optimizer = {OptimizerName::adamw, 0.1 + 0.2, 0.8, 0.999, 1e-12, 5e-324, DecayMode::none, 0.0};
  config.schedule = {ScheduleName::wsd, -1, 1e-3, 1.0 / 7.0, 0.3};
  config.eval = {3, 0, "h.bin", 17};
  config.checkpoint = {5, 9};
  config.log = {2, false};
  return config;
}

TEST(Resolved, ReadsBackToTheSameConfiguration) {
  const RunConfig config = changed_everywhere();
  const auto differences = compare(RunConfig{}, config);
  // every field but the two that stay "not given" and the optimizer's only name
  EXPECT_EQ(differences.size(), config_fields().size() - 3);

  const std::string text = config_to_json(config);
  const RunConfig again = config_from_json(text, "resolved");
  EXPECT_TRUE(compare(config, again).empty());
  EXPECT_EQ(again.optimizer.weight_decay, 5e-324);
  EXPECT_EQ(again.schedule.min_ratio, 1.0 / 7.0);
  EXPECT_EQ(config_to_json(again), text);
}

TEST(Resolved, IsAFileThatLoads) {
  const RunConfig config = valid_config();
  EXPECT_TRUE(compare(config, config_from_json(config_to_json(config), "resolved")).empty());
}

TEST(Resolved, HasTheTablesOrderAndLeavesOutWhatIsNotGiven) {
  const std::string text = config_to_json(valid_config());
  std::size_t at = 0;
  for (const char* key :
       {"\"name\"", "\"seed\"", "\"model\"", "\"n_layer\"", "\"data\"", "\"train\": {", "\"optimizer\"", "\"log\""}) {
    const std::size_t next = text.find(key, at);
    ASSERT_NE(next, std::string::npos) << key;
    at = next;
  }
  EXPECT_EQ(text.find("tokens\""), std::string::npos);
  EXPECT_EQ(text.find("warmup"), std::string::npos);
  EXPECT_NE(text.find("\"learning_rate\": 0.0006"), std::string::npos);
}

TEST(Compare, NamesFieldClassAndBothValues) {
  const RunConfig before = valid_config();
  RunConfig after = before;
  after.model.n_layer = 13;
  after.batch.micro_batch = 8;
  after.train.steps = 0;
  after.train.tokens = 7;
  after.log.every = 10;
  const auto differences = compare(before, after);
  ASSERT_EQ(differences.size(), 5u);
  EXPECT_EQ(differences[0].path, "model.n_layer");
  EXPECT_EQ(differences[0].resume, ResumeClass::must_match);
  EXPECT_EQ(differences[0].before, "12");
  EXPECT_EQ(differences[0].after, "13");
  EXPECT_EQ(differences[1].path, "batch.micro_batch");
  EXPECT_EQ(differences[1].resume, ResumeClass::topology);
  EXPECT_EQ(differences[2].path, "train.steps");
  EXPECT_EQ(differences[2].resume, ResumeClass::trajectory);
  EXPECT_EQ(differences[2].after, "not given");
  EXPECT_EQ(differences[3].before, "not given");
  EXPECT_EQ(differences[4].path, "log.every");
  EXPECT_EQ(differences[4].resume, ResumeClass::free);
}

TEST(Compare, ClassesFollowWhatAFieldDoesToTheWeights) {
  for (const Field& field : config_fields()) {
    if (field.section() == "model") {
      EXPECT_EQ(field.resume, ResumeClass::must_match) << field.path;
    }
    if (field.path == "train.recompute") {  // the same sums, like another micro-batch
      EXPECT_EQ(field.resume, ResumeClass::topology) << field.path;
    } else if (field.section() == "optimizer" || field.section() == "schedule" || field.section() == "train") {
      EXPECT_EQ(field.resume, ResumeClass::trajectory) << field.path;
    }
    if (field.section() == "eval" || field.section() == "checkpoint" || field.section() == "log") {
      EXPECT_EQ(field.resume, ResumeClass::free) << field.path;
    }
  }
}

}  // namespace
}  // namespace temper
