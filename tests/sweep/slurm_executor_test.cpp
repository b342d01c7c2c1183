// Trials through Slurm, whose programs are small scripts here: sbatch keeps the batch script and a file for each task, and the test
// runs tasks when it wants to. tests/integration/sweep_slurm.py does it with Slurm itself.
#include "sweep/slurm_executor.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <map>
#include <thread>

#include "sweep/executor.h"
#include "sweep/scheduler.h"
#include "sweep/slurm.h"
#include "sweep/tables.h"
#include "sweep_support.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

// A task is a file tasks/JOB_INDEX with the line that squeue prints. A file `down` makes squeue fail, `hidden` lets it see nothing
// as many times as the file has lines; a script `meanwhile` runs just before it looks.
constexpr const char* sbatch = R"(#!/bin/bash
cd "$(dirname "$0")/.."
[ ! -e full ] || { echo "sbatch: error: Batch job submission failed: Invalid account" >&2; exit 1; }
echo "sbatch $*" >>calls
for argument; do
  case $argument in --job-name=*) name=${argument#*=} ;; --array=*) range=${argument##*-} ;; esac
done
job=$(($(ls | grep -c '\.sh$') + 1))
cp "${@: -1}" $job.sh
for index in $(seq 0 ${range%%%*}); do echo "$name $job $index PENDING" >tasks/${job}_$index; done
echo "$job;cluster"
)";
constexpr const char* squeue = R"(#!/bin/bash
cd "$(dirname "$0")/.."
[ ! -e down ] || { echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1; }
for argument; do
  case $argument in
    --jobs=*) cut -d ' ' -f 4 tasks/${argument#*=}; exit ;;
    --name=*) names=,${argument#*=}, ;;
  esac
done
[ -z "$SQUEUE_PARTITION" ] || exit 0
[ ! -e meanwhile ] || bash meanwhile
if [ -s hidden ]; then sed -i 1d hidden; exit 0; fi
cat tasks/* 2>/dev/null | while read -r name rest; do case $names in *,$name,*) echo "$name $rest" ;; esac; done
)";
constexpr const char* scancel = R"(#!/bin/bash
cd "$(dirname "$0")/.."
echo "scancel $*" >>calls
case "$*" in *--state=PENDING*) rm -f $(grep -l ' PENDING$' tasks/*) ;; esac
)";
constexpr const char* scontrol = R"(#!/bin/bash
cd "$(dirname "$0")/.."
echo "scontrol $*" >>calls
)";

class SlurmTest : public SweepTest {
 protected:
  void SetUp() override {
    fs::create_directories(cluster() / "bin");
    fs::create_directories(cluster() / "tasks");
    for (const auto& [name, text] :
         {std::pair{"sbatch", sbatch}, {"squeue", squeue}, {"scancel", scancel}, {"scontrol", scontrol}}) {
      std::ofstream(cluster() / "bin" / name) << text;
      fs::permissions(cluster() / "bin" / name, fs::perms::owner_all);
    }
    path_ = std::getenv("PATH");
    ::setenv("PATH", ((cluster() / "bin").string() + ":" + path_).c_str(), 1);
  }
  void TearDown() override { ::setenv("PATH", path_.c_str(), 1); }

  fs::path cluster() const { return folder_ / "cluster"; }
  std::string calls() const { return fs::exists(cluster() / "calls") ? read_file(cluster() / "calls") : ""; }

  /// Its trials are asked for a thousand times a second.
  Sweep quick(const std::string& more = "", const RunConfig& base = small_run()) const {
    return make(R"("parameters": {"optimizer.weight_decay": {"values": [0, 0.1, 0.2]}}, "slurm": {"poll_seconds": 0.001,
        "options": ["--partition=gpu"]})" +
                    more,
                base);
  }
  SlurmExecutor executor(const Sweep& sweep) const {
    fs::create_directories(sweep.folder / "trials");
    return SlurmExecutor({TEMPER_FAKE, folder_.path(), {"PATH=" + std::string(std::getenv("PATH")), "SQUEUE_PARTITION=other"}},
                         sweep.file, sweep.folder);
  }
  TrialLaunch launch(const Sweep& sweep, std::size_t index) const {
    const Trial& trial = sweep.rungs[0][index];
    const fs::path folder = trial_folder(sweep.folder, trial);
    prepare_trial(folder, trial, sweep.file, sweep.configurations[trial.configuration]);
    return {trial.id, folder};
  }
  std::vector<TrialLaunch> launches(const Sweep& sweep) const {
    std::vector<TrialLaunch> all;
    for (std::size_t i = 0; i < sweep.rungs[0].size(); ++i) all.push_back(launch(sweep, i));
    return all;
  }
  std::vector<TrialLaunch> submit_all(SlurmExecutor& executor, const Sweep& sweep) const {
    const std::vector<TrialLaunch> all = launches(sweep);
    for (const TrialLaunch& each : all) executor.start(each);
    EXPECT_TRUE(executor.poll().empty());
    return all;
  }

  void set_state(const std::string& task, const std::string& state) const {
    const fs::path file = cluster() / "tasks" / task;
    std::string line = read_file(file);
    line.replace(line.rfind(' ') + 1, std::string::npos, state + "\n");
    write_file_atomically(file, line);
  }
  void leave_queue(const std::string& task) const { fs::remove(cluster() / "tasks" / task); }

  /// Starts the batch script of JOB_INDEX, as Slurm does: in a process group of its own.
  pid_t start_task(const std::string& task) const {
    const std::string job = task.substr(0, task.find('_')), index = task.substr(job.size() + 1);
    set_state(task, "RUNNING");
    const std::string script = (cluster() / (job + ".sh")).string(), log = (cluster() / "output").string();
    const pid_t process = ::fork();
    if (process == 0) {
      ::setpgid(0, 0);
      ::setenv("SLURM_ARRAY_JOB_ID", job.c_str(), 1);
      ::setenv("SLURM_ARRAY_TASK_ID", index.c_str(), 1);
      ::setenv("SLURM_CPUS_ON_NODE", "3", 1);
      if (std::freopen(log.c_str(), "a", stdout) == nullptr || ::dup2(STDOUT_FILENO, STDERR_FILENO) < 0) ::_exit(99);
      ::execlp("bash", "bash", script.c_str(), nullptr);
      ::_exit(98);
    }
    ::setpgid(process, process);
    return process;
  }
  int end_task(pid_t process, const std::string& task) const {
    int status = 0;
    while (::waitpid(process, &status, 0) < 0 && errno == EINTR) continue;
    leave_queue(task);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  int run_task(const std::string& task) const { return end_task(start_task(task), task); }

  static void wait_for(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(10);  // by when only what never happens has not
    while (!condition() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_TRUE(condition());
  }
  /// All ends until there are as many.
  static std::map<std::string, EndedTrial> poll(SlurmExecutor& executor, std::size_t count) {
    std::map<std::string, EndedTrial> ended;
    wait_for([&] {
      for (const EndedTrial& trial : executor.poll()) ended[trial.id] = trial;
      return ended.size() >= count;
    });
    return ended;
  }
  static bool started(const TrialLaunch& launch) { return fs::exists(launch.folder / "starts.log"); }

  std::string path_;
};

// A task starts the ranks of its GPUs itself.
TEST_F(SlurmTest, ATrialOfSeveralGpusHasARankForEach) {
  SweepResources resources;
  EXPECT_EQ(trial_options(resources, ""), std::vector<std::string>());
  resources.gpus_per_trial = 0.5;
  EXPECT_EQ(trial_options(resources, "loss > 4"), (std::vector<std::string>{"--stop-when", "loss > 4"}));
  const Sweep sweep = quick(R"(, "resources": {"gpus_per_trial": 4})");
  SlurmExecutor slurm = executor(sweep);
  submit_all(slurm, sweep);
  EXPECT_NE(calls().find(" --gpus-per-task=4 "), std::string::npos) << calls();
  EXPECT_NE(read_file(sweep.folder / "slurm.sh").find("\noptions=(--ranks 4)\n"), std::string::npos);
}

TEST_F(SlurmTest, WhatIsStartedTogetherIsOneArrayJob) {
  const Sweep sweep = quick(R"(, "resources": {"trials_at_once": 2, "threads_per_trial": 4, "gpus_per_trial": 1})");
  SlurmExecutor slurm = executor(sweep);
  const std::vector<TrialLaunch> all = submit_all(slurm, sweep);
  const std::string call = calls();
  for (const char* part : {"sbatch --parsable --job-name=temper-", " --array=0-2%2 ", " --ntasks=1 ", " --cpus-per-task=4 ",
                           " --gpus-per-task=1 ", " --requeue ", " --signal=B:TERM@120 ", " --partition=gpu "}) {
    EXPECT_NE(call.find(part), std::string::npos) << part << " in " << call;
  }
  EXPECT_EQ(std::count(call.begin(), call.end(), '\n'), 1);
  EXPECT_TRUE(slurm.waits(all[0].id));

  EXPECT_EQ(run_task("1_1"), 0);
  const std::map<std::string, EndedTrial> ended = poll(slurm, 1);
  ASSERT_TRUE(ended.contains(all[1].id));
  EXPECT_EQ(ended.at(all[1].id).end.exit_code, 0);
  EXPECT_GT(ended.at(all[1].id).times.started, 1.6e9);
  EXPECT_TRUE(fs::exists(all[1].folder / "summary.json"));
  EXPECT_NE(read_file(all[1].folder / "starts.log").find(" 4\n"), std::string::npos);  // OMP_NUM_THREADS
  EXPECT_FALSE(started(all[0]));

  set_state("1_0", "RUNNING");
  wait_for([&] { return slurm.poll().empty() && !slurm.waits(all[0].id); });
}

TEST_F(SlurmTest, TheTablesAreThoseOfLocalProcesses) {
  const auto tables = [&](Executor& executor, const std::string& out) {
    const Sweep sweep = make_sweep(
        load(
            R"("parameters": {"optimizer.weight_decay": {"values": [0, 0.1, 0.3, 0.66]}}, "seeds": 2, "stop_when": "loss > 4 and step > 2", "slurm": {"poll_seconds": 0.01})"),
        folder_ / out);
    testing::internal::CaptureStderr();
    EXPECT_EQ(run_sweep(sweep, executor, false).failed, 2u);
    testing::internal::GetCapturedStderr();
    write_tables(sweep, read_plan(sweep), sweep.folder);
    std::string all;
    for (const char* name : {"results.csv", "results.md", "results.json", "trials.csv", "best.json"})
      all += read_file(sweep.folder / name);
    return all;
  };
  std::jthread machine([&](const std::stop_token& over) {
    while (!over.stop_requested()) {
      std::vector<std::string> waiting;
      for (const auto& entry : fs::directory_iterator(cluster() / "tasks")) waiting.push_back(entry.path().filename());
      for (const std::string& task : waiting) run_task(task);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  const SweepFile file = load(R"("parameters": {"optimizer.weight_decay": {"values": [0]}}, "seeds": 2,
      "slurm": {"poll_seconds": 0.01})");
  // A name that a shell and sbatch would take apart.
  const std::string strange = "o'ut $(x) 100%";
  fs::create_directories(folder_ / strange / "trials");
  SlurmExecutor slurm({TEMPER_FAKE, folder_.path(), {"PATH=" + std::string(std::getenv("PATH"))}}, file, folder_ / strange);
  const std::string through_slurm = tables(slurm, strange);
  machine.request_stop();
  machine.join();
  EXPECT_NE(calls().find("100%%/slurm.log"), std::string::npos) << calls();
  LocalExecutor local({TEMPER_FAKE, {"OMP_NUM_THREADS=1"}, 4, {}}, SweepResources{});
  EXPECT_EQ(through_slurm, tables(local, "local"));
  EXPECT_NE(through_slurm.find("2 stopped"), std::string::npos) << through_slurm;
}

// As a comment of the script has the command, and as its variables have the paths.
TEST_F(SlurmTest, AFoldersNameIsNoneOfTheScriptsCommands) {
  const Sweep sweep = make_sweep(load(R"("slurm": {"poll_seconds": 0.001}, "seeds": 2)"),
                                 folder_ / "b [1] 'x\ntouch harm\n#SBATCH --nodes=9\n\xff");
  SlurmExecutor slurm = executor(sweep);
  const std::vector<TrialLaunch> all = submit_all(slurm, sweep);
  EXPECT_EQ(run_task("1_0"), 0);
  EXPECT_EQ(poll(slurm, 1).at(all[0].id).end.exit_code, 0);
  EXPECT_FALSE(fs::exists(folder_ / "harm") || fs::exists("harm"));
  const std::string script = read_file(sweep.folder / "slurm.sh");
  EXPECT_EQ(script.find("\n#SBATCH"), std::string::npos) << script;
  EXPECT_EQ(script.find("\ntouch"), std::string::npos) << script;
}

TEST_F(SlurmTest, HowATrialEndedStandsInItsFolder) {
  const Sweep sweep = quick();
  SlurmExecutor slurm = executor(sweep);
  const std::vector<TrialLaunch> all = submit_all(slurm, sweep);
  const std::string job = SlurmRecord(sweep.folder).job_of(all[0].id);
  const auto write_end = [&](std::size_t index, const std::string& text) {
    set_state("1_" + std::to_string(index), "RUNNING");
    write_file_atomically(all[index].folder / "slurm_end.json", text);
  };
  write_end(0, "{\"job\": \"" + job + "\", \"exit_code\": 139, \"started\": 5, \"ended\": 6}");
  write_end(1, R"({"job": "temper-other-1", "exit_code": 0, "started": 5, "ended": 6})");  // of an earlier job
  write_end(2, R"({"job": 7, "exit_code": [)");
  const std::map<std::string, EndedTrial> ended = poll(slurm, 1);
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended.at(all[0].id).end.signal, SIGSEGV);
  EXPECT_EQ(ended.at(all[0].id).times.ended, 6);

  // Those two leave the queue without a word: their node died, or somebody cancelled them. As if killed by SIGKILL, but not before
  // they have been missed for a while; and what waits is not missed.
  leave_queue("1_1");
  std::ofstream(cluster() / "down") << "";
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(slurm.poll().empty()) << "Slurm does not answer, which says nothing of its tasks";
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  fs::remove(cluster() / "down");
  const std::map<std::string, EndedTrial> lost = poll(slurm, 1);
  ASSERT_TRUE(lost.contains(all[1].id));
  EXPECT_EQ(lost.at(all[1].id).end.signal, SIGKILL);
  EXPECT_EQ(lost.size(), 1u);
}

TEST_F(SlurmTest, StartedAgainItFindsItsTasksAndSubmitsNoneTwice) {
  const Sweep sweep = quick();
  std::vector<TrialLaunch> all;
  {
    SlurmExecutor slurm = executor(sweep);
    EXPECT_TRUE(slurm.adopt(launches(sweep)).empty());
    all = submit_all(slurm, sweep);
  }
  EXPECT_EQ(run_task("1_0"), 0);
  set_state("1_1", "RUNNING");
  SlurmExecutor again = executor(sweep);
  std::vector<std::string> adopted = again.adopt(all);
  std::sort(adopted.begin(), adopted.end());
  std::vector<std::string> expected = {all[0].id, all[1].id, all[2].id};
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(adopted, expected);
  EXPECT_FALSE(again.waits(all[1].id));
  EXPECT_TRUE(again.waits(all[2].id));
  EXPECT_EQ(poll(again, 1).at(all[0].id).end.exit_code, 0);
  const std::string call = calls();
  EXPECT_EQ(std::count(call.begin(), call.end(), '\n'), 1) << call;

  // Slurm does not answer: nothing is known, so nothing may be submitted.
  std::ofstream(cluster() / "down") << "";
  SlurmExecutor blind = executor(sweep);
  try {
    blind.adopt(all);
    ADD_FAILURE() << "went on without having looked";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("Unable to contact slurm controller"), std::string::npos) << error.what();
  }
}

TEST_F(SlurmTest, WhatEndsWhileItLooksIsNotStartedAgain) {
  const Sweep sweep = quick();
  std::vector<TrialLaunch> all;
  {
    SlurmExecutor slurm = executor(sweep);
    all = submit_all(slurm, sweep);
  }
  const std::string job = SlurmRecord(sweep.folder).job_of(all[0].id);
  std::ofstream(cluster() / "meanwhile") << "rm -f tasks/1_0; echo '{\"job\": \"" << job
                                         << "\", \"exit_code\": 6, \"started\": 5, \"ended\": 6}' >" << all[0].folder
                                         << "/slurm_end.json\n";
  SlurmExecutor again = executor(sweep);
  EXPECT_EQ(again.adopt(all).size(), 3u);
  EXPECT_EQ(poll(again, 1).at(all[0].id).end.exit_code, 6);
}

TEST_F(SlurmTest, ASubmissionThatComesLateDoesNothing) {
  const Sweep sweep = quick();
  std::vector<TrialLaunch> all;
  {
    SlurmExecutor slurm = executor(sweep);  // killed while sbatch runs: Slurm shows the job when all else is over
    all = submit_all(slurm, sweep);
  }
  std::ofstream(cluster() / "hidden") << "1\n2\n";
  SlurmExecutor again = executor(sweep);
  EXPECT_TRUE(again.adopt(all).empty());
  submit_all(again, sweep);
  EXPECT_EQ(run_task("1_0"), 0);
  EXPECT_FALSE(started(all[0]));
  EXPECT_EQ(run_task("2_0"), 0);
  EXPECT_TRUE(started(all[0]));
  EXPECT_EQ(poll(again, 1).at(all[0].id).end.exit_code, 0);
  // An administrator queues a task again that has ended.
  write_file_atomically(cluster() / "tasks" / "2_0", "x 2 0 PENDING\n");
  EXPECT_EQ(run_task("2_0"), 0);
  EXPECT_FALSE(fs::exists(all[0].folder / "ran_twice"));
}

TEST_F(SlurmTest, ASubmissionThatIsUnderWayIsFoundAtTheSecondLook) {
  const Sweep sweep = quick();
  std::vector<TrialLaunch> all;
  {
    SlurmExecutor slurm = executor(sweep);
    all = submit_all(slurm, sweep);
  }
  std::ofstream(cluster() / "hidden") << "1\n";
  SlurmExecutor again = executor(sweep);
  EXPECT_EQ(again.adopt(all).size(), 3u);
  EXPECT_EQ(run_task("1_2"), 0);
  EXPECT_TRUE(started(all[2])) << "was disowned for the second look, and not given back";
  EXPECT_EQ(poll(again, 1).count(all[2].id), 1u);
}

TEST_F(SlurmTest, MoreThanMayRunWaitsForTheJobBefore) {
  const Sweep sweep = quick(R"(, "resources": {"trials_at_once": 2})");
  SlurmExecutor slurm = executor(sweep);
  const std::vector<TrialLaunch> all = submit_all(slurm, sweep);
  EXPECT_EQ(calls().find("--dependency"), std::string::npos);
  leave_queue("1_0");
  poll(slurm, 1);
  ASSERT_TRUE(slurm.has_room());
  slurm.start(all[0]);
  slurm.poll();
  EXPECT_NE(calls().find(" --dependency=afterany:1 "), std::string::npos) << calls();
  EXPECT_FALSE(slurm.has_room()) << "a third job in a row";
  leave_queue("1_1");
  leave_queue("1_2");
  poll(slurm, 2);
  ASSERT_TRUE(slurm.has_room());
  slurm.start(all[1]);  // beside the one in the queue: both may run
  slurm.poll();
  EXPECT_EQ(calls().find("--dependency", calls().find("--dependency") + 1), std::string::npos) << calls();

  const Sweep bounded = quick(R"(, "resources": {"trials_at_once": 2}, "budget": {"seconds": 100})");
  SlurmExecutor few = executor(bounded);
  few.start(all[0]);
  EXPECT_TRUE(few.has_room());
  few.start(all[1]);
  EXPECT_FALSE(few.has_room()) << "the budget may be spent before a third one begins";
}

TEST_F(SlurmTest, StoppedItTakesBackWhatWaitsAndAsksTheRestToSave) {
  RunConfig base = small_run();
  base.train.steps = 2'000'000;  // an hour
  const Sweep sweep = quick("", base);
  SlurmExecutor slurm = executor(sweep);
  const std::vector<TrialLaunch> all = submit_all(slurm, sweep);
  const pid_t task = start_task("1_0");
  wait_for([&] { return started(all[0]); });
  slurm.cancel();
  const std::map<std::string, EndedTrial> waited = poll(slurm, 2);
  EXPECT_EQ(waited.size(), 2u);
  EXPECT_FALSE(waited.contains(all[0].id));
  for (const auto& [trial, end] : waited) EXPECT_EQ(end.times.started, 0) << "it never ran";
  const std::string call = calls();
  const std::size_t first = call.find("--state=PENDING 1\n"), second = call.find("--batch --state=RUNNING --signal=USR2 1\n");
  ASSERT_NE(second, std::string::npos) << call;
  EXPECT_LT(first, second);
  ::kill(task, SIGUSR2);  // what scancel would have done
  EXPECT_EQ(end_task(task, "1_0"), 75);
  EXPECT_EQ(poll(slurm, 1).at(all[0].id).end.exit_code, 75);
  EXPECT_EQ(calls().find("requeue 1"), std::string::npos) << "the sweep was stopped, and the task came back";
  EXPECT_EQ(calls().find("--signal=USR2", second + 40), std::string::npos) << "asked twice";
}

TEST_F(SlurmTest, ATaskThatHasSavedIsQueuedAgain) {
  RunConfig base = small_run();
  base.train.steps = 2'000'000;  // an hour
  const Sweep sweep = quick("", base);
  SlurmExecutor slurm = executor(sweep);
  const std::vector<TrialLaunch> all = submit_all(slurm, sweep);
  const auto saved_with = [&](std::size_t index, const std::function<void(pid_t)>& stop) {
    const std::string task = "1_" + std::to_string(index);
    const pid_t process = start_task(task);
    wait_for([&] { return fs::exists(all[index].folder / "checkpoint"); });
    stop(process);
    const int code = end_task(process, task);
    EXPECT_TRUE(slurm.poll().empty());
    return code;
  };
  // To the script alone, as the time limit comes near.
  EXPECT_EQ(saved_with(0, [](pid_t process) { ::kill(process, SIGTERM); }), 75);
  EXPECT_NE(calls().find("scontrol requeue 1_0\n"), std::string::npos) << calls();
  EXPECT_FALSE(fs::exists(all[0].folder / "slurm_end.json"));

  // To every process of the task, again and again, as scancel and preemption do: temper sees one.
  EXPECT_EQ(saved_with(1,
                       [](pid_t process) {
                         for (int i = 0; i < 5; ++i) ::kill(-process, SIGTERM);
                       }),
            75);
  EXPECT_NE(calls().find("scontrol requeue 1_1\n"), std::string::npos) << calls();

  // A task that is cancelled does not come back by itself.
  EXPECT_EQ(saved_with(2,
                       [&](pid_t process) {
                         set_state("1_2", "COMPLETING");
                         ::kill(process, SIGTERM);
                       }),
            75);
  EXPECT_EQ(calls().find("scontrol requeue 1_2\n"), std::string::npos) << calls();
  EXPECT_FALSE(fs::exists(all[2].folder / "slurm_end.json"));
}

TEST_F(SlurmTest, WhoSavesWithoutAStepIsNotQueuedForEver) {
  RunConfig base = small_run();
  base.train.steps = 2'000'000;  // an hour
  const Sweep sweep = quick("", base);
  SlurmExecutor slurm = executor(sweep);
  const std::vector<TrialLaunch> all = submit_all(slurm, sweep);
  // Its newest checkpoint lies ahead of all that it can reach before it is stopped.
  fs::create_directories(all[0].folder / "checkpoints" / "step-01999999");
  const pid_t process = start_task("1_0");
  wait_for([&] { return fs::exists(all[0].folder / "checkpoint"); });
  ::kill(process, SIGTERM);
  EXPECT_EQ(end_task(process, "1_0"), 75);
  EXPECT_EQ(calls().find("requeue 1"), std::string::npos) << calls();
  EXPECT_EQ(poll(slurm, 1).at(all[0].id).end.exit_code, 75);
}

TEST_F(SlurmTest, WhatSbatchSaysIsTold) {
  const Sweep sweep = quick();
  std::ofstream(cluster() / "full") << "";
  const auto refused = [&](const std::vector<std::string>& parts) {
    SlurmExecutor slurm = executor(sweep);
    slurm.start(launch(sweep, 0));
    try {
      slurm.poll();
      ADD_FAILURE() << "not refused";
    } catch (const Error& error) {
      for (const std::string& part : parts) {
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << part << "\nin: " << error.what();
      }
    }
    EXPECT_EQ(read_plan(sweep).count(TrialState::failed), 0u);
  };
  refused({"Invalid account", "no trial counts as failed"});
  ::setenv("PATH", "/nowhere", 1);
  refused({"sbatch was not found in the PATH", "module load slurm"});
}

TEST_F(SlurmTest, ShareOfAGpuIsRefused) {
  const Sweep sweep = quick(R"(, "resources": {"gpus_per_trial": 0.5})");
  try {
    executor(sweep);
    ADD_FAILURE() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    EXPECT_NE(std::string(error.what()).find("resources.gpus_per_trial is 0.5"), std::string::npos) << error.what();
  }
}

TEST_F(SlurmTest, ASweepWithoutSlurmDisownsWhatWaitsThere) {
  const Sweep sweep = quick();
  std::vector<TrialLaunch> all;
  {
    SlurmExecutor slurm = executor(sweep);
    all = submit_all(slurm, sweep);
  }
  disown_slurm_tasks(sweep.folder);
  EXPECT_EQ(run_task("1_0"), 0);
  EXPECT_FALSE(started(all[0]));
}

TEST_F(SlurmTest, RecordsAreReadWithCare) {
  const fs::path here = folder_ / "sweep", copy = folder_ / "copy";
  fs::create_directories(here);
  fs::create_directories(copy);
  {
    SlurmRecord record(here);
    EXPECT_EQ(record.job_of("a"), "");
    record.assign(record.next_job(), {"a", "b"});
  }
  std::ofstream(here / "slurm.jsonl", std::ios::app)
      << "7\n{\"job\": []}\n{\"job\": \"rm -rf\", \"trials\": [\"a\"]}\n{\"job\": \"\", \"tri";
  SlurmRecord record(here);
  const std::string first = record.job_of("a");
  EXPECT_TRUE(first.starts_with("temper-") && first.ends_with("-1")) << first;
  EXPECT_EQ(record.trial_of(first, 1), "b");
  EXPECT_EQ(record.trial_of(first, 2), "");
  record.assign(record.next_job(), {"b"});  // behind a line that was cut off
  const SlurmRecord again(here);
  EXPECT_TRUE(again.job_of("b").ends_with("-2")) << again.job_of("b");
  EXPECT_EQ(again.job_of("a"), first);

  // The jobs of the folder that it was copied from are not its own.
  fs::copy_file(here / "slurm.jsonl", copy / "slurm.jsonl");
  const SlurmRecord copied(copy);
  EXPECT_EQ(copied.job_of("a"), "");
  EXPECT_NE(copied.next_job(), record.next_job());
}

}  // namespace
}  // namespace temper
