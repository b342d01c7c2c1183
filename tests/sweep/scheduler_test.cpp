// The scheduler with trials that are processes of tests/sweep/fake_temper.
#include "sweep/scheduler.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <random>
#include <stdexcept>
#include <thread>

#include "sweep/executor.h"
#include "sweep/ranking.h"
#include "sweep/tables.h"
#include "sweep_support.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

/// Each trial that is started with this environment waits at this step until it is released; tests/support/failing_write.c makes
/// it.
class Hold {
 public:
  Hold(fs::path folder, std::int64_t step) : folder_(std::move(folder)), step_(step) {
    fs::create_directories(folder_);
    fs::create_directories(released_);
  }
  ~Hold() { fs::remove_all(folder_); }  // what comes there now ends
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

  std::vector<std::string> environment() const {
    return {"LD_PRELOAD=" TEMPER_FAILING_WRITE,
            "ASAN_OPTIONS=verify_asan_link_order=0",
            "FAIL_CALL=write",
            "FAIL_PATH=metrics.jsonl",
            "FAIL_TEXT=\"step\":" + std::to_string(step_) + ",",
            "FAIL_MODE=hold",
            "FAIL_HOLD=" + folder_.string()};
  }
  bool holds() const { return !fs::is_empty(folder_); }
  bool holds_one_that_was_signalled() const {
    const auto signalled = [](const fs::directory_entry& one) { return one.file_size() > 0; };
    return std::any_of(fs::directory_iterator(folder_), fs::directory_iterator(), signalled);
  }
  void release() const {
    for (const auto& one : fs::directory_iterator(folder_)) fs::rename(one, released_ / one.path().filename());
  }

 private:
  fs::path folder_, released_ = folder_.string() + ".released";
  std::int64_t step_;
};

/// Waits as long as any machine may take; what never happens fails.
void wait_until(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) throw std::runtime_error("what the test waits for does not happen");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

class SchedulerTest : public SweepTest {
 protected:
  void expect_kills_change_nothing(const std::string& members, std::int64_t times, std::int64_t last_step);

  LocalMachine machine(std::vector<std::string> environment = {}) const {
    environment.emplace_back("OMP_NUM_THREADS=99");
    environment.emplace_back("PATH=/usr/bin");
    return {TEMPER_FAKE, environment, 4, {"0", "1"}};
  }

  SweepOutcome run(const Sweep& sweep, bool retry_failed = false, const std::vector<std::string>& environment = {}) const {
    LocalExecutor executor(machine(environment), sweep.file.resources);
    testing::internal::CaptureStderr();
    const SweepOutcome outcome = run_sweep(sweep, executor, retry_failed);
    progress_ = testing::internal::GetCapturedStderr();
    write_tables(sweep, read_plan(sweep), sweep.folder);
    return outcome;
  }

  std::size_t starts(const Sweep& sweep, const Trial& trial) const {
    std::ifstream file(trial_folder(sweep.folder, trial) / "starts.log");
    std::size_t count = 0;
    for (std::string line; std::getline(file, line);) ++count;
    return count;
  }
  std::size_t all_starts(const Sweep& sweep) const {
    std::size_t count = 0;
    for (const auto& rung : sweep.rungs) {
      for (const Trial& trial : rung) count += starts(sweep, trial);
    }
    return count;
  }
  bool ran_twice(const Sweep& sweep) const {
    for (const auto& rung : sweep.rungs) {
      for (const Trial& trial : rung) {
        if (fs::exists(trial_folder(sweep.folder, trial) / "ran_twice")) return true;
      }
    }
    return false;
  }
  static std::string tables(const Sweep& sweep) {
    std::string all;
    for (const char* name : {"results.csv", "results.md", "results.json", "trials.csv", "best.json"})
      all += read_file(sweep.folder / name);
    return all;
  }

  const std::string three_by_three = R"("parameters": {"optimizer.weight_decay": {"values": [0, 0.1, 0.3]},
      "schedule.warmup_steps": {"values": [0, 2, 4]}}, "seeds": 2, "resources": {"trials_at_once": 3})";
  mutable std::string progress_;
};

TEST_F(SchedulerTest, RunsEveryTrialOnceAndNoneAgain) {
  const Sweep sweep = make(three_by_three);
  const SweepOutcome outcome = run(sweep);
  EXPECT_FALSE(outcome.interrupted);
  EXPECT_EQ(outcome.failed + outcome.left, 0u);
  EXPECT_EQ(all_starts(sweep), 18u);
  EXPECT_NE(progress_.find("18/18 trials done"), std::string::npos) << progress_;
  const std::vector<SweepResult> results = rank_configurations(sweep, read_plan(sweep)).results;
  EXPECT_EQ(results[0].configuration, 3u);  // a decay of 0.1 without warmup is the fake's best
  EXPECT_TRUE(results[0].metric->interval.has_value());

  run(sweep);
  EXPECT_EQ(all_starts(sweep), 18u);
  EXPECT_FALSE(ran_twice(sweep));
}

