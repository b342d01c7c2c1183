// Checkpoints: what goes in comes out, what was damaged is found, what is old goes, and nothing else is touched.
#include "train/checkpoint.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "io/file.h"
#include "tiny_run.h"

namespace temper {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

TrainerState tiny_state(std::int64_t step) {
  TrainerState state;
  state.step = step;
  state.next_window = 4 * step;
  state.log_bytes.metrics = 12345;
  state.train_seconds = 0.1;  // not a binary fraction: must come back bit for bit
  state.log_bytes.diagnostics = 77;
  state.earlier_updates = 5;
  state.noise = {4, {0.1, 0.2, 0.3, 0.7}};
  state.recent_losses = {{4.1, 1.0 / 3.0}, 2};
  state.incidents = 3;
  state.val_sample = {4096, "00112233445566778899aabbccddeeff"};
  state.first_val_loss = 5.5;
  state.best_val_loss = 1.0 / 3.0;
  state.config_json = config_to_json(tiny_config());
  state.data_fingerprint = "0123456789abcdef0123456789abcdef";
  state.tokenizer_hash = "fedcba9876543210fedcba9876543210";
  state.inputs = {{"train.init_from", "00ff00ff00ff00ff00ff00ff00ff00ff"}};
  return state;
}

void expect_equal(const StepRecord& a, const StepRecord& b) {
  EXPECT_EQ(a.step, b.step);
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.loss, b.loss);
  EXPECT_EQ(a.grad_norm, b.grad_norm);
  EXPECT_EQ(a.learning_rate, b.learning_rate);
  EXPECT_EQ(a.update, b.update);
  EXPECT_EQ(a.spike, b.spike);
}

void expect_equal(const TrainerState& a, const TrainerState& b) {
  EXPECT_EQ(a.step, b.step);
  EXPECT_EQ(a.next_window, b.next_window);
  EXPECT_EQ(a.log_bytes.metrics, b.log_bytes.metrics);
  EXPECT_EQ(a.log_bytes.diagnostics, b.log_bytes.diagnostics);
  EXPECT_EQ(a.earlier_updates, b.earlier_updates);
  EXPECT_EQ(a.noise.updates, b.noise.updates);
  EXPECT_EQ(a.noise.means, b.noise.means);
  EXPECT_EQ(a.recent_losses.losses, b.recent_losses.losses);
  EXPECT_EQ(a.recent_losses.spikes_in_row, b.recent_losses.spikes_in_row);
  EXPECT_EQ(a.incidents, b.incidents);
  EXPECT_EQ(a.train_seconds, b.train_seconds);
  EXPECT_EQ(a.val_sample, b.val_sample);
  EXPECT_EQ(a.first_val_loss, b.first_val_loss);
  EXPECT_EQ(a.best_val_loss, b.best_val_loss);
  EXPECT_EQ(a.last_val_loss, b.last_val_loss);
  ASSERT_EQ(a.pending.has_value(), b.pending.has_value());
  if (a.pending) expect_equal(*a.pending, *b.pending);
  EXPECT_EQ(Json::parse(a.config_json), Json::parse(b.config_json));
  EXPECT_EQ(a.data_fingerprint, b.data_fingerprint);
  EXPECT_EQ(a.tokenizer_hash, b.tokenizer_hash);
  EXPECT_EQ(a.inputs, b.inputs);
}

class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() : tiny(tiny_config(), 2), checkpoints(folder / "checkpoints", {}) {}

  fs::path save(std::int64_t step) { return save(checkpoints, step); }
  fs::path save(CheckpointFolder& to, std::int64_t step) {
    return to.save(tiny_state(step), {tiny.engine.weights, tiny.engine.optimizer, *tiny.ops, nullptr});
  }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const fs::path& path : checkpoints.list()) found.push_back(path.filename().string());
    return found;
  }
  /// All entries, not the checkpoints alone.
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder / "checkpoints"), fs::directory_iterator()));
  }

  TemporaryFolder folder;
  TinyEngine tiny;
  CheckpointFolder checkpoints;
};

void overwrite(const fs::path& path, const std::string& contents) { std::ofstream(path, std::ios::binary) << contents; }

/// Changes trainer.json and gives it the hash that belongs to it, as somebody could who wants it believed.
void forge(const fs::path& checkpoint, const std::function<void(Json&)>& change) {
  Json json = Json::parse(read_file(checkpoint / "trainer.json"));
  json.erase("hash");
  change(json);
  json["hash"] = hash_bytes(json.dump());
  overwrite(checkpoint / "trainer.json", json.dump(2));
}

