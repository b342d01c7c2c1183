#include "optim/prior.h"

#include <cmath>
#include <span>
#include <variant>

#include "kernels/check.h"

namespace temper {

namespace {

const Pipeline& whole_pipeline(const Optimizer& optimizer) {
  require(optimizer.place().begins.size() == 2, "Optimizer: diagnostics are for one rank that has everything");
  return optimizer.pipeline();
}

/// Null where none holds the offset.
const ParameterSegment* find_segment(std::span<const ParameterSegment> segments, std::int64_t offset) {
  for (const ParameterSegment& segment : segments)
    if (offset >= segment.offset && offset < segment.offset + segment.rows * segment.columns) return &segment;
  return nullptr;
}

/// The part in which Adam's preconditioner and a decay beside it, or on its scale, meet; null where they do in none.
const UpdatePart* preconditioned_part(const Pipeline& pipeline) {
  for (const UpdatePart& part : pipeline.parts) {
    const DecayForm form = part.settings.decay_form;
    if (form != DecayForm::multiplicative && form != DecayForm::scaled_gradient) continue;
    if (std::holds_alternative<Adam>(part.rule) || std::holds_alternative<AdEMAMix>(part.rule)) return &part;
  }
  return nullptr;
}

std::optional<double> deviation_of_prior(double tokens, double lambda) {
  return std::isfinite(lambda) && lambda > 0.0 ? std::optional(1.0 / std::sqrt(tokens * lambda)) : std::nullopt;
}

}  // namespace

DecayInChange decay_in_change(const Optimizer& optimizer) {
  const UpdatePart& part = whole_pipeline(optimizer).parts[0];  // all decay in the same form
  return {.cautious = part.settings.decay_form == DecayForm::cautious,
          .averaged = optimizer.average().exists(),
          .with_rate = part.settings.decay_form == DecayForm::gradient};
}

float decay_of(const Optimizer& optimizer, std::int64_t offset) {
  const Pipeline& pipeline = whole_pipeline(optimizer);
  for (const UpdatePart& part : pipeline.parts) {
    const DecayForm form = part.settings.decay_form;
    const bool adds_gradient = form == DecayForm::gradient && std::holds_alternative<PlainGradient>(part.rule);
    if (form != DecayForm::multiplicative && form != DecayForm::cautious && !adds_gradient) continue;
    const ParameterSegment* segment = find_segment(segments_of(pipeline, part), offset);
    if (segment == nullptr || segment->control == NormControl::direction) continue;
    return segment->weight_decay * (adds_gradient ? segment->learning_rate_scale : 1.0f);
  }
  return 0.0f;
}

TensorView first_moment(const Optimizer& optimizer) {
  whole_pipeline(optimizer);
  return optimizer.flat_states().empty() || optimizer.average().exists() ? TensorView{} : optimizer.flat_states()[0];
}

std::size_t segment_at(const Optimizer& optimizer, std::int64_t offset) {
  const std::vector<ParameterSegment>& segments = whole_pipeline(optimizer).segments;
  const ParameterSegment* segment = find_segment(segments, offset);
  require(segment != nullptr, "Optimizer: no segment holds the offset");
  return static_cast<std::size_t>(segment - segments.data());
}

std::optional<double> direction_beta(const Optimizer& optimizer, std::int64_t offset, std::int64_t k) {
  const auto index = static_cast<std::int64_t>(segment_at(optimizer, offset));
  for (const UpdatePart& part : optimizer.pipeline().parts) {
    if (index < part.first || index >= part.first + part.count) continue;
    if (std::holds_alternative<Lion>(part.rule) || std::holds_alternative<AdEMAMix>(part.rule)) return std::nullopt;
    if (std::holds_alternative<PlainGradient>(part.rule) || std::holds_alternative<ScheduleFree>(part.rule)) return 0.0;
    return static_cast<double>(optimizer.scalars_at(k, part).beta1);
  }
  return std::nullopt;
}

std::optional<double> prior_deviation(const Optimizer& optimizer, std::int64_t offset, std::int64_t k, double tokens) {
  const Pipeline& pipeline = whole_pipeline(optimizer);
  if (optimizer.config().decay != DecayMode::l2) return std::nullopt;
  const auto with_gradient = std::span(pipeline.segments).first(static_cast<std::size_t>(pipeline.with_gradient));
  const ParameterSegment* segment = find_segment(with_gradient, offset);
  if (segment == nullptr) return std::nullopt;
  const double decay = static_cast<double>(optimizer.scalars_at(k, pipeline.parts[0]).decay);
  return deviation_of_prior(tokens, decay * static_cast<double>(segment->weight_decay));
}

std::optional<Preconditioner> preconditioner(const Optimizer& optimizer, std::int64_t k) {
  const UpdatePart* part = preconditioned_part(whole_pipeline(optimizer));
  if (part == nullptr) return std::nullopt;
  const OptimizerConfig& config = optimizer.config();
  PriorScale scale;
  scale.root_scale = 1.0f / std::sqrt(optimizer.scalars_at(k, *part).bias_correction2);
  scale.epsilon = static_cast<float>(config.eps);
  if (config.eps_placement == EpsilonPlacement::inside) scale.epsilon *= scale.root_scale;
  return Preconditioner{scale, optimizer.flat_states()[1]};
}

std::optional<double> preconditioned_prior_deviation(const Optimizer& optimizer, std::int64_t offset, std::int64_t k,
                                                     double tokens) {
  const Pipeline& pipeline = whole_pipeline(optimizer);
  const UpdatePart* part = preconditioned_part(pipeline);
  const ParameterSegment* segment = part != nullptr ? find_segment(segments_of(pipeline, *part), offset) : nullptr;
  if (segment == nullptr || segment->control != NormControl::none) return std::nullopt;
  const StepScalars scalars = optimizer.scalars_at(k, *part);
  double lambda = static_cast<double>(scalars.decay) * static_cast<double>(segment->weight_decay);
  if (part->settings.decay_form == DecayForm::multiplicative)
    lambda /= static_cast<double>(scalars.learning_rate) * static_cast<double>(segment->learning_rate_scale);
  return deviation_of_prior(tokens, lambda);
}

}  // namespace temper