TEST_F(SchedulerTest, ThreadsAndGpusAreDivided) {
  const Sweep sweep = make(R"("parameters": {"optimizer.weight_decay": {"values": [0, 0.1]}}, "resources": {"trials_at_once": 2})");
  run(sweep);
  const std::string line = read_file(trial_folder(sweep.folder, sweep.rungs[0][0]) / "starts.log");
  EXPECT_NE(line.find(" 2\n"), std::string::npos) << line;  // 4 processors, 2 trials
  SweepResources resources;
  resources.trials_at_once = 3;
  resources.threads_per_trial = 2;
  EXPECT_THROW(LocalExecutor(machine(), resources), Error);
  resources.threads_per_trial = 1;
  resources.gpus_per_trial = 1;
  EXPECT_THROW(LocalExecutor(machine(), resources), Error);
  resources.gpus_per_trial = 0.5;
  EXPECT_NO_THROW(LocalExecutor(machine(), resources));
}

TEST_F(SchedulerTest, AGrownSweepRunsOnlyWhatIsNew) {
  const Sweep small = make(R"("parameters": {"optimizer.weight_decay": {"values": [0, 0.1]}}, "seeds": [1])");
  EXPECT_EQ(run(small).failed, 0u);
  const Sweep grown = make(R"("parameters": {"optimizer.weight_decay": {"values": [0, 0.05, 0.1]}}, "seeds": [2, 1])");
  EXPECT_EQ(run(grown).failed, 0u);
  EXPECT_EQ(all_starts(grown), 6u);
  EXPECT_FALSE(ran_twice(grown));
}

TEST_F(SchedulerTest, AFailingTrialIsRecordedAndTheRestGoOn) {
  const Sweep sweep = make(R"("parameters": {"optimizer.weight_decay": {"values": [0.66, 0.1, 0.2]}})");
  EXPECT_EQ(run(sweep).failed, 1u);
  const fs::path failed = trial_folder(sweep.folder, sweep.rungs[0][0]);
  const std::string failure = read_file(failed / "failure.json");
  EXPECT_NE(failure.find("\"exit_code\": 6"), std::string::npos) << failure;
  EXPECT_NE(failure.find("step 1: not finite"), std::string::npos) << failure;
  EXPECT_NE(progress_.find("failed with exit code 6"), std::string::npos) << progress_;
  EXPECT_EQ(read_plan(sweep).count(TrialState::finished), 2u);

  run(sweep);
  EXPECT_EQ(starts(sweep, sweep.rungs[0][0]), 1u);
  EXPECT_EQ(run(sweep, true).failed, 1u);
  EXPECT_EQ(starts(sweep, sweep.rungs[0][0]), 2u);
  EXPECT_EQ(all_starts(sweep), 4u);
}

TEST_F(SchedulerTest, WhatStopWhenEndsIsStoppedAndNotFailed) {
  const std::string decays = R"("parameters": {"optimizer.weight_decay": {"values": [0.1, 0.3, 0.2]}}, "seeds": 2)";
  const Sweep sweep = make(decays + R"(, "stop_when": "loss > 4")");
  const SweepOutcome outcome = run(sweep);
  EXPECT_EQ(outcome.failed + outcome.left, 0u);
  EXPECT_NE(progress_.find("0.3, seed 7: stopped at step 7: loss > 4  (3/6"), std::string::npos) << progress_;
  EXPECT_NE(progress_.find("6/6 trials done"), std::string::npos) << progress_;
  SweepPlan plan = read_plan(sweep);
  EXPECT_TRUE(plan.ended());
  EXPECT_EQ(plan.count(TrialState::stopped), 2u);
  const std::vector<SweepResult> results = rank_configurations(sweep, plan).results;
  EXPECT_EQ(results[2].configuration, 1u);  // behind those that ended, though its own validation loss is the least
  EXPECT_EQ(results[2].stopped, 2u);
  EXPECT_FALSE(results[2].metric);
  EXPECT_NE(read_file(sweep.folder / "trials.csv").find("7,20,stopped,,step 7: loss > 4\n"), std::string::npos)
      << read_file(sweep.folder / "trials.csv");
  EXPECT_NE(read_file(sweep.folder / "results.md").find("2 stopped"), std::string::npos) << read_file(sweep.folder / "results.md");
  EXPECT_NE(status_text(sweep, plan).find("4 finished, 2 stopped"), std::string::npos) << status_text(sweep, plan);

  run(sweep);
  run(sweep, true);  // they have not failed
  EXPECT_EQ(all_starts(sweep), 6u);
  // By another condition they go on from where they are, without one to their end.
  const Sweep other = make(decays + R"(, "stop_when": "loss > 4.25")");
  EXPECT_EQ(read_plan(other).count(TrialState::interrupted), 2u);
  EXPECT_EQ(run(other).left, 0u);
  EXPECT_EQ(all_starts(other), 8u);
  const Sweep without = make(decays);
  EXPECT_EQ(run(without).left, 0u);
  EXPECT_EQ(read_plan(without).count(TrialState::finished), 6u);
  EXPECT_EQ(all_starts(without), 10u);
  EXPECT_FALSE(ran_twice(without));
  EXPECT_EQ(run(sweep).left, 0u);
  EXPECT_EQ(read_plan(sweep).count(TrialState::finished), 6u) << "what has finished stays so";
}

