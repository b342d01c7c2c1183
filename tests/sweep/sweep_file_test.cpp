#include "sweep/sweep_file.h"

#include <sys/stat.h>

#include <functional>

#include "model/parameters.h"
#include "sweep_support.h"

namespace temper {
namespace {

constexpr const char* decay = R"("parameters": {"optimizer.weight_decay": {"values": [0, 0.1]}})";

TEST_F(SweepTest, ReadsWhatAFileSays) {
  const SweepFile sweep = load(R"("method": "halving", "count": 5, "seed": 3, // comments are allowed
    "parameters": {
      "optimizer.weight_decay": {"values": [0, 1e-1]},
      "optimizer.learning_rate": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2},
      "schedule.warmup_steps": {"min": 0, "max": 4},
      "model": {"values": [{"label": "small", "model.n_layer": 1}, {"label": "large", "model.n_layer": 2, "model.n_embd": 32}]}
    },
    "ties": {"optimizer.grad_clip": "optimizer.learning_rate * 100"},
    "where": ["optimizer.weight_decay < 1", "model.n_layer < 3"],
    "seeds": 3,
    "metric": {"name": "best_val_loss", "goal": "maximize"},
    "budget": {"trials": 100, "tokens": 5e7, "seconds": 60},
    "halving": {"eta": 2, "rungs": [0.25, 0.5, 1]},
    "resources": {"trials_at_once": 2, "threads_per_trial": 1, "gpus_per_trial": 0.5},
    "slurm": {"options": ["--partition=gpu", "--exclusive"], "queued_trials": 50, "poll_seconds": 0.5})");
  EXPECT_EQ(sweep.method, SweepMethod::halving);
  EXPECT_EQ(sweep.count, 5);
  EXPECT_EQ(sweep.seed, 3u);
  ASSERT_EQ(sweep.parameters.size(), 4u);
  EXPECT_EQ(sweep.parameters[0].choices[1].label, Value{0.1});
  EXPECT_EQ(sweep.parameters[1].distribution->shape, Distribution::Shape::log_uniform_values);
  EXPECT_EQ(sweep.parameters[2].distribution->shape, Distribution::Shape::int_uniform);
  EXPECT_EQ(sweep.parameters[3].choices[1].label, Value{std::string("large")});
  EXPECT_EQ(sweep.parameters[3].choices[1].settings[1].path, "model.n_embd");
  EXPECT_EQ(sweep.ties[0].key, "optimizer.grad_clip");
  EXPECT_EQ(sweep.where.size(), 2u);
  EXPECT_EQ(sweep.seeds, (std::vector<std::uint64_t>{7, 8, 9}));
  EXPECT_EQ(sweep.metric.name, "best_val_loss");
  EXPECT_TRUE(sweep.metric.maximize());
  EXPECT_EQ(sweep.budget.tokens, 50000000);
  EXPECT_EQ(sweep.halving.rungs, (std::vector<double>{0.25, 0.5, 1}));
  EXPECT_EQ(sweep.resources.gpus_per_trial, 0.5);
  EXPECT_EQ(sweep.slurm.options, (std::vector<std::string>{"--partition=gpu", "--exclusive"}));
  EXPECT_EQ(sweep.slurm.queued_trials, 50);
  EXPECT_EQ(sweep.slurm.poll_seconds, 0.5);
}

TEST_F(SweepTest, DefaultsAreAGridOverTheBasesSeedByValidationLoss) {
  const SweepFile sweep = load(decay);
  EXPECT_EQ(sweep.method, SweepMethod::grid);
  EXPECT_EQ(sweep.seeds, std::vector<std::uint64_t>{7});
  EXPECT_EQ(sweep.metric.name, "val_loss");
  EXPECT_FALSE(sweep.metric.maximize());
}

TEST_F(SweepTest, PipesAndDevicesAreNoSweeps) {
  const std::filesystem::path pipe = folder_ / "sweep.json";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  write("based.json", R"({"base": "/dev/zero", )" + std::string(decay) + "}");
  const std::pair<std::function<void()>, const char*> cases[] = {
      {[&] { load_sweep(pipe); }, "sweep.json is a pipe"},
      {[&] { open_sweep(folder_.path()); }, "sweep.json is a pipe"},
      {[&] { load_sweep(folder_ / "based.json"); }, "based.json:1:2: base: /dev/zero is a device"}};
  for (const auto& [act, says] : cases) {
    try {
      act();
      ADD_FAILURE() << "not refused: " << says;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::usage);
      EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    }
  }
}

