#include "sweep/sweep_progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace temper {
namespace {

double all_flops(const SweepPlan& plan) {
  double flops = plan.flops_to_come;
  for (const auto& rung : plan.rungs) {
    for (const PlannedTrial& planned : rung) flops += planned.trial->flops;
  }
  return flops;
}

/// Work that needs no doing any more: a failed trial's rest too.
double settled_flops(const SweepPlan& plan) {
  double flops = spent(plan).flops;
  for (const auto& rung : plan.rungs) {
    for (const PlannedTrial& planned : rung) {
      if (planned.status.state != TrialState::failed) continue;
      flops += planned.trial->flops - spent({{{planned}}}).flops;
    }
  }
  return flops;
}

}  // namespace

SweepProgress::SweepProgress() : terminal_(isatty(STDERR_FILENO) == 1) {}

void SweepProgress::begin(const SweepPlan& plan) {
  begin_ = Clock::now();
  flops_before_ = spent(plan).flops;
}

bool SweepProgress::due() const { return Clock::now() - shown_ >= std::chrono::milliseconds(terminal_ ? 500 : 2000); }

double SweepProgress::share(const SweepPlan& plan) const { return std::clamp(settled_flops(plan) / all_flops(plan), 0.0, 1.0); }

std::string SweepProgress::summary(const SweepPlan& plan) const {
  const std::size_t failed = plan.count(TrialState::failed);
  std::string text =
      std::to_string(plan.count(TrialState::finished)) + "/" + std::to_string(plan.known() + plan.trials_to_come) + " trials done";
  if (failed > 0) text += ", " + std::to_string(failed) + " failed";
  const double elapsed = std::chrono::duration<double>(Clock::now() - begin_).count();
  const double worked = spent(plan).flops - flops_before_;
  if (worked > 0 && elapsed > 0) {
    text += ", " + format_duration((all_flops(plan) - settled_flops(plan)) * elapsed / worked) + " left";
  }
  return text;
}

void SweepProgress::show(const SweepPlan& plan, std::size_t running) {
  shown_ = Clock::now();
  const std::string text = std::to_string(running) + " running, " + summary(plan);
  line_.activity(text, share(plan));
  if (terminal_ || Clock::now() - minute_ < std::chrono::minutes(1)) return;
  minute_ = Clock::now();
  char percent[16];
  std::snprintf(percent, sizeof(percent), "%.0f %%, ", 100.0 * share(plan));
  line_.note(percent + text);
}

void SweepProgress::ended(const Sweep& sweep, const SweepPlan& plan, const PlannedTrial& trial) {
  std::string text =
      describe(sweep.file, sweep.configurations[trial.trial->configuration]) + ", seed " + std::to_string(trial.trial->seed);
  if (sweep.rungs.size() > 1) text += ", rung " + std::to_string(trial.trial->rung + 1);
  if (trial.status.state == TrialState::failed) {
    text +=
        ": failed with " + trial.status.failure + ", see " + (trial_folder(sweep.folder, *trial.trial) / "failure.json").string();
  } else if (trial.status.metric) {
    char number[64];
    std::snprintf(number, sizeof(number), " %.4f", *trial.status.metric);
    text += ": " + sweep.file.metric.name + number;
  } else {
    text += ": finished without " + sweep.file.metric.name;
  }
  line_.note(text + "  (" + summary(plan) + ")");
}

}  // namespace temper