TEST_F(SchedulerTest, WaysToFail) {
  const std::string one = R"("parameters": {"optimizer.weight_decay": {"values": [0.1]}})";
  const auto failure_of = [&](const std::string& name) {
    RunConfig base = small_run();
    base.name = name;
    const Sweep sweep = make(one, base);
    EXPECT_EQ(run(sweep).failed, 1u);
    return read_trial(trial_folder(sweep.folder, sweep.rungs[0][0]), sweep.rungs[0][0], sweep.file).failure + " after " +
           std::to_string(starts(sweep, sweep.rungs[0][0]));
  };
  EXPECT_EQ(failure_of("crash"), "signal 11 after 1");
  EXPECT_EQ(failure_of("silent"), "exit code 0 after 1");
  EXPECT_EQ(failure_of("killed"), "signal 9 after 4");  // perhaps somebody else's doing: three more attempts
}

TEST_F(SchedulerTest, ASignalSavesTheTrialsAndTheSweepGoesOn) {
  const Sweep sweep = make(three_by_three);
  const Hold hold(folder_ / "hold", 7);
  std::atomic<bool> over = false;
  std::thread killer([&] {
    wait_until([&] { return hold.holds(); });
    ::kill(::getpid(), SIGTERM);
    wait_until([&] { return hold.holds_one_that_was_signalled(); });
    wait_until([&] {
      hold.release();
      return over.load();
    });
  });
  const SweepOutcome outcome = run(sweep, false, hold.environment());
  over = true;
  killer.join();
  EXPECT_TRUE(outcome.interrupted);
  EXPECT_GT(outcome.left, 0u);
  EXPECT_EQ(outcome.failed, 0u);
  EXPECT_GE(read_plan(sweep).count(TrialState::interrupted), 1u);
  EXPECT_EQ(run(sweep).left, 0u);
  EXPECT_FALSE(ran_twice(sweep));
}

TEST_F(SchedulerTest, KilledAgainAndAgainItEndsAsIfItHadNeverBeen) { expect_kills_change_nothing(three_by_three, 7, 19); }

/// Each kill comes when two more trials have finished and another one is at a drawn step up to `last_step`.
void SchedulerTest::expect_kills_change_nothing(const std::string& members, std::int64_t times, std::int64_t last_step) {
  const Sweep straight = make_sweep(load(members), folder_ / "straight");
  run(straight);
  const unsigned seed = std::random_device{}();
  std::mt19937 draw(seed);
  SCOPED_TRACE("seed " + std::to_string(seed));
  const Sweep killed = make_sweep(load(members), folder_ / "killed");
  const auto is_there = [&](const char* name) {
    return [&killed, name](const Trial& trial) { return fs::exists(trial_folder(killed.folder, trial) / name); };
  };
  std::vector<Trial> trials;
  for (const std::vector<Trial>& rung : killed.rungs) trials.insert(trials.end(), rung.begin(), rung.end());
  for (std::int64_t kills = 0; kills < times; ++kills) {
    const Hold hold(folder_ / ("hold-" + std::to_string(kills)), std::uniform_int_distribution<std::int64_t>(1, last_step)(draw));
    const pid_t child = ::fork();
    if (child == 0) {
      if (std::freopen("/dev/null", "w", stderr) == nullptr) ::_exit(2);
      LocalExecutor executor(machine(hold.environment()), killed.file.resources);
      run_sweep(killed, executor, false);
      ::_exit(1);
    }
    wait_until([&] {
      const bool due = std::count_if(trials.begin(), trials.end(), is_there("summary.json")) >= 2 * kills;
      if (due && hold.holds()) return true;
      if (!due) hold.release();
      return ::waitpid(child, nullptr, WNOHANG) == child;
    });
    ASSERT_EQ(::kill(child, SIGKILL), 0) << "the sweep ended by itself";
    ::waitpid(child, nullptr, 0);
    wait_until([&] {
      hold.release();
      return std::none_of(trials.begin(), trials.end(),
                          [&](const Trial& trial) { return is_in_use(trial_folder(killed.folder, trial)); });
    });
  }
  EXPECT_EQ(run(killed).left, 0u);
  write_tables(killed, read_plan(killed), killed.folder);
  EXPECT_FALSE(ran_twice(killed));
  EXPECT_EQ(tables(killed), tables(straight));
}