TEST_F(SweepTest, BaseMayStandInTheFile) {
  write("inline.json", "{\"base\": " + config_to_json(small_run()) + ", " + decay + "}");
  EXPECT_EQ(config_to_json(load_sweep(folder_ / "inline.json").base), config_to_json(small_run()));
}

TEST_F(SweepTest, ResolvedFileGivesTheSameTrials) {
  for (const std::string& members : {
           std::string(decay) + R"(, "seeds": [3, 4], "where": "optimizer.weight_decay < 0.5")",
           std::string(R"("method": "random", "count": 6, "seed": 11, "parameters": {
             "optimizer.learning_rate": {"distribution": "q_log_uniform_values", "q": 1e-4, "min": 1e-3, "max": 1e-1},
             "optimizer.beta2": {"min": 0.9, "max": 0.99},
             "kind": {"values": [{"label": 1, "optimizer.name": "lion"}, {"label": 2, "optimizer.name": "adamw", "optimizer.eps": 1e-6}]}},
             "ties": {"optimizer.weight_decay": "1e-4 / optimizer.learning_rate"})"),
           std::string(
               R"("method": "halving", "halving": {"eta": 2.5}, "parameters": {"schedule.warmup_steps": {"min": 0, "max": 2}})"),
       }) {
    const Sweep sweep = make(members);
    write("resolved.json", sweep_to_json(sweep.file));
    const Sweep again = make_sweep(load_sweep(folder_ / "resolved.json"), folder_ / "out");
    EXPECT_EQ(sweep_to_json(again.file), sweep_to_json(sweep.file));
    ASSERT_EQ(again.rungs.size(), sweep.rungs.size());
    for (std::size_t rung = 0; rung < sweep.rungs.size(); ++rung) {
      ASSERT_EQ(again.rungs[rung].size(), sweep.rungs[rung].size());
      for (std::size_t i = 0; i < sweep.rungs[rung].size(); ++i) EXPECT_EQ(again.rungs[rung][i].id, sweep.rungs[rung][i].id);
    }
  }
}

TEST_F(SweepTest, UnknownKeysAreRefusedWithTheNearestName) {
  refused(std::string(decay) + ",\n\"metrik\": {}", {"sweep.json:4:1: unknown section \"metrik\"", "did you mean \"metric\"?"});
  refused(std::string(decay) + R"(, "budget": {"token": 5})", {"unknown key \"budget.token\"", "did you mean \"budget.tokens\"?"});
  refused(std::string(decay) + R"(, "early_terminate": {"type": "hyperband"})", {"early_terminate", "halving"});
  refused(std::string(decay) + R"(, "train": {"steps": 3})", {"unknown section \"train\"", "into parameters"});
  refused("\"parameters\": {\n\"optimizer.weight_decey\": {\"values\": [1]}}",
          {"unknown key \"optimizer.weight_decey\"", "did you mean \"optimizer.weight_decay\"?"});
  refused(R"("parameters": {"lr": {"values": [1]}})", {"optimizer.learning_rate"});
  refused(R"("parameters": {"x": {"values": [{"label": "a", "optimizer.nam": "lion"}]}})", {"\"optimizer.nam\"", "optimizer.name"});
  refused(R"("parameters": {"optimizer.weight_decay": {"value_s": [1]}})", {"value_s", "values"});
}

