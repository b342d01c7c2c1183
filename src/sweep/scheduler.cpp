#include "sweep/scheduler.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <deque>
#include <map>
#include <set>
#include <thread>

#include "io/error.h"
#include "io/text.h"
#include "sweep/ranking.h"
#include "train/progress.h"
#include "train/signals.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

constexpr auto pause_between_polls = std::chrono::milliseconds(20);

/// Whether somebody stopped the process, rather than the run ending itself. A run that gets a second signal exits with 128 +
/// signal.
bool was_stopped(const ProcessEnd& end) {
  const int signal = end.signal != 0 ? end.signal : end.exit_code - 128;
  constexpr std::array from_outside = {SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGUSR1, SIGUSR2};
  return end.exit_code == static_cast<int>(ExitCode::saved) ||
         std::find(from_outside.begin(), from_outside.end(), signal) != from_outside.end();
}

/// How far all trials are, on stderr: a line that rewrites itself on a terminal, a line per ended trial and per minute elsewhere.
class SweepProgress {
 public:
  /// What is done already: it does not count for the rate.
  void begin(const SweepPlan& plan) {
    begin_ = Clock::now();
    flops_before_ = spent(plan).flops;
  }
  /// Whether the line is old enough to be shown anew.
  bool due() const { return Clock::now() - shown_ >= std::chrono::milliseconds(terminal_ ? 500 : 2000); }
  void show(const SweepPlan& plan, std::size_t running);
  /// A trial finished or failed.
  void ended(const Sweep& sweep, const SweepPlan& plan, const PlannedTrial& trial);
  void note(const std::string& text) { line_.note(text); }

 private:
  using Clock = std::chrono::steady_clock;

  std::string summary(const SweepPlan& plan) const;

  Progress line_{1, 1};
  bool terminal_ = isatty(STDERR_FILENO) == 1;
  Clock::time_point begin_ = Clock::now(), shown_ = Clock::now(), minute_ = Clock::now();
  double flops_before_ = 0.0;
};

std::string SweepProgress::summary(const SweepPlan& plan) const {
  const std::size_t failed = plan.count(TrialState::failed);
  std::string text = std::to_string(plan.count(TrialState::finished) + plan.count(TrialState::stopped)) + "/" +
                     std::to_string(plan.known() + plan.trials_to_come) + " trials done";
  if (failed > 0) text += ", " + std::to_string(failed) + " failed";
  const double elapsed = std::chrono::duration<double>(Clock::now() - begin_).count();
  const double worked = spent(plan).flops - flops_before_;
  if (worked > 0 && elapsed > 0) text += ", " + format_duration(plan.flops_left() * elapsed / worked) + " left";
  return text;
}

void SweepProgress::show(const SweepPlan& plan, std::size_t running) {
  shown_ = Clock::now();
  const std::string text = std::to_string(running) + " running, " + summary(plan);
  double flops = plan.flops_to_come;
  for (const PlannedTrial* planned : plan.trials()) flops += planned->trial->flops;
  const double share = std::clamp(1.0 - plan.flops_left() / flops, 0.0, 1.0);
  line_.activity(text, share);
  if (terminal_ || Clock::now() - minute_ < std::chrono::minutes(1)) return;
  minute_ = Clock::now();
  line_.note(fmt::format("{:.0f} %, {}", 100.0 * share, text));
}

void SweepProgress::ended(const Sweep& sweep, const SweepPlan& plan, const PlannedTrial& trial) {
  std::string text =
      describe(sweep.file, sweep.configurations[trial.trial->configuration]) + ", seed " + std::to_string(trial.trial->seed);
  if (sweep.rungs.size() > 1) text += ", rung " + std::to_string(trial.trial->rung + 1);
  if (trial.status.state == TrialState::failed) {
    text +=
        ": failed with " + trial.status.failure + ", see " + (trial_folder(sweep.folder, *trial.trial) / "failure.json").string();
  } else if (trial.status.state == TrialState::stopped) {
    text += ": stopped at " + trial.status.failure;
  } else if (trial.status.metric) {
    text += ": " + sweep.file.metric.name + " " + number_text(trial.status.metric);
  } else {
    text += ": finished without " + sweep.file.metric.name;
  }
  note(text + "  (" + summary(plan) + ")");
}