TEST_F(CheckpointTest, WeightsStatesAndCountersComeBack) {
  const fs::path path = save(7);
  EXPECT_EQ(path, folder / "checkpoints" / "step-00000007");
  expect_equal(verify_checkpoint(path), tiny_state(7));

  RunConfig other = tiny_config();
  other.seed = 99;
  TinyEngine loaded(other, 1);
  ASSERT_NE(loaded.contents(), tiny.contents());
  load_checkpoint(path, loaded.engine.weights, loaded.engine.optimizer, *loaded.ops);
  EXPECT_EQ(loaded.contents(), tiny.contents());
}

TEST_F(CheckpointTest, InterruptedEvaluationComesBack) {
  TrainerState state = tiny_state(9);
  state.first_val_loss.reset();
  state.last_val_loss = 0.7;
  state.pending = StepRecord{9, 288, 4.75, 0.1, 3e-4, {{"step_row_angle", 0.1}}};
  state.pending->spike = 6.5;
  auto& optimizer = tiny.engine.optimizer;
  expect_equal(verify_checkpoint(checkpoints.save(state, {tiny.engine.weights, optimizer, *tiny.ops, nullptr})), state);

  state.pending = StepRecord{0, 0, std::nullopt, std::nullopt, 0.0, {}};  // of the untrained model
  expect_equal(verify_checkpoint(checkpoints.save(state, {tiny.engine.weights, optimizer, *tiny.ops, nullptr})), state);
}

TEST_F(CheckpointTest, TokenizerTravelsAlong) {
  const Tokenizer tokenizer = Tokenizer::train("the cat sat on the mat, the cat sat", tiny_vocab, {});
  const fs::path path = checkpoints.save(tiny_state(1), {tiny.engine.weights, tiny.engine.optimizer, *tiny.ops, &tokenizer});
  EXPECT_EQ(Tokenizer::load(path).hash(), tokenizer.hash());
  verify_checkpoint(path);
  overwrite(path / "tokenizer.json", "{}");
  expect_error(ExitCode::checkpoint, {path.string(), "tokenizer.json", "hash"}, [&] { verify_checkpoint(path); });
}

TEST_F(CheckpointTest, RanksThatWriteNothingAskForTheSameInTheSameOrder) {
  const auto asked_for = [&](bool writes) {
    std::vector<std::string> asked;
    CheckpointFolder(folder / "checkpoints", {}, writes)
        .save(tiny_state(1),
              {tiny.engine.weights, tiny.engine.optimizer, *tiny.ops, nullptr, [&](const Optimizer::StateBuffer& buffer) {
                 asked.push_back(buffer.name);
                 return own_state(buffer);
               }});
    return asked;
  };
  const std::vector<std::string> of_others = asked_for(false);
  EXPECT_EQ(entries(), 0u);
  EXPECT_EQ(of_others, (std::vector<std::string>{"exp_avg", "exp_avg_sq"}));
  EXPECT_EQ(of_others, asked_for(true));
}

TEST_F(CheckpointTest, KeepsTheNewest) {
  for (const std::int64_t step : {1, 2, 5, 10}) save(step);
  EXPECT_EQ(names(), (std::vector<std::string>{"step-00000005", "step-00000010"}));
  EXPECT_EQ(entries(), 2u) << "nothing half-removed stays";

  CheckpointFolder one(folder / "checkpoints", {.keep = 1});
  save(one, 11);
  EXPECT_EQ(names(), std::vector<std::string>{"step-00000011"});
}

// Whatever is saved when: what is kept for good stays, beside the newest of the others.
TEST_F(CheckpointTest, WhatIsKeptForGoodDoesNotCount) {
  std::uint32_t state = 5;
  const auto draw = [&](std::uint32_t below) { return (state = state * 1664525u + 1013904223u) / 65536u % below; };
  for (const std::int64_t keep_every : {0, 3, 4}) {
    fs::remove_all(folder / "checkpoints");
    std::vector<std::int64_t> for_good, others;
    for (std::int64_t step = draw(3); step < 24; step += 1 + draw(3)) {
      const std::int64_t keep = 1 + draw(3);  // as a run that is resumed may say otherwise
      CheckpointFolder kept(folder / "checkpoints", {.keep = keep, .keep_every = keep_every});
      save(kept, step);
      (keep_every > 0 && step % keep_every == 0 ? for_good : others).push_back(step);
      if (static_cast<std::int64_t>(others.size()) > keep) others.erase(others.begin(), others.end() - keep);
      std::vector<std::int64_t> expected = for_good, found;
      expected.insert(expected.end(), others.begin(), others.end());
      std::sort(expected.begin(), expected.end());
      for (const fs::path& path : kept.list()) found.push_back(verify_checkpoint(path).step);
      EXPECT_EQ(found, expected) << "keep " << keep << ", keep_every " << keep_every << ", after step " << step;
      EXPECT_EQ(entries(), expected.size());
    }
  }
}

