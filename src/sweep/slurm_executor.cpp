#include "sweep/slurm_executor.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <set>

#include "io/error.h"
#include "io/file.h"
#include "io/process.h"
#include "io/text.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

/// A line on stderr that stays, in place of the one that rewrites itself on a terminal.
void note(const std::string& text) {
  std::fprintf(stderr, "%s%s\n", ::isatty(STDERR_FILENO) == 1 ? "\r\033[K" : "", shown_message(text).c_str());
}

/// A path in which sbatch sees no placeholders.
std::string literal(const fs::path& path) {
  std::string text;
  for (const char character : path.string()) text += character == '%' ? "%%" : std::string(1, character);
  return text;
}

}  // namespace

SlurmExecutor::SlurmExecutor(SlurmSite site, const SweepFile& sweep, const fs::path& folder)
    : slurm_(std::move(site.environment)),
      program_(std::move(site.program)),
      working_folder_(std::move(site.working_folder)),
      folder_(fs::absolute(folder).lexically_normal()),
      resources_(sweep.resources),
      settings_(sweep.slurm),
      may_run_out_(sweep.budget.seconds > 0) {
  if (std::round(resources_.gpus_per_trial) == resources_.gpus_per_trial) return;
  throw Error(ExitCode::usage, "resources.gpus_per_trial is " + to_text({resources_.gpus_per_trial}) +
                                   "; Slurm gives a task whole GPUs: set 1 or more, or run the sweep on one machine, without "
                                   "--executor slurm");
}

bool SlurmExecutor::has_room() const {
  const auto queued = static_cast<std::int64_t>(tasks_.size() + started_.size());
  if (queued < std::min(resources_.trials_at_once, settings_.queued_trials)) return true;
  if (may_run_out_ || queued >= settings_.queued_trials) return false;
  // One job may wait for another, not a row of them, each with the few trials that there was room for when it was made.
  return numbers().size() < 2 && static_cast<std::int64_t>(tasks_.size()) <= settings_.queued_trials / 2;
}

/// Of the array jobs in the queue.
std::set<std::int64_t> SlurmExecutor::numbers() const {
  std::set<std::int64_t> all;
  for (const auto& [trial, task] : tasks_)
    if (task.number > 0) all.insert(task.number);
  return all;
}

void SlurmExecutor::start(const TrialLaunch& launch) { started_.push_back(launch); }

bool SlurmExecutor::waits(const std::string& id) const {
  const auto found = tasks_.find(id);
  return found == tasks_.end() || found->second.state == "PENDING";
}

std::optional<SlurmExecutor::Queue> SlurmExecutor::look(const std::map<std::string, Task>& tasks, std::string& problem) const {
  std::set<std::string> jobs;
  for (const auto& [trial, task] : tasks) jobs.insert(task.job);
  if (jobs.empty()) return Queue();
  const std::optional<std::vector<QueuedTask>> queued = slurm_.queue({jobs.begin(), jobs.end()}, problem);
  if (!queued) return std::nullopt;
  Queue queue;
  for (const QueuedTask& task : *queued) queue[{record_->trial_of(task.job, task.index), task.job}] = task;
  return queue;
}

std::vector<std::string> SlurmExecutor::adopt(const std::vector<TrialLaunch>& launches) {
  record_.emplace(folder_);
  std::map<std::string, Task> missing;
  for (const TrialLaunch& launch : launches) {
    const std::string job = record_->job_of(launch.id);
    if (job.empty()) continue;
    missing[launch.id].folder = launch.folder;
    missing[launch.id].job = job;
  }
  std::vector<std::string> adopted = adopt_queued(missing);
  for (auto next = missing.begin(); next != missing.end();) {
    const auto task = next++;
    if (!read_task_end(task->second.folder, task->second.job)) continue;
    task->second.state = "COMPLETED";
    adopted.push_back(task->first);
    tasks_.insert(missing.extract(task));
  }
  if (missing.empty()) return adopted;

  // The rest ended without a word, or sbatch is still at work for them. Disowned first and then looked for again, a task is either
  // found now, or does nothing whenever Slurm takes it.
  std::vector<std::string> rest;
  rest.reserve(missing.size());
  for (const auto& [trial, task] : missing) rest.push_back(trial);
  record_->disown(rest);
  std::map<std::string, std::vector<std::string>> found;
  for (const std::string& trial : adopt_queued(missing)) {
    adopted.push_back(trial);
    found[tasks_[trial].job].push_back(trial);
  }
  for (const auto& [job, trials] : found) record_->assign(job, trials);
  return adopted;
}

/// Moves the tasks that are in the queue from `missing` to tasks_ and returns their trials.
std::vector<std::string> SlurmExecutor::adopt_queued(std::map<std::string, Task>& missing) {
  std::string problem;
  const std::optional<Queue> queue = look(missing, problem);
  if (!queue) {
    throw Error(ExitCode::usage, "trials of this sweep may be in Slurm's queue, which cannot be looked at: " + problem +
                                     "; run the same command again when Slurm answers");
  }
  std::vector<std::string> adopted;
  for (const auto& [key, queued] : *queue) {
    const auto found = missing.find(key.first);
    if (found == missing.end() || found->second.job != key.second) continue;
    found->second.number = queued.number;
    found->second.state = queued.state;
    adopted.push_back(key.first);
    tasks_.insert(missing.extract(found));
  }
  return adopted;
}