TEST_F(SweepTest, WrongValuesAreRefusedWithTheirPlaceAndWhatIsAllowed) {
  refused("\"parameters\": {\n  \"optimizer.weight_decay\": {\"values\": [0.1, -1]}}",
          {"sweep.json:4:30: optimizer.weight_decay is -1", "allowed"});
  refused(R"("parameters": {"optimizer.weight_decay": [0, 0.1]})", {"{\"values\": [0, 0.1]}"});
  refused(R"("parameters": {"optimizer.weight_decay": {"min": 1}})", {"min and max"});
  refused(R"("parameters": {"optimizer.weight_decay": {"min": 1, "max": 1}})", {"min must be below max"});
  refused(R"("parameters": {"optimizer.weight_decay": {"min": 1, "max": 2, "values": [1]}})", {"exactly one of"});
  refused(
      R"("method": "random", "count": 2, "parameters": {"optimizer.weight_decay": {"distribution": "log_uniform", "min": -9, "max": -1}})",
      {"exponents", "log_uniform_values"});
  refused(
      R"("method": "random", "count": 2, "parameters": {"schedule.warmup_steps": {"distribution": "uniform", "min": 1, "max": 9}})",
      {"int_uniform"});
  refused(R"("method": "bayes",)" + std::string(decay), {"bayes", "random", "halving"});
  refused(R"("method": "grit",)" + std::string(decay), {"did you mean \"grid\"?"});
  refused(std::string(decay) + R"(, "seeds": [1, 1])", {"seeds is [1, 1]", "different"});
  refused(std::string(decay) + R"(, "seeds": 0)", {"seeds is 0"});
  refused(std::string(decay) + R"(, "resources": {"gpus_per_trial": 0.3})", {"0.3", "0.25"});
  refused(std::string(decay) + R"(, "resources": {"gpus_per_trial": 2}, "stop_when": "loss > 9")",
          {"gpus_per_trial is 2", "only one"});
  refused(std::string(decay) + R"(, "ties": {"optimizer.grad_clip": "1 +"})", {"\"1 +\"", "expected a number"});
  refused(std::string(decay) + R"(, "ties": {"optimizer.grad_clip": "1 / optimizer.lr"})",
          {"optimizer.lr", "optimizer.learning_rate"});
  refused(R"("method": "halving", "halving": {"rungs": [0.5, 0.2, 1]},)" + std::string(decay), {"halving.rungs", "growing"});
  refused(R"("parameters": {"x": {"values": [{"optimizer.name": "lion"}]}})", {"\"label\""});
}

TEST_F(SweepTest, KeysSpeakAsThoseOfARunDo) {
  refused(std::string(decay) + ",\n\"resources\": {\"trials_at_onse\": 2}",
          {"sweep.json:4:15: unknown key \"resources.trials_at_onse\"; did you mean \"resources.trials_at_once\"?"});
  refused(std::string(decay) + ",\n\"resources\": {\"trials_at_once\": 0}",
          {"sweep.json:4:15: resources.trials_at_once is 0; allowed: an integer from 1 to 10000"});
  refused(R"("method": "halving", "halving": {"eta": 1}, )" + std::string(decay),
          {"sweep.json:3:34: halving.eta is 1; allowed: a number above 1"});
  refused(R"("parameters": {"optimizer.beta2": {"min": 0.5, "max": "much"}})",
          {"sweep.json:3:48: optimizer.beta2: max is \"much\"; allowed: a number"});
  refused(std::string(decay) + R"(, "optimizer.eps": {"values": [1]})", {"unknown key \"optimizer.eps\"", "into parameters"});
  refused(std::string(decay) + R"(, "budget": 3)",
          {"budget is 3; allowed: an object with any of the keys trials, tokens, seconds"});
  EXPECT_EQ(load(std::string(decay) + R"(, "metric": {"name": null}, "budget": {"trials": null})").metric.name, "val_loss");
}

TEST_F(SweepTest, OptionsOfSbatchThatTemperSetsAreRefused) {
  const auto option = [&](const std::string& text, const std::vector<std::string>& parts) {
    refused(std::string(decay) + R"(, "slurm": {"options": [)" + text + "]}", parts);
  };
  option(R"("--array=0-3")", {"--array=0-3", "resources.trials_at_once"});
  option(R"("--cpus-per-task=4")", {"resources.threads_per_trial"});
  option(R"("--gpus=1")", {"resources.gpus_per_trial"});  // sbatch would take it for a short form of --gpus-per-task
  option(R"("--job=x")", {"--job-name cannot be given"});
  option(R"("-p gpu")", {"the long form"});
  option(R"("run.sh")", {"the long form"});
  option(R"("--time 04:00:00")", {"--name=value"});
  option(R"("--comment=a\nb")", {"--name=value"});
  option("7", {"slurm.options is [7]", "an option of sbatch, --name or --name=value"});
  refused(std::string(decay) + R"(, "slurm": {"partition": "gpu"})", {"unknown key \"slurm.partition\"", "options"});
  refused(std::string(decay) + R"(, "slurm": {"poll_seconds": 0})", {"slurm.poll_seconds is 0"});
  load(std::string(decay) + R"(, "slurm": {"options": ["--time=04:00:00", "--mem=8G", "--comment=two words", "--exclusive"]})");
  EXPECT_EQ(load(std::string(decay) + R"(, "slurm": {"options": "--time=1"})").slurm.options, std::vector<std::string>{"--time=1"});
}

TEST_F(SweepTest, WhatBelongsToAnotherMethodIsRefused) {
  refused(R"("count": 5,)" + std::string(decay), {"count belongs to method random"});
  refused(R"("halving": {},)" + std::string(decay), {"halving belongs to method halving", "in a grid", "remove it"});
  refused(R"("method": "random",)" + std::string(decay), {"needs \"count\""});
  refused(R"("parameters": {"optimizer.weight_decay": {"min": 0.0, "max": 0.5}})", {"no end of values for a grid", "values"});
}

