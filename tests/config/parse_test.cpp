#include "config/parse.h"

#include <sys/stat.h>

#include "config_files.h"

namespace temper {
namespace {

using Parse = ConfigFiles;
using Extends = ConfigFiles;
using Overrides = ConfigFiles;
using Suggestions = ConfigFiles;

TEST_F(Parse, ReadsAFileWithCommentsAndASchema) {
  const RunConfig config = load(R"(,
    // a comment with "quotes" and { braces
    "$schema": "schema.json",
    "seed": 18446744073709551615,
    "device": "cpu", /* another */
    "optimizer": {"learning_rate": 1e-3, "decay": "none"},
    "model": {"bias": false}
  )");
  EXPECT_EQ(config.data.train, std::vector<std::string>{"a.bin"});
  EXPECT_EQ(config.train.steps, 1000);
  EXPECT_EQ(config.seed, UINT64_MAX);
  EXPECT_EQ(config.device, DeviceChoice::cpu);
  EXPECT_EQ(config.optimizer.learning_rate, 1e-3);
  EXPECT_EQ(config.optimizer.decay, DecayMode::none);
  EXPECT_FALSE(config.model.bias);
  EXPECT_EQ(config.model.n_layer, 12);  // not in the file: the default
}

TEST_F(Parse, IntegersAsIntegralNumbers) {
  EXPECT_EQ(load(", \"batch\": {\"tokens_per_step\": 1.048576e6}").batch.tokens_per_step, 1048576);
}

TEST_F(Parse, TextThatIsNotJsonIsRefusedWithItsPosition) {
  const auto error = [&](const std::string& text) {
    const auto path = write("bad.json", text);
    return usage_error([&] { load_config(path); });
  };
  expect_parts(error("{\n  \"seed\" 3\n}"), {"bad.json:2:10: ", "not valid JSON"});
  expect_parts(error("{\n  \"seed\": 3,\n}"), {"bad.json:3:1: ", "remove the comma"});
  expect_parts(error("{\"optimizer\": {\"eps\": NaN}}"), {"bad.json:1:23: "});
  expect_parts(error("{\"optimizer\": {\"eps\": Infinity}}"), {"bad.json:1:23: "});
  expect_parts(error("{\"optimizer\": {\"eps\": 1e999}}"), {"bad.json:1:", "1e999"});
  expect_parts(error("{\"seed\": 3} {}"), {"bad.json:1:13: "});
  expect_parts(error(""), {"bad.json:1:1: "});
  expect_parts(error("[1]"), {"bad.json:1:1: ", "expected an object"});
  expect_parts(error("3"), {"expected an object"});
  expect_parts(error("{\"data\": {\"train\": [[\"a\"]]}}"), {"a list in a list"});
  expect_parts(error("{\"data\": {\"train\": [{\"a\": 1}]}}"), {"an object in a list"});
  expect_parts(error("{\"name\": \"\xff\"}"), {"bad.json:1:"});
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "{\"a\":";
  expect_parts(error(deep), {"nested deeper than 8"});
}

TEST_F(Parse, KeysGivenTwiceAreRefusedWithBothPositions) {
  const std::string message = usage_error([&] { load(",\n\"seed\": 1,\n  \"s\\u0065ed\": 2"); });
  expect_parts(message, {"run.json:3:3: ", "\"seed\"", "run.json:2:1"});
}

TEST_F(Parse, PositionsHoldForKeysWithQuotesInThem) {
  expect_parts(usage_error([&] { load(",\n   \"se\\\"ed\\\\\": 1"); }), {"run.json:2:4: unknown key \"se\\\"ed\\\\\""});
}

TEST_F(Parse, DottedKeysInAFileAreRefused) {
  expect_parts(usage_error([&] { load(",\n\"optimizer.eps\": 1e-8"); }), {"run.json:2:1: ", "\"optimizer.eps\"", "object"});
}

TEST_F(Parse, WrongTypesAndRangesNameFilePositionValueAndWhatIsAllowed) {
  const auto error = [&](const std::string& more) { return usage_error([&] { load(more); }); };
  expect_parts(error(",\n \"optimizer\": {\n    \"learning_rate\": -3}"),
               {"run.json:3:5: ", "optimizer.learning_rate is -3", "above 0"});
  expect_parts(error(",\n\"seed\": \"x\""), {"run.json:2:1: ", "seed is \"x\"", "an integer from 0"});
  expect_parts(error(", \"model\": {\"n_layer\": 2.5}"), {"model.n_layer is 2.5", "integer"});
  expect_parts(error(", \"model\": {\"bias\": 1}"), {"model.bias is 1", "true or false"});
  expect_parts(error(", \"model\": 3"), {"model is 3", "n_layer, n_head"});
  expect_parts(error(", \"model\": [3]"), {"model is [3]"});
  expect_parts(error(", \"seed\": {\"a\": 1}"), {"seed is an object"});
  expect_parts(error(", \"precision\": \"fp16\""), {"precision is \"fp16\"", "\"bf16\""});
  expect_parts(error(", \"name\": \"../x\""), {"name is \"../x\"", "letters"});
  expect_parts(error(", \"eval\": {\"hellaswag\": \"a\\u0000b\"}"), {"eval.hellaswag", "control characters"});
  EXPECT_EQ(error(", \"seed\": {\"a\": 1}").find("seed.a"), std::string::npos);  // one cause, one line
}

TEST_F(Parse, NullTakesBackWhatAnotherLayerGave) {
  const RunConfig config = load(",\n\"optimizer\": {\"beta1\": 0.8, \"eps\": 1e-6}, \"schedule\": {\"warmup_steps\": 3}",
                                {"optimizer.beta1=null", "optimizer.eps=null", "schedule.warmup_fraction=null",
                                 "optimizer.decay_timescale=2 steps", "optimizer.decay_timescale=null", "schedule.name=null"});
  EXPECT_EQ(config.optimizer.decay_timescale, std::nullopt);  // text, too
  EXPECT_EQ(config.optimizer.beta1, 0.9);
  EXPECT_EQ(config.optimizer.eps, OptimizerConfig{}.eps);
  EXPECT_EQ(config.schedule.warmup_steps, 3);  // null gives nothing that would exclude it
  expect_parts(usage_error([&] { load(", \"optimizer\": null"); }), {"optimizer is null"});
}

TEST_F(Parse, EveryProblemOfAFileIsTold) {
  const std::string message = usage_error(
      [&] { load(",\n\"seed\": -1,\n\"modle\": {\"n_layer\": 2},\n\"optimizer\": {\"lr\": 1,\n\"eps\": 0}", {"log.every=0"}); });
  expect_parts(message, {"5 problems", "run.json:2:1: seed is -1", "run.json:3:1: unknown section \"modle\"",
                         "did you mean \"model\"?", "run.json:4:15: unknown key \"optimizer.lr\"",
                         "run.json:5:1: optimizer.eps is 0", "override log.every=0: log.every is 0"});
}

TEST_F(Parse, FilesThatCannotBeReadAreNamed) {
  expect_parts(usage_error([&] { load_config(folder_ / "absent.json"); }), {"absent.json does not exist"});
  expect_parts(usage_error([&] { load_config(folder_); }), {"is a folder"});
  expect_parts(usage_error([&] { load_config(write("large.json", std::string(2 << 20, ' '))); }), {"large.json", "2097152 bytes"});
}

TEST_F(Parse, ResolvedTextExtendsNothing) {
  expect_parts(usage_error([] { config_from_json("{\"extends\": \"a.json\"}", "run/config.json"); }),
               {"run/config.json:1:2: extends"});
}

TEST_F(Extends, LaterLayersReplaceSingleKeysAndWholeLists) {
  write("base.json", R"({"seed": 1, "data": {"train": ["a.bin", "b.bin"], "val": "v.bin"}, "model": {"n_layer": 2, "n_head": 4},
                         "train": {"steps": 5}})");
  write("more.json", R"({"seed": 2, "optimizer": {"eps": 1e-6}})");
  const RunConfig config = load_config(
      write("run.json", R"({"model": {"n_layer": 3}, "data": {"train": ["c.bin"]}, "extends": ["base.json", "more.json"]})"));
  EXPECT_EQ(config.model.n_layer, 3);  // the file's own, wherever "extends" stands in it
  EXPECT_EQ(config.model.n_head, 4);
  EXPECT_EQ(config.data.train, std::vector<std::string>{"c.bin"});
  EXPECT_EQ(config.data.val, std::vector<std::string>{"v.bin"});
  EXPECT_EQ(config.seed, 2u);  // the later of the two bases
  EXPECT_EQ(config.optimizer.eps, 1e-6);
}

TEST_F(Extends, PathsAreRelativeToTheFileThatNamesThem) {
  write("bases/inner/root.json", R"({"data": {"train": "a.bin"}, "train": {"steps": 7}})");
  write("bases/middle.json", R"({"extends": "inner/root.json"})");
  const RunConfig config = load_config(write("runs/run.json", R"({"extends": "../bases/middle.json"})"));
  EXPECT_EQ(config.train.steps, 7);
  EXPECT_EQ(config.data.train, std::vector<std::string>{"a.bin"});  // data stays as written
}

TEST_F(Extends, TheSameBaseTwiceIsNoCycle) {
  write("root.json", R"({"data": {"train": "a.bin"}, "train": {"steps": 7}})");
  write("left.json", R"({"extends": "root.json", "seed": 3})");
  write("right.json", R"({"extends": "root.json"})");
  EXPECT_EQ(load_config(write("run.json", R"({"extends": ["left.json", "right.json"]})")).seed, 3u);
}

TEST_F(Extends, CyclesAndAbsentBasesAreRefusedWithThePlace) {
  write("a.json", "{\n  \"extends\": \"b.json\"}");
  write("b.json", "{\n\n \"extends\": \"a.json\"}");
  expect_parts(usage_error([&] { load_config(folder_ / "a.json"); }), {"b.json:3:2: ", "a.json extends itself"});
  write("self.json", "{\"extends\": \"./self.json\"}");
  expect_parts(usage_error([&] { load_config(folder_ / "self.json"); }), {"extends itself"});
  write("lost.json", "{\"extends\": \"nowhere.json\"}");
  expect_parts(usage_error([&] { load_config(folder_ / "lost.json"); }),
               {"lost.json:1:2: extends: ", "nowhere.json does not exist"});
  write("wrong.json", "{\"extends\": 3}");
  expect_parts(usage_error([&] { load_config(folder_ / "wrong.json"); }), {"extends is 3"});
}

// Two files that each extend the same two, again and again, would be 2^30 of them.
TEST_F(Extends, AsManyFilesAsAPersonWrites) {
  write("0.json", R"({"data": {"train": "a.bin"}, "train": {"steps": 7}})");
  for (int i = 1; i <= 64; ++i) write(std::to_string(i) + ".json", "{\"extends\": \"" + std::to_string(i - 1) + ".json\"}");
  EXPECT_EQ(load_config(folder_ / "63.json").train.steps, 7);
  expect_parts(usage_error([&] { load_config(folder_ / "64.json"); }), {"1.json:1:2: extends: ", "at most 64 files"});
  for (int i = 1; i <= 30; ++i) {
    const std::string below = "\"" + std::to_string(i - 1) + ".json\"";
    write(std::to_string(i) + ".json", "{\"extends\": [" + below + ", " + below + "]}");
  }
  expect_parts(usage_error([&] { load_config(folder_ / "30.json"); }), {"at most 64 files, each counted as often"});
}

TEST_F(Extends, PipesAndDevicesAreNoConfigurations) {
  ASSERT_EQ(::mkfifo((folder_ / "pipe.json").c_str(), 0600), 0);
  expect_parts(usage_error([&] { load_config(folder_ / "pipe.json"); }), {"pipe.json is a pipe; a regular file"});
  expect_parts(usage_error([&] { load_config(write("a.json", R"({"extends": "pipe.json"})")); }),
               {"a.json:1:2: extends: ", "pipe.json is a pipe"});
  expect_parts(usage_error([&] { load_config(write("a.json", R"({"extends": "/dev/zero"})")); }), {"/dev/zero is a device"});
  std::filesystem::resize_file(write("large.json", "{}"), std::uintmax_t{3} << 40);
  expect_parts(usage_error([&] { load_config(folder_ / "large.json"); }),
               {"large.json has 3298534883328 bytes", "at most 1048576"});
}

// A rate is right for one optimizer; a later layer that names another gets it all the same, and says so.
TEST_F(Extends, ARateThatWasGivenForAnotherOptimizerIsTold) {
  const auto notes_of = [&](const std::string& text, const std::vector<std::string>& overrides) {
    std::vector<std::string> notes;
    load_config(write("run.json", text), overrides, &notes);
    return notes;
  };
  const std::string given =
      R"({"data": {"train": "a.bin"}, "train": {"steps": 7}, "optimizer": {"learning_rate": 3e-3, "weight_decay": 0.2}})";
  EXPECT_EQ(notes_of(given, {}), std::vector<std::string>());
  EXPECT_EQ(notes_of(given, {"optimizer.name=adamw"}), std::vector<std::string>());
  const std::vector<std::string> both = notes_of(given, {"optimizer.name=lion"});
  ASSERT_EQ(both.size(), 2u);
  expect_parts(both[0], {"optimizer.learning_rate 0.003 was given for adamw", "optimizer.name is lion", "own default is 0.0001"});
  expect_parts(both[1], {"optimizer.weight_decay 0.2 was given for adamw", "own default is 0.6"});
  const std::vector<std::string> one = notes_of(given, {"optimizer.name=lion", "optimizer.learning_rate=1e-3"});
  ASSERT_EQ(one.size(), 1u);
  expect_parts(one[0], {"optimizer.weight_decay"});
  EXPECT_EQ(notes_of(given, {"optimizer.name=lion", "optimizer.learning_rate=null", "optimizer.weight_decay=null"}),
            std::vector<std::string>());
  expect_parts(notes_of(given, {"optimizer.name=sgd"}).at(0), {"no default of its own"});
  write("base.json", given);  // across files as across the command line
  EXPECT_EQ(notes_of(R"({"extends": "base.json", "optimizer": {"name": "lionar"}})", {}).size(), 2u);
  EXPECT_EQ(notes_of(R"({"extends": "base.json", "optimizer": {"name": "adamh", "decay": "none"}})", {}).size(),
            1u);  // no decay, no strength
}

TEST_F(Extends, AProblemInABaseNamesTheBase) {
  write("base.json", "{\n\"seed\": -1}");
  expect_parts(usage_error([&] { load_config(write("run.json", R"({"extends": "base.json"})")); }), {"base.json:2:1: seed is -1"});
}

TEST_F(Extends, ALayerThatSetsOneOfTwoAlternativesTakesBackTheOther) {
  write("base.json", R"({"data": {"train": "a.bin"}, "train": {"steps": 7}, "schedule": {"warmup_steps": 3}})");
  const auto run = write("run.json", R"({"extends": "base.json", "train": {"tokens": 5e8}})");
  const RunConfig config = load_config(run, {"schedule.warmup_fraction=0.5"});
  EXPECT_EQ(config.train.steps, std::nullopt);
  EXPECT_EQ(config.train.tokens, 500'000'000);
  EXPECT_EQ(config.schedule.warmup_steps, std::nullopt);
  EXPECT_EQ(config.schedule.warmup_fraction, 0.5);
  expect_parts(usage_error([&] {
                 load_config(run, {"train.steps=3", "train.tokens=4"});
               }),
               {"override train.tokens=4: train.tokens and train.steps", "only one"});
}

TEST_F(Extends, OfThreeThatExcludeOneAnotherTheLatestLayerWins) {
  write("base.json", R"({"data": {"train": "a.bin"}, "train": {"steps": 7, "init_from": "m"}, "schedule": {"warmup_steps": 3}})");
  const auto run = write("run.json", R"({"extends": "base.json", "schedule": {"warmup_fraction": 0.5}})");
  const RunConfig config = load_config(run, {"schedule.warmup_tokens=1e6", "train.branch_from=c"});
  EXPECT_EQ(config.schedule.warmup_steps, std::nullopt);
  EXPECT_EQ(config.schedule.warmup_fraction, std::nullopt);
  EXPECT_EQ(config.schedule.warmup_tokens, 1'000'000);
  EXPECT_EQ(config.train.init_from, std::nullopt);
  EXPECT_EQ(config.train.branch_from, "c");
  const std::string message = usage_error([&] {
    load_config(run, {"schedule.warmup_tokens=1", "schedule.warmup_steps=2", "train.branch_from=c", "train.init_from=d"});
  });
  expect_parts(message, {"2 problems", "override schedule.warmup_steps=2: schedule.warmup_steps and schedule.warmup_tokens exclude",
                         "override train.init_from=d: train.init_from and train.branch_from exclude", "only one"});
}

TEST_F(Overrides, ListsOfNumbersAndFactors) {
  const RunConfig config = load("", {"schedule.name=step", "schedule.milestones=[0.5, 0.75]", "optimizer.decay_factors=*.wte.*=0",
                                     "optimizer.rate_factors=[\"a=1\", \"b=2\"]", "optimizer.decay_on=matrices"});
  EXPECT_EQ(config.schedule.milestones, (std::vector<double>{0.5, 0.75}));
  EXPECT_EQ(config.optimizer.decay_factors, std::vector<std::string>{"*.wte.*=0"});
  EXPECT_EQ(config.optimizer.rate_factors, (std::vector<std::string>{"a=1", "b=2"}));
  EXPECT_EQ(config.optimizer.decay_on, std::vector<std::string>{"matrices"});
  EXPECT_EQ(load("", {"schedule.name=step", "schedule.milestones=0.5"}).schedule.milestones, std::vector<double>{0.5});
  const auto error = [&](const std::string& text) { return usage_error([&] { load("", {text}); }); };
  expect_parts(error("schedule.milestones=[0.5, 2]"), {"schedule.milestones is [0.5, 2]", "below 1"});
  expect_parts(error("optimizer.decay_factors=*.wte.*"), {"optimizer.decay_factors is \"*.wte.*\"", "GLOB=FACTOR"});
  expect_parts(error("optimizer.decay_on=weights"), {"optimizer.decay_on is \"weights\"", "\"layernorms\""});
}

TEST_F(Overrides, ValuesAreJsonOrBareText) {
  const RunConfig config = load(
      "", {"optimizer.learning_rate=3e-4", "device=cpu", "precision=\"bf16\"", "model.bias=false", "seed=7", "name=true",
           "data.val=x*.bin", "data.train=[\"p.bin\", \"q.bin\"]", "data.tokenizer=", "eval.hellaswag=a=b.bin", "train.steps=1e4"});
  EXPECT_EQ(config.optimizer.learning_rate, 3e-4);
  EXPECT_EQ(config.device, DeviceChoice::cpu);
  EXPECT_EQ(config.precision, Precision::bf16);
  EXPECT_FALSE(config.model.bias);
  EXPECT_EQ(config.seed, 7u);
  EXPECT_EQ(config.name, "true");
  EXPECT_EQ(config.data.val, std::vector<std::string>{"x*.bin"});
  EXPECT_EQ(config.data.train, (std::vector<std::string>{"p.bin", "q.bin"}));
  EXPECT_EQ(config.data.tokenizer, "");
  EXPECT_EQ(config.eval.hellaswag, "a=b.bin");
  EXPECT_EQ(config.train.steps, 10000);
}

TEST_F(Overrides, TheLastOneWins) { EXPECT_EQ(load("", {"seed=1", "seed=2"}).seed, 2u); }

TEST_F(Overrides, WrongOnesAreRefusedAsTheyWereGiven) {
  const auto error = [&](const std::string& text) { return usage_error([&] { load("", {text}); }); };
  expect_parts(error("seed"), {"override seed", "section.key=value"});
  expect_parts(error("=3"), {"override =3", "section.key=value"});
  expect_parts(error("optimizer.lr=3"), {"override optimizer.lr=3: ", "did you mean \"optimizer.learning_rate\"?"});
  expect_parts(error("model=3"), {"model is 3", "n_layer"});
  expect_parts(error("model.n_layer=two"), {"model.n_layer is \"two\"", "integer"});
  expect_parts(error("model.n_layer="), {"model.n_layer is \"\""});
  expect_parts(error("optimizer.eps=nan"), {"optimizer.eps is \"nan\""});
  expect_parts(error("seed=1, \"name\": \"x\""), {"seed is \"1, "});
  expect_parts(error("extends=a.json"), {"unknown key \"extends\""});
  expect_parts(error("name=\xff"), {"name is "});
  expect_parts(error("data.tokenizer=\xff"), {"data.tokenizer is "});
  expect_parts(error("data.train=[\"a\", 3]"), {"data.train is [\"a\", 3]"});
}

TEST_F(Suggestions, FindWhatWasMeant) {
  const auto meant = [&](const std::string& key, const std::string& path) {
    expect_parts(usage_error([&] { load("", {key + "=1"}); }), {"unknown key \"" + key + "\"; did you mean ", '"' + path + '"'});
  };
  meant("lr", "optimizer.learning_rate");
  meant("eval.batches", "eval.tokens");
  meant("train.lr", "optimizer.learning_rate");
  meant("weight_decay", "optimizer.weight_decay");
  meant("train.weight_decay", "optimizer.weight_decay");
  meant("optimizer.weight_deacy", "optimizer.weight_decay");
  meant("optimizer.weigth_decay", "optimizer.weight_decay");
  meant("optimiser.beta1", "optimizer.beta1");
  meant("model.n_layers", "model.n_layer");
  meant("model.n_heads", "model.n_head");
  meant("model.nembd", "model.n_embd");
  meant("block_size", "model.n_ctx");
  meant("train.max_steps", "train.steps");
  meant("train.step", "train.steps");
  meant("batch.batch_size", "batch.micro_batch");
  meant("schedule.warmup", "schedule.warmup_steps");
  meant("optimizer.betas", "optimizer.beta1");
  meant("optimizer.mu", "optimizer.momentum");
  meant("schedule.T_mult", "schedule.cycle_growth");
  meant("schedule.lr_decay_iters", "schedule.horizon_steps");
  meant("dtype", "precision");
  meant("sed", "seed");
  meant("checkpoint.keeep", "checkpoint.keep");
}

TEST_F(Suggestions, NothingNearListsTheKeys) {
  const std::string message = usage_error([&] { load("", {"optimizer.quux_frobnicate=1"}); });
  expect_parts(message, {"keys of optimizer: name, learning_rate, other_learning_rate, beta1"});
  EXPECT_EQ(message.find("did you mean"), std::string::npos) << message;
  expect_parts(usage_error([&] { load("", {"zzzzzzzzzzzz=1"}); }), {"known at the top level: name, seed", "checkpoint"});
  const std::string long_key = std::string(100000, 'x').append("=1");
  expect_parts(usage_error([&] { load("", {long_key}); }), {"known at the top level"});
}

}  // namespace
}  // namespace temper