TEST_F(CheckpointTest, ACopyIsOfItsMoment) {
  RunConfig config = tiny_config();
  config.eval.weight_average = 0.5;
  TinyEngine run(config, 2);
  run.engine.average->take();
  const SavedParts parts{.weights = run.engine.weights,
                         .optimizer = run.engine.optimizer,
                         .ops = *run.ops,
                         .tokenizer = nullptr,
                         .average = &*run.engine.average};
  const fs::path at_once = CheckpointFolder(folder / "at-once", {}).save(tiny_state(2), parts);
  CheckpointCopy copy;
  copy.values = std::make_unique<float[]>(checkpoint_bytes(parts.weights, parts.optimizer, true).copy / sizeof(float));
  checkpoints.copy(tiny_state(2), parts, copy);
  // All of it changes before it is written.
  for (const TensorView& values : {run.engine.weights.master(), run.engine.optimizer.state_buffers()[0].values,
                                   run.engine.optimizer.state_buffers()[1].values})
    run.ops->zero(values.data, values.bytes());
  run.engine.average->follow(3);
  const fs::path later = checkpoints.write(copy, parts);
  for (const fs::directory_entry& entry : fs::directory_iterator(at_once))
    EXPECT_EQ(read_file(later / entry.path().filename()), read_file(entry.path())) << entry.path();
  EXPECT_EQ(std::distance(fs::directory_iterator(later), {}), std::distance(fs::directory_iterator(at_once), {}));
}

TEST_F(CheckpointTest, WhatWasRenamedIsPassedOver) {
  save(1);
  save(2);
  fs::copy(folder / "checkpoints" / "step-00000001", folder / "checkpoints" / "step-00000099", fs::copy_options::recursive);
  expect_error(ExitCode::checkpoint, {"step-00000099", "holds step 1", "step-00000001"},
               [&] { verify_checkpoint(folder / "checkpoints" / "step-00000099"); });
  EXPECT_EQ(checkpoints.newest_good()->filename(), "step-00000002");
  fs::rename(folder / "checkpoints" / "step-00000099", folder / "best");  // a name that says nothing of the step
  EXPECT_EQ(verify_checkpoint(folder / "best").step, 1);
}

TEST_F(CheckpointTest, NumbersThatNoRunComesToAreRefused) {
  const fs::path path = save(3);
  const std::pair<const char*, Json> forged[] = {{"step", -1},
                                                 {"next_window", -1},
                                                 {"next_window", INT64_MAX},
                                                 {"earlier_updates", -5},
                                                 {"earlier_updates", std::int64_t{1} << 62},
                                                 {"incidents", -1},
                                                 {"incidents", INT64_MAX},
                                                 {"val_tokens", -1},
                                                 {"train_seconds", -0.5},
                                                 {"train_seconds", 1e300}};
  for (const auto& [key, value] : forged) {
    const Json before = Json::parse(read_file(path / "trainer.json"));
    forge(path, [&](Json& json) { json[key] = value; });
    expect_error(ExitCode::checkpoint, {path.string(), key, "allowed are 0 to"}, [&] { verify_checkpoint(path); });
    overwrite(path / "trainer.json", before.dump(2));
  }
  expect_equal(verify_checkpoint(path), tiny_state(3));
}

TEST_F(CheckpointTest, NothingThatIsNotFiniteIsSaved) {
  const fs::path good = save(1);
  const Optimizer::StateBuffer& buffer = tiny.engine.optimizer.state_buffers().back();
  const std::string last = tiny.engine.optimizer.states().back().name;
  const auto place_of_last = static_cast<std::size_t>(tiny.engine.optimizer.states().back().offset);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    for (const auto& [tensor, place] :
         {std::pair{std::string("transformer.wte.weight"), tiny.engine.weights.master().as<float>() + 5},
          std::pair{last, buffer.values.as<float>() + place_of_last + 1}}) {
      float before = 0.0f;
      tiny.ops->copy_to_host(&before, place, sizeof(float));
      tiny.ops->copy_to_device(place, &bad, sizeof(float));
      expect_error(ExitCode::numeric, {"of " + tensor + " is", "Earlier checkpoints are intact"}, [&] { save(2); });
      tiny.ops->copy_to_device(place, &before, sizeof(float));
      EXPECT_EQ(entries(), 1u);
    }
  }
  verify_checkpoint(good);
  save(2);
}