TEST_F(SweepTest, EmptySweepsAreRefused) {
  refused("", {"the sweep is empty", "parameters"});
  refused(R"("parameters": {"optimizer.weight_decay": {"values": []}})", {"at least one value"});
  refused(std::string(decay) + R"(, "where": "optimizer.weight_decay > 1")", {"the grid is empty", "loosen"});
  refused(
      R"("method": "random", "count": 3, "parameters": {"optimizer.weight_decay": {"min": 0.0, "max": 1.0}}, "where": "optimizer.weight_decay > 1")",
      {"nothing new after 0", "loosen"});
}

TEST_F(SweepTest, ContradictionsAreRefused) {
  refused(R"("parameters": {
      "optimizer.name": {"values": ["lion"]},
      "kind": {"values": [{"label": "a", "optimizer.name": "adamw"}]}})",
          {"kind sets optimizer.name", "optimizer.name at", "keep one"});
  refused(R"("parameters": {"schedule.warmup_steps": {"values": [0, 2]}, "schedule.warmup_fraction": {"values": [0.1]}})",
          {"schedule.warmup_fraction", "schedule.warmup_steps", "give only one of them"});
  refused(std::string(decay) + R"(, "ties": {"optimizer.weight_decay": "1"})", {"optimizer.weight_decay is tied", "keep one"});
  refused(std::string(decay) + R"(, "ties": {"optimizer.eps": "optimizer.grad_clip / 1e9", "optimizer.grad_clip": "1"})",
          {"optimizer.grad_clip, which is tied itself"});
  refused(R"("parameters": {"seed": {"values": [1, 2]}}, "seeds": 2)", {"seed", "keep \"seeds\""});
  refused(R"("parameters": {"optimizer.weight_decay": {"values": [0.1, 1e-1]}})", {"0.1 stands twice"});
}

TEST_F(SweepTest, MetricsThatAreNeverLoggedAreRefused) {
  refused(std::string(decay) + R"(, "metric": {"name": "val/loss"})", {"metric.name", "did you mean \"val_loss\"?"});
  RunConfig blind = small_run();
  blind.data.val = {};
  refused(decay, {"val_loss", "never logged because data.val is empty", "set data.val"}, blind);
  refused(std::string(decay) + R"(, "metric": {"name": "hellaswag_acc", "goal": "maximize"})", {"eval.hellaswag is empty"});
  EXPECT_NO_THROW(make(std::string(decay) + R"(, "metric": {"name": "loss"})", blind));
}

TEST_F(SweepTest, OfWhatIsNoLossTheGoodEndIsToBeSaid) {
  for (const std::string name : {"grad_norm", "hellaswag_acc", "weight_norm", "tokens_per_second"})
    refused(std::string(decay) + R"(, "metric": {"name": ")" + name + "\"}", {"metric.name is " + name, "no loss", "metric.goal"});
  refused(std::string(decay) + R"(, "metric": {"name": "step_row_angle", "goal": "minimize"})",
          {"never logged", "diagnostics.every is 0"});
  refused(std::string(decay) + R"(, "metric": {"name": "speed", "goal": "minimize"})",
          {"val_loss", "weight_norm", "critical_batch"});
}

TEST_F(SweepTest, StopWhenIsAConditionOnALineOfTheLog) {
  const auto with = [](const std::string& condition) { return std::string(decay) + R"(, "stop_when": ")" + condition + "\""; };
  refused(with("losss > 9"),
          {"sweep.json:3:", "no line of metrics.jsonl has losss", "val_loss, val_loss_average, step, tokens, loss"});
  refused(with("best_val_loss > 9"), {"no line of metrics.jsonl has best_val_loss"});
  refused(with("angle > 1"), {"no line of metrics.jsonl has angle"});  // diagnostics.jsonl has it
  refused(with("loss"), {"is no condition", "loss > 9"});
  refused(with("loss > 'nine'"), {"is no condition"});
  refused(with("loss >"), {"character 7"});
  refused(with("weight_norm > 100"), {"in stop_when is weight_norm", "diagnostics.every is 0"});
  RunConfig whole = small_run();
  whole.diagnostics.every = 1;
  EXPECT_EQ(metric_problem(find_metric("weight_norm"), whole) + metric_problem(find_metric("snr"), whole), "");
  whole.batch.micro_batch = whole.batch.tokens_per_step / whole.model.n_ctx;
  refused(with("snr > 9"), {"in stop_when is snr", "one micro-batch"}, whole);
  RunConfig blind = small_run();
  blind.data.val = {};
  refused(with("loss > 9 or val_loss > 9") + R"(, "metric": {"name": "loss"})", {"in stop_when is val_loss", "data.val is empty"},
          blind);
  const SweepFile sweep = load(with("step > 5 and loss > 9"));
  EXPECT_TRUE(sweep.stop_condition->holds_so_far({{"step", 6}, {"loss", 9.5}}));
  EXPECT_NE(sweep_to_json(sweep).find(R"("stop_when": "step > 5 and loss > 9")"), std::string::npos);
}