void SlurmExecutor::submit() {
  if (!record_) record_.emplace(folder_);
  ArrayJob job;
  job.name = record_->next_job();
  for (const TrialLaunch& launch : started_) job.trials.push_back(launch.id);
  job.sweep = folder_;
  job.program = program_;
  job.working_folder = working_folder_;
  job.threads = resources_.threads_per_trial;
  job.options = trial_options(resources_, started_.front().stop_when);
  std::vector<std::string> arguments = {
      "--job-name=" + job.name,
      "--array=0-" + std::to_string(job.trials.size() - 1) + "%" + std::to_string(resources_.trials_at_once),
      "--ntasks=1",
  };
  if (resources_.threads_per_trial > 0) arguments.push_back("--cpus-per-task=" + std::to_string(resources_.threads_per_trial));
  if (resources_.gpus_per_trial > 0)
    arguments.push_back("--gpus-per-task=" + std::to_string(std::llround(resources_.gpus_per_trial)));
  std::string others;
  for (const std::int64_t number : numbers()) others += ":" + std::to_string(number);
  const bool too_many = static_cast<std::int64_t>(tasks_.size() + started_.size()) > resources_.trials_at_once;
  if (too_many && !others.empty()) arguments.push_back("--dependency=afterany" + others);
  arguments.insert(arguments.end(),
                   {"--requeue", "--signal=B:TERM@120", "--output=" + literal(folder_ / "slurm.log"), "--open-mode=append"});
  arguments.insert(arguments.end(), settings_.options.begin(), settings_.options.end());
  arguments.push_back((folder_ / "slurm.sh").string());
  job.command = "sbatch";
  for (const std::string& argument : arguments) job.command += " " + shell_word(argument);
  write_file_atomically(folder_ / "slurm.sh", batch_script(job));
  refuse_link(folder_ / "slurm.log");  // Slurm opens it

  record_->assign(job.name, job.trials);
  const std::int64_t number = slurm_.submit(arguments);
  note("Slurm: array job " + std::to_string(number) + " has " + std::to_string(job.trials.size()) + " trials, " +
       std::to_string(resources_.trials_at_once) + " at once");
  for (const TrialLaunch& launch : started_) {
    Task& task = tasks_[launch.id] = {};
    task.folder = launch.folder;
    task.job = job.name;
    task.number = number;
  }
  started_.clear();
}

std::vector<EndedTrial> SlurmExecutor::poll() {
  std::vector<EndedTrial> ended;
  if (stopping_) {
    for (const TrialLaunch& launch : started_) ended.push_back({launch.id, {0, SIGTERM}, {}});
    started_.clear();
  }
  if (!started_.empty()) submit();
  const auto now = std::chrono::steady_clock::now();
  if (tasks_.empty() || now < next_look_) return ended;
  next_look_ =
      now + std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(settings_.poll_seconds));
  std::string problem;
  const std::optional<Queue> queue = look(tasks_, problem);
  if (queue && stopping_) problem = stop(*queue);
  tell(problem);
  for (auto& [trial, task] : tasks_)
    if (const std::optional<EndedTrial> end = end_of(trial, task, queue ? &*queue : nullptr)) ended.push_back(*end);
  for (const EndedTrial& trial : ended) tasks_.erase(trial.id);
  return ended;
}

std::optional<EndedTrial> SlurmExecutor::end_of(const std::string& trial, Task& task, const Queue* queue) const {
  // A file system that nodes share may show the end of a task a minute late, which is twelve polls by default.
  constexpr int looks_before_lost = 12;
  const EndedTrial lost{trial, {0, SIGKILL}, {task.running_since, task.running_since > 0 ? seconds_since_1970() : 0.0}};
  const bool waited = task.state == "PENDING";
  if (queue != nullptr) {
    const auto found = queue->find({trial, task.job});
    task.looks_missed = found == queue->end() ? task.looks_missed + 1 : 0;
    if (found != queue->end()) task.state = found->second.state;
    if (task.state != "PENDING" && task.running_since == 0) task.running_since = seconds_since_1970();
  }
  if (waited && task.looks_missed == 0) return std::nullopt;
  if (std::optional<EndedTrial> end = read_task_end(task.folder, task.job)) return end;
  // What was taken out of the queue before it ran will write nothing.
  if (task.looks_missed >= (stopping_ && waited ? 1 : looks_before_lost)) return lost;
  return std::nullopt;
}

void SlurmExecutor::cancel() {
  stopping_ = true;
  next_look_ = {};
}

/// Again at each look: a task may have begun, or come back into the queue, since the last one.
std::string SlurmExecutor::stop(const Queue& queue) {
  std::set<std::int64_t> waiting, running;
  std::vector<Task*> asked;
  for (const auto& [key, queued] : queue) {
    const auto found = tasks_.find(key.first);
    if (found == tasks_.end() || found->second.job != key.second) continue;
    if (queued.state == "PENDING") waiting.insert(queued.number);
    if (queued.state != "RUNNING" || found->second.asked_to_stop) continue;
    running.insert(queued.number);
    asked.push_back(&found->second);
  }
  std::string problem = slurm_.cancel({waiting.begin(), waiting.end()}, {running.begin(), running.end()}, "USR2");
  for (Task* task : asked) task->asked_to_stop = problem.empty();
  return problem;
}

/// What Slurm's programs complain of, once; they are asked again at the next look.
void SlurmExecutor::tell(const std::string& problem) {
  if (!problem.empty() && problem != problem_) note("Slurm: " + problem);
  if (problem.empty() && !problem_.empty()) note("Slurm answers again");
  problem_ = problem;
}

void disown_slurm_tasks(const fs::path& folder) {
  SlurmRecord record(folder);
  const std::vector<std::string> trials = record.assigned();
  if (!trials.empty()) record.disown(trials);
}

}  // namespace temper