class Scheduler {
 public:
  Scheduler(const Sweep& sweep, Executor& executor, SweepPlan& plan, SweepProgress& progress)
      : sweep_(sweep), executor_(executor), plan_(plan), progress_(progress) {}

  /// Runs these trials of the plan. False: a signal came, or the seconds are spent.
  bool run(std::deque<PlannedTrial*> queue) {
    queue_ = std::move(queue);
    adopt();
    while (!queue_.empty() || !running_.empty()) {
      if (StopSignals::requested() && !stopping_) stop();
      for (const EndedTrial& ended : executor_.poll()) handle(ended);
      if (!queue_.empty() && executor_.has_room()) start_what_fits();
      if (progress_.due()) {
        for (auto& [id, trial] : running_)
          if (!executor_.waits(id)) read_status(*trial);
        progress_.show(plan_, at_work());
      }
      std::this_thread::sleep_for(pause_between_polls);
    }
    return !stopping_ && !out_of_seconds_;
  }

  bool interrupted() const { return stopping_; }

 private:
  struct Stops {
    int in_a_row = 0;
    std::int64_t steps = 0;  // done at the last of them
  };

  fs::path folder(const PlannedTrial& planned) const { return trial_folder(sweep_.folder, *planned.trial); }

  void read_status(PlannedTrial& planned) const { planned.status = read_trial(folder(planned), *planned.trial, sweep_.file); }

  /// Trials that were started and do not wait for a machine.
  std::size_t at_work() const {
    return static_cast<std::size_t>(
        std::count_if(running_.begin(), running_.end(), [&](const auto& each) { return !executor_.waits(each.first); }));
  }

  TrialLaunch launch(const PlannedTrial& planned) const { return {planned.trial->id, folder(planned), sweep_.file.stop_when}; }

  /// What an earlier process of this sweep started somewhere that outlived it. A failure that it has recorded is told already.
  void adopt() {
    std::vector<TrialLaunch> perhaps;
    for (const PlannedTrial* planned : queue_)
      if (planned->status.state != TrialState::failed) perhaps.push_back(launch(*planned));
    const std::vector<std::string> adopted = executor_.adopt(perhaps);
    if (adopted.empty()) return;
    const std::set<std::string> ids(adopted.begin(), adopted.end());
    std::erase_if(queue_, [&](PlannedTrial* planned) {
      return ids.contains(planned->trial->id) && running_.emplace(planned->trial->id, planned).second;
    });
    progress_.note(std::to_string(adopted.size()) + " trials were started before, and go on");
  }

  void stop() {
    stopping_ = true;
    queue_.clear();
    progress_.note(std::string(StopSignals::name()) + ": " + std::to_string(at_work()) + " trials are saving");
    executor_.cancel();
  }

  void start_what_fits() {
    const double seconds = sweep_.file.budget.seconds;
    if (seconds > 0 && spent(plan_).seconds >= seconds) {
      out_of_seconds_ = true;
      queue_.clear();
    }
    const bool idle = running_.empty();
    for (std::size_t tried = queue_.size(); tried > 0 && executor_.has_room(); --tried) {
      PlannedTrial* planned = queue_.front();
      queue_.pop_front();
      if (is_in_use(folder(*planned))) {
        queue_.push_back(planned);  // a process of an earlier sweep is saving there; its turn comes again
        continue;
      }
      start(*planned);
    }
    if (!idle || !running_.empty() || queue_.empty() || waits_) return;
    waits_ = true;
    progress_.note("waiting for the process that still works in " + folder(*queue_.front()).string());
  }

  void start(PlannedTrial& planned) {
    read_status(planned);
    if (planned.ended() && planned.status.state != TrialState::failed)
      return progress_.ended(sweep_, plan_, planned);  // by that process
    const Trial& trial = *planned.trial;
    const fs::path here = folder(planned);
    prepare_trial(here, trial, sweep_.file, sweep_.configurations[trial.configuration]);
    executor_.start(launch(planned));
    running_[trial.id] = &planned;
  }

