#include "train/incidents.h"

#include <fmt/format.h>

#include "train/agreement.h"

namespace temper {

/// One more of what the run may have only so many of.
void Incidents::count(TrainerState& state, const StepRecord& record, const std::string& what, const char* then) {
  const std::int64_t limit = config_.nonfinite_limit;
  if (++state.incidents > limit)
    fail_together(
        ranks_, ExitCode::numeric,
        fmt::format("step {}: {}. {} steps were skipped or rolled back before, and train.nonfinite_limit is {}; {}. Try a "
                    "lower optimizer.learning_rate, a longer warmup or optimizer.grad_clip, or look at the data.",
                    record.step, what, state.incidents - 1, limit, checkpoints_.standing()));
  progress_.note(fmt::format("warning: step {}: {}; {}: {} of at most {} (train.nonfinite_limit)", record.step, what, then,
                             state.incidents, limit));
}

bool Incidents::survive_nonfinite(TrainerState& state, const StepRecord& record, const std::string& what, const char* skipped) {
  const OnNonfinite policy = config_.on_nonfinite;
  const bool result = record.val_loss && record.step == steps_;  // by which the run is judged
  if (policy == OnNonfinite::stop || (policy == OnNonfinite::rollback && checkpoints_.last().empty()) ||
      (policy == OnNonfinite::skip && result))
    fail_together(
        ranks_, ExitCode::numeric,
        fmt::format("step {}: {}. {}; {}. Try a lower optimizer.learning_rate, a longer warmup or "
                    "optimizer.grad_clip{}.",
                    record.step, what, record.val_loss ? "Nothing was saved" : "The update was not made and nothing was saved",
                    checkpoints_.standing(), result ? "" : "; train.on_nonfinite=skip goes on without it"));
  count(state, record, what, policy == OnNonfinite::skip ? skipped : "going back");
  return policy == OnNonfinite::skip;
}

bool Incidents::pass_spike(TrainerState& state, StepRecord& record) {
  record.spike = state.recent_losses.judge(*record.loss, config_.spike_sigmas);
  if (!record.spike) return true;
  const std::string what = fmt::format("loss {:.4f}, {:.1f} standard deviations above those before (train.spike_sigmas is {:g})",
                                       *record.loss, *record.spike, config_.spike_sigmas);
  if (config_.on_spike == OnSpike::rollback && !checkpoints_.last().empty()) {
    count(state, record, what, "going back");
    return false;
  }
  if (state.recent_losses.spikes_in_row == 1) progress_.note(fmt::format("warning: step {}: {}", record.step, what));
  return true;
}

}  // namespace temper
