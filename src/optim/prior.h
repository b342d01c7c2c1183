// What diagnostics want to know of an optimizer: how weights decay and directions average, and the Gaussian priors that decay stands
// for. Only where one rank has everything. An offset is a place in the flat buffers; k is the update that was made.
#pragma once

#include <cstdint>
#include <optional>

#include "optim/optimizer.h"

namespace temper {

/// How the decay can be taken out of an update again, and the weight_decay of which DecayInChange::share makes the weight's share. That is
/// 0 where nothing can be taken out: there is no decay, the norm is held, or the decay is in a gradient that moments have taken in.
DecayInChange decay_in_change(const Optimizer& optimizer);
float decay_of(const Optimizer& optimizer, std::int64_t offset);

/// The first moment of all gradients, f32 flat; absent where the rule has none.
TensorView first_moment(const Optimizer& optimizer);

/// The place of its segment among the pipeline's.
std::size_t segment_at(const Optimizer& optimizer, std::int64_t offset);

/// Decay rate of the average of gradients that the direction is there; 0: the gradient itself. Absent where it is another mixture.
std::optional<double> direction_beta(const Optimizer& optimizer, std::int64_t offset, std::int64_t k);

/// Standard deviation of the prior that L2 stands for when the loss is a mean over `tokens`: 1/sqrt(tokens lambda). Absent for
/// other decay.
std::optional<double> prior_deviation(const Optimizer& optimizer, std::int64_t offset, std::int64_t k, double tokens);

/// Decoupled decay under Adam is a prior of w sqrt(s), with s Adam's preconditioner: what makes s. Absent where no tensor has both.
struct Preconditioner {
  PriorScale scale;
  TensorView second_moment;  ///< f32 flat
};
std::optional<Preconditioner> preconditioner(const Optimizer& optimizer, std::int64_t k);
/// Standard deviation of that prior: 1/sqrt(tokens lambda) with lambda the decay over the rate.
std::optional<double> preconditioned_prior_deviation(const Optimizer& optimizer, std::int64_t offset, std::int64_t k,
                                                     double tokens);

}  // namespace temper