  void handle(const EndedTrial& ended) {
    PlannedTrial& planned = *running_.at(ended.id);
    running_.erase(ended.id);
    if (ended.times.started > 0) record_process(folder(planned), ended.times, ended.end);
    read_status(planned);
    if (planned.status.state != TrialState::finished && planned.status.state != TrialState::stopped) {
      // A task that was in the queue when stop_when changed ends by the one before.
      const bool by_another = ended.end.exit_code == 0 && ended.end.signal == 0 && fs::exists(folder(planned) / "summary.json");
      if ((was_stopped(ended.end) || by_another) && (stopping_ || may_go_on(planned))) {
        if (!stopping_) queue_.push_back(&planned);
        return;
      }
      record_failure(folder(planned), ended.end);
      read_status(planned);
    }
    progress_.ended(sweep_, plan_, planned);
  }

  bool may_go_on(const PlannedTrial& planned) {
    constexpr int most = 3;  // what is killed again and again without a step has a cause here, such as too little memory
    Stops& stops = stops_[planned.trial->id];
    stops.in_a_row = planned.status.steps > stops.steps ? 1 : stops.in_a_row + 1;
    stops.steps = planned.status.steps;
    return stops.in_a_row <= most;
  }

  const Sweep& sweep_;
  Executor& executor_;
  SweepPlan& plan_;
  SweepProgress& progress_;
  std::deque<PlannedTrial*> queue_;
  std::map<std::string, PlannedTrial*> running_;
  std::map<std::string, Stops> stops_;
  bool stopping_ = false;
  bool out_of_seconds_ = false;
  bool waits_ = false;  // and has said so
};

void check_seconds(const Sweep& sweep, const SweepPlan& plan) {
  const std::optional<double> left = seconds_left(plan);
  const double used = spent(plan).seconds;
  if (sweep.file.budget.seconds == 0 || plan.ended() || used + left.value_or(0.0) <= sweep.file.budget.seconds) return;
  throw Error(ExitCode::usage, "budget.seconds is " + format_duration(sweep.file.budget.seconds) +
                                   " of training; the trials took " + format_duration(used) + " and what is left needs " +
                                   (left ? "about " + format_duration(*left) : std::string("more")) +
                                   "; raise the budget, or give fewer values, seeds or steps");
}

std::deque<PlannedTrial*> to_run(SweepPlan& plan, bool retry_failed) {
  std::deque<PlannedTrial*> queue;
  for (auto& rung : plan.rungs) {
    for (PlannedTrial& trial : rung) {
      if (!trial.ended() || (retry_failed && trial.status.state == TrialState::failed)) queue.push_back(&trial);
    }
  }
  return queue;
}

}  // namespace

std::optional<double> seconds_left(const SweepPlan& plan) {
  const Spent so_far = spent(plan);
  if (so_far.flops == 0 || so_far.seconds == 0) return std::nullopt;
  return plan.flops_left() * so_far.seconds / so_far.flops;
}

SweepOutcome run_sweep(const Sweep& sweep, Executor& executor, bool retry_failed) {
  const StopSignals signals;
  SweepOutcome outcome;
  SweepProgress progress;
  SweepPlan plan = read_plan(sweep);
  check_seconds(sweep, plan);
  while (true) {
    std::deque<PlannedTrial*> queue = to_run(plan, retry_failed);
    if (queue.empty()) break;
    retry_failed = false;  // once is what was asked for
    progress.begin(plan);
    Scheduler scheduler(sweep, executor, plan, progress);
    if (!scheduler.run(std::move(queue))) {
      outcome.interrupted = scheduler.interrupted();
      outcome.out_of_seconds = !outcome.interrupted;
      break;
    }
    plan = read_plan(sweep);
  }
  plan = read_plan(sweep);
  outcome.failed = plan.count(TrialState::failed);
  outcome.left = plan.count(TrialState::waiting) + plan.count(TrialState::interrupted) + plan.trials_to_come;
  return outcome;
}

}  // namespace temper
