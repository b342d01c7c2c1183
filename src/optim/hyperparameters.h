// The numbers of each update: a pure function of configuration and update, so that nothing about them needs saving.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "config/run_config.h"
#include "kernels/update_rules.h"
#include "optim/schedule.h"

namespace temper {

/// What decay beside the step does over a run, for tensors at the full rate. Wang & Aitchison, arXiv 2405.13698.
struct DecaySummary {
  double timescale;  ///< tau: updates at the peak rate that lose 1/tau of a weight each, before decay_schedule
  double share;      ///< of the run that tau is
  double sum;        ///< of what the updates of the run lose: rate x decay over the whole schedule
  /// sqrt(rate / (2 decay)), as AdamW's weights have it at the peak rate; nothing where norms are held.
  std::optional<double> equilibrium_rms;
};

class Hyperparameters {
 public:
  /// `config` as resolved_optimizer gives it.
  Hyperparameters(const OptimizerConfig& config, const Schedule& schedule);

  /// The host's group of update k = 0, 1, ...; the rest is 0. `earlier`: updates that the moments saw before k = 0 (a branched
  /// run). Cheap for one k after another; a jump costs one pass over the updates before it. One thread at a time.
  StepScalars at(std::int64_t k, std::int64_t earlier = 0) const;

  /// For people, logs and plots, at update k: peak rate x s_k; the first moment's decay rate; the share of itself that a decayed
  /// weight loses (for L2 the coefficient of w in the gradient).
  double learning_rate(std::int64_t k) const;
  double momentum(std::int64_t k) const;
  double decay(std::int64_t k) const;
  /// Nothing where no weight decays beside the step.
  std::optional<DecaySummary> decay_summary() const;

 private:
  /// What depends on all updates so far.
  struct History {
    double decayed = 1.0;       ///< product of the first moment's decay rates
    double largest_rate = 0.0;  ///< Schedule-Free weighs points by its square
    double weight = 0.0;        ///< of the newest point in the average
    double weights = 0.0;       ///< sum of all
  };
  History after(History before, std::int64_t update, std::int64_t earlier) const;
  History history(std::int64_t updates, std::int64_t earlier) const;
  double rotation(std::int64_t k) const;
  double decay_scalar(std::int64_t k) const;
  bool corrects_rate() const;
  double rate_correction(std::int64_t update) const;

  OptimizerConfig config_;
  Schedule schedule_;
  // Every so many updates one history is kept, so that the next is near; of a run with that many earlier updates.
  mutable std::vector<History> kept_ = {History{}};
  mutable std::int64_t kept_earlier_ = 0;
};

}  // namespace temper