TEST_F(SchedulerTest, AKilledSweepLeavesNoProcessesBehind) {
  RunConfig base = small_run();
  base.train.steps = 2'000'000;  // an hour
  const Sweep sweep =
      make(R"("parameters": {"optimizer.weight_decay": {"values": [0, 0.1]}}, "resources": {"trials_at_once": 2})", base);
  const pid_t child = ::fork();
  if (child == 0) {
    LocalExecutor executor(machine(), sweep.file.resources);
    run_sweep(sweep, executor, false);
    ::_exit(0);
  }
  for (const Trial& trial : sweep.rungs[0]) {
    const fs::path here = trial_folder(sweep.folder, trial);
    wait_until([&] { return read_trial(here, trial, sweep.file).steps > 10; });
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  for (const Trial& trial : sweep.rungs[0]) {
    const fs::path here = trial_folder(sweep.folder, trial);
    wait_until([&] { return !is_in_use(here); });
    EXPECT_TRUE(fs::exists(here / "checkpoint"));
  }
}

TEST_F(SchedulerTest, AProcessThatIsStillSavingIsWaitedFor) {
  const Sweep sweep = make(R"("parameters": {"optimizer.weight_decay": {"values": [0, 0.1]}})");
  const fs::path first = trial_folder(sweep.folder, sweep.rungs[0][0]);
  fs::create_directories(first);
  auto lock = std::make_unique<FolderLock>(first);
  std::thread saving([&] {  // until the other trial has had its turn
    wait_until([&] { return fs::exists(trial_folder(sweep.folder, sweep.rungs[0][1]) / "summary.json"); });
    lock.reset();
  });
  EXPECT_EQ(run(sweep).failed, 0u);
  saving.join();
  EXPECT_EQ(starts(sweep, sweep.rungs[0][0]), 1u);
  EXPECT_EQ(read_plan(sweep).count(TrialState::finished), 2u);
}

const std::string halving = R"("method": "halving", "halving": {"eta": 2, "rungs": [0.25, 0.5, 1]}, "seeds": 2,
    "parameters": {"optimizer.weight_decay": {"values": [0, 0.1, 0.2, 0.3]}}, "resources": {"trials_at_once": 4})";

TEST_F(SchedulerTest, AKilledHalvingPromotesTheSame) { expect_kills_change_nothing(halving, 5, 4); }

TEST_F(SchedulerTest, HalvingRunsItsRungs) {
  const Sweep sweep = make(halving);
  const SweepOutcome outcome = run(sweep);
  EXPECT_EQ(outcome.left, 0u);
  EXPECT_EQ(all_starts(sweep), 8u + 4u + 2u);
  EXPECT_EQ(rank_configurations(sweep, read_plan(sweep)).results.front().configuration, 1u);
}

TEST_F(SchedulerTest, SecondsOfTheBudgetAreKept) {
  // A trial takes 0.2 s by its own account.
  const std::string members = R"("parameters": {"optimizer.weight_decay": {"values": [0, 0.1, 0.2, 0.3]}}, "budget": {"seconds": )";
  const Sweep sweep = make(members + "0.3}");
  const SweepOutcome outcome = run(sweep);
  EXPECT_TRUE(outcome.out_of_seconds);
  EXPECT_EQ(outcome.left, 2u);
  try {
    run(sweep);
    ADD_FAILURE() << "a budget that is spent was not refused";
  } catch (const Error& error) {
    testing::internal::GetCapturedStderr();
    EXPECT_EQ(error.code(), ExitCode::usage);
    EXPECT_NE(std::string(error.what()).find("budget.seconds"), std::string::npos);
  }
  EXPECT_EQ(run(make(members + "10}")).left, 0u);
}

}  // namespace
}  // namespace temper