TEST_F(CheckpointTest, OlderOnesKnowNoLosses) {
  const fs::path path = save(6);
  forge(path, [](Json& json) {
    json.erase("recent_losses");
    json.erase("incidents");
  });
  const TrainerState state = verify_checkpoint(path);
  EXPECT_TRUE(state.recent_losses.losses.empty());
  EXPECT_EQ(state.incidents, 0);
}

TEST_F(CheckpointTest, OrderIsThatOfTheSteps) {
  save(99'999'999);
  save(100'000'000);
  EXPECT_EQ(names(), (std::vector<std::string>{"step-99999999", "step-100000000"}));
  EXPECT_EQ(checkpoints.newest_good()->filename(), "step-100000000");
}

TEST_F(CheckpointTest, OnlyItsOwnNamesAreCheckpoints) {
  save(3);
  const fs::path root = folder / "checkpoints";
  const std::vector<std::string> foreign = {"step-12", "step-0000001x", "step-00000012.bak", "xstep-00000012", "Step-00000012",
                                            "best",    ".trash-mine",   "mine.tmp",          "step--0000012",  "step-"};
  for (const std::string& name : foreign) fs::create_directories(root / name);
  fs::create_directories(root / "step-00000010.tmp");
  fs::create_directories(root / ".trash-step-00000001");
  overwrite(root / "step-00000099", "a file, not a folder");
  EXPECT_EQ(names(), std::vector<std::string>{"step-00000003"});

  save(4);
  save(5);
  EXPECT_EQ(names(), (std::vector<std::string>{"step-00000004", "step-00000005"}));
  for (const std::string& name : foreign) EXPECT_TRUE(fs::exists(root / name)) << name;
  EXPECT_TRUE(fs::exists(root / "step-00000099"));
  EXPECT_FALSE(fs::exists(root / "step-00000010.tmp")) << "what a killed save left must not fill the disk";
  EXPECT_FALSE(fs::exists(root / ".trash-step-00000001"));
}

TEST_F(CheckpointTest, SavingAStepAgainReplacesIt) {
  const fs::path path = save(4);
  const auto before = tiny.contents();
  TinyEngine other(tiny_config(), 3);
  checkpoints.save(tiny_state(4), {other.engine.weights, other.engine.optimizer, *other.ops, nullptr});
  EXPECT_EQ(entries(), 1u);
  verify_checkpoint(path);
  load_checkpoint(path, tiny.engine.weights, tiny.engine.optimizer, *tiny.ops);
  EXPECT_EQ(tiny.contents(), other.contents());
  EXPECT_NE(tiny.contents(), before);
}

TEST_F(CheckpointTest, DamageToAnyFileIsFound) {
  const fs::path path = save(6);
  std::size_t files = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
    ++files;
    const fs::path file = entry.path();
    const std::string name = file.filename().string();
    const std::string good = read_file(file);
    const auto expect_found = [&](const char* how) {
      SCOPED_TRACE(name + " " + how);
      expect_error(ExitCode::checkpoint, {path.string(), name}, [&] { verify_checkpoint(path); });
      overwrite(file, good);
      verify_checkpoint(path);
    };
    for (const std::size_t at : {std::size_t{0}, good.size() / 2, good.size() - 2}) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ 1);
      overwrite(file, bad);
      expect_found("flipped");
    }
    overwrite(file, good.substr(0, good.size() / 2));
    expect_found("cut");
    overwrite(file, "");
    expect_found("emptied");
    fs::remove(file);
    expect_found("removed");
    if (name == "trainer.json") continue;
    overwrite(file, good + " ");
    expect_found("lengthened");
  }
  EXPECT_EQ(files, 5u);  // config, generation_config, model, optimizer, trainer
}

// A flip of white space changes nothing; any other must be noticed or, at the least, change nothing either.
TEST_F(CheckpointTest, NoFlippedBitOfTheStateGoesUnnoticed) {
  const fs::path path = save(6);
  const fs::path file = path / "trainer.json";
  const std::string good = read_file(file);
  const TrainerState state = verify_checkpoint(path);
  std::size_t found = 0;
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (1 << (at % 8)));
    overwrite(file, bad);
    try {
      expect_equal(verify_checkpoint(path), state);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::checkpoint);
      ++found;
    }
  }
  EXPECT_GT(found, good.size() / 2);
}