TEST_F(SweepTest, BudgetsThatCannotBeMetAreRefused) {
  // 2 configurations x 2 seeds of 20 steps of 32 tokens
  refused(std::string(decay) + R"(, "seeds": 2, "budget": {"trials": 3})", {"takes 4 trials", "budget.trials is 3", "raise"});
  refused(std::string(decay) + R"(, "seeds": 2, "budget": {"tokens": 2559})", {"takes 2560 tokens in 4 trials", "2559"});
  EXPECT_NO_THROW(make(std::string(decay) + R"(, "seeds": 2, "budget": {"trials": 4, "tokens": 2560})"));
}

TEST_F(SweepTest, TrialsThatDoNotValidateAreNamed) {
  refused(R"("parameters": {"schedule.warmup_steps": {"values": [5, 50, 60]}})",
          {"2 problems with the trials", "schedule.warmup_steps 50", "schedule.warmup_steps 60", "20 steps"});
  refused(
      R"("parameters": {"optimizer.weight_decay": {"values": [0.5, 2.0]}}, "ties": {"schedule.warmup_steps": "optimizer.weight_decay"})",
      {"schedule.warmup_steps is 0.5", "integer"});
  refused(R"("method": "halving", "halving": {"rungs": [0.1, 1]}, "parameters": {"schedule.warmup_steps": {"values": [0, 5]}})",
          {"a rung of 2 steps", "schedule.warmup_steps"});
  refused(R"("method": "halving", "halving": {"rungs": [0.1, 0.11, 1]},)" + std::string(decay), {"two rungs have 2 and 2 steps"});
}

TEST_F(SweepTest, AnInlineBaseExtendsFilesBesideTheSweep) {
  write("base.json", config_to_json(small_run()));
  write("inline.json", R"({"base": {"extends": "base.json", "optimizer": {"learning_rate": 0.5}}, )" + std::string(decay) + "}");
  const SweepFile sweep = load_sweep(folder_ / "inline.json");
  EXPECT_EQ(sweep.base.optimizer.learning_rate, 0.5);
  EXPECT_EQ(sweep.base.train.steps, 20);
}

TEST_F(SweepTest, ShippedSweepsAreValid) {
  std::size_t sweeps = 0, bases = 0, large = 0;
  for (const char* shipped : {"sweeps", "experiments"}) {
    for (const auto& file : std::filesystem::directory_iterator(std::filesystem::path(TEMPER_SOURCE_DIR) / "configs" / shipped)) {
      SCOPED_TRACE(file.path().string());
      if (read_file(file.path()).find("\"parameters\"") == std::string::npos) {
        ++bases;  // what sweeps beside it vary
        continue;
      }
      const SweepFile sweep = load_sweep(file.path());
      EXPECT_NO_THROW(make_sweep(sweep, folder_ / "out"));
      ++sweeps;
      if (ParameterLayout(sweep.base.model).parameter_count() < 100'000'000) continue;
      ++large;  // nobody trains these on a processor but by accident
      EXPECT_EQ(sweep.base.device, DeviceChoice::cuda);
      EXPECT_GE(sweep.resources.gpus_per_trial, 1.0);
    }
  }
  EXPECT_EQ(sweeps, 30u);
  EXPECT_EQ(bases, 5u);
  EXPECT_EQ(large, 7u);
}

TEST_F(SweepTest, MissingBaseAndFileAreNamed) {
  write("none.json", "{}");
  EXPECT_THROW(load_sweep(folder_ / "none.json"), Error);
  EXPECT_THROW(load_sweep(folder_ / "absent.json"), Error);
  write("gone.json", std::string(R"({"base": "gone-base.json", )") + decay + "}");
  try {
    load_sweep(folder_ / "gone.json");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("gone-base.json does not exist"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace temper