TEST_F(CheckpointTest, AlteredStateIsFound) {
  const fs::path path = save(6);
  const Json good = Json::parse(read_file(path / "trainer.json"));
  const auto expect_altered = [&](const char* key, const Json& value) {
    Json json = good;
    json[key] = value;
    overwrite(path / "trainer.json", json.dump(2));
    expect_error(ExitCode::checkpoint, {path.string(), "trainer.json", "altered"}, [&] { verify_checkpoint(path); });
  };
  expect_altered("one_more_key", 1);
  expect_altered("step", 7);
  expect_altered("files", Json::object());
  expect_altered("hash", std::string(32, '0'));
  overwrite(path / "trainer.json", good.dump());  // the same in another layout is the same
  expect_equal(verify_checkpoint(path), tiny_state(6));
}

TEST_F(CheckpointTest, AForgedStateIsRefused) {
  const fs::path path = save(6);
  const std::string good = read_file(path / "trainer.json");
  const auto expect_refused = [&](const std::vector<std::string>& says, const std::function<void(Json&)>& change) {
    forge(path, change);
    expect_error(ExitCode::checkpoint, says, [&] { verify_checkpoint(path); });
    overwrite(path / "trainer.json", good);
  };
  for (const char* name : {"config.json", "model.safetensors", "optimizer.safetensors"})
    expect_refused({"no hash of", name}, [&](Json& json) { json["files"].erase(name); });
  expect_refused({"../x", "no file of its own"}, [](Json& json) { json["files"]["../x"] = std::string(32, '0'); });
  expect_refused({"damaged"}, [](Json& json) { json["step"] = "six"; });
  expect_refused({"no hash of config.json"}, [](Json& json) { json["files"] = 3; });
  expect_refused({"damaged"}, [](Json& json) { json.erase("data_fingerprint"); });
  expect_refused({"format_version", "5"}, [](Json& json) { json["format_version"] = 5; });
  overwrite(path / "trainer.json", "[]");
  expect_error(ExitCode::checkpoint, {"damaged"}, [&] { verify_checkpoint(path); });
}

TEST_F(CheckpointTest, ADamagedNewestFallsBackToTheOneBefore) {
  EXPECT_FALSE(checkpoints.newest_good().has_value());
  save(1);
  const fs::path newest = save(2);
  EXPECT_EQ(checkpoints.newest_good()->filename(), "step-00000002");
  fs::remove(newest / "optimizer.safetensors");
  testing::internal::CaptureStderr();
  EXPECT_EQ(checkpoints.newest_good()->filename(), "step-00000001");
  const std::string warning = testing::internal::GetCapturedStderr();
  EXPECT_NE(warning.find("step-00000002"), std::string::npos) << warning;
  EXPECT_NE(warning.find("optimizer.safetensors is missing"), std::string::npos) << warning;

  overwrite(folder / "checkpoints" / "step-00000001" / "config.json", "{}");
  expect_error(ExitCode::checkpoint, {"none of the 2 checkpoints is intact"}, [&] { checkpoints.newest_good(); });
}

// A run that fell back saves steps below the damaged one: they must not be removed in its favour.
TEST_F(CheckpointTest, ADamagedLaterCheckpointDoesNotPushOutANewOne) {
  CheckpointFolder one(folder / "checkpoints", {.keep = 1});
  overwrite(save(one, 20) / "model.safetensors", "damaged");
  const fs::path saved = save(one, 12);
  EXPECT_TRUE(fs::exists(saved));
  testing::internal::CaptureStderr();
  EXPECT_EQ(one.newest_good(), saved);
  testing::internal::GetCapturedStderr();
  EXPECT_EQ(save(one, 20), folder / "checkpoints" / "step-00000020");
  EXPECT_EQ(names(), std::vector<std::string>{"step-00000020"});
  verify_checkpoint(folder / "checkpoints" / "step-00000020");
}

TEST_F(CheckpointTest, AnotherModelsCheckpointIsRefused) {
  const fs::path path = save(1);
  RunConfig wider = tiny_config();
  wider.model.n_embd = 32;
  TinyEngine other(wider);
  expect_error(ExitCode::checkpoint, {path.string()},
               [&] { load_checkpoint(path, other.engine.weights, other.engine.optimizer, *other.ops); });
  RunConfig turned = tiny_config();
  turned.optimizer.norm_control = NormControlChoice::rotational;
  TinyEngine another(turned);
  expect_error(ExitCode::checkpoint, {path.string(), "tensors", "norm_control", "train.init_from"},
               [&] { load_checkpoint(path, another.engine.weights, another.engine.optimizer, *another.ops); });
}

TEST(Checkpoint, AFolderWithoutAStateIsNone) {
  const TemporaryFolder folder;
  expect_error(ExitCode::checkpoint, {"no trainer.json"}, [&] { verify_checkpoint(folder.path()); });
}

}  // namespace
}  // namespace temper
