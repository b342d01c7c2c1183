#include "optim/pipeline.h"

#include <fnmatch.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>
#include <type_traits>
#include <variant>

#include "config/suggest.h"
#include "config/value.h"
#include "io/error.h"
#include "kernels/check.h"

namespace temper {

namespace {

/// Names with their layer's number replaced by "*", each once: what a person would write.
std::vector<std::string> name_patterns(const std::vector<OptimizedTensor>& tensors) {
  std::vector<std::string> patterns;
  for (const OptimizedTensor& tensor : tensors) {
    std::string pattern = tensor.name;
    const std::string number = std::string(".").append(std::to_string(tensor.layer)).append(".");
    if (const std::size_t at = pattern.find(number); tensor.layer >= 0 && at != std::string::npos)
      pattern.replace(at, number.size(), ".*.");
    if (std::find(patterns.begin(), patterns.end(), pattern) == patterns.end()) patterns.push_back(pattern);
  }
  return patterns;
}

/// Edits between the glob and the part of the name that is most like it.
std::size_t distance(std::string glob, const std::string& name) {
  glob.erase(0, glob.find_first_not_of('*') == std::string::npos ? glob.size() : glob.find_first_not_of('*'));
  glob.erase(glob.find_last_not_of('*') + 1);
  std::size_t least = std::numeric_limits<std::size_t>::max();
  for (std::size_t at = 0; at == 0 || at + glob.size() <= name.size(); ++at)
    least = std::min(least, edit_distance(glob, name.substr(at, glob.size())));
  return least;
}

std::string nearest_names(const std::string& glob, const std::vector<OptimizedTensor>& tensors) {
  std::vector<std::string> names = name_patterns(tensors);
  std::stable_sort(names.begin(), names.end(),
                   [&](const std::string& one, const std::string& other) { return distance(glob, one) < distance(glob, other); });
  std::string list;
  for (std::size_t i = 0; i < std::min<std::size_t>(3, names.size()); ++i) list += (i == 0 ? "" : ", ") + names[i];
  return list;
}

/// What each tensor is multiplied with: the factor of the last line that matches its name, or 1.
std::vector<double> factors(const std::string& key, const std::vector<std::string>& lines,
                            const std::vector<OptimizedTensor>& tensors) {
  std::vector<double> all(tensors.size(), 1.0);
  for (const std::string& line : lines) {
    const std::optional<GlobFactor> one = parse_glob_factor(line);
    if (!one) throw Error(ExitCode::usage, key + " holds \"" + line + "\"; a line is GLOB=FACTOR with a factor of 0 or more");
    bool matched = false;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (fnmatch(one->glob.c_str(), tensors[i].name.c_str(), 0) != 0) continue;
      all[i] = one->factor;
      matched = true;
    }
    if (!matched)
      throw Error(ExitCode::usage, "{}: no tensor's name matches \"{}\"; nearest are {}", key, one->glob,
                  nearest_names(one->glob, tensors));
  }
  return all;
}

/// How much smaller squared norms of weights come out under LionA than under AdamW, for gradients that are noise: the sum over the
/// autocorrelation of the signs of an average, by the arcsine law, beside that of the average itself.
double squared_norm_ratio(double beta, bool nesterov) {
  // Looking ahead lowers the average's correlation with all that lies further away by one factor.
  double first = 1.0;
  if (nesterov) {
    const double further = beta * beta * beta * beta / (1.0 - beta * beta);
    first = ((1.0 + beta) * beta + further) / ((1.0 + beta) * (1.0 + beta) + further);
  }
  double sum = 1.0;
  for (double correlation = first * beta; correlation > 1e-17; correlation *= beta)
    sum += 4.0 / std::numbers::pi * std::asin(correlation);
  return (1.0 - beta) / (1.0 + beta) * sum;
}

UpdateRule make_rule(const OptimizerConfig& config) {
  const auto beta2 = static_cast<float>(*config.beta2), eps = static_cast<float>(config.eps);
  switch (config.name) {
    case OptimizerName::sgd:
    case OptimizerName::sgdw:
      if (*config.momentum == 0.0) return PlainGradient{};
      return Momentum{config.nesterov};
    case OptimizerName::lion:
      return Lion{beta2};
    case OptimizerName::nesterov_lion:
      return SignMomentum{true, 1.0f};
    case OptimizerName::liona:
    case OptimizerName::lionar:
      return SignMomentum{config.nesterov, static_cast<float>(sign_scale(config))};
    case OptimizerName::ademamix:
      return AdEMAMix{beta2, eps};
    case OptimizerName::schedule_free_adamw:
      return ScheduleFree{beta2, eps};
    case OptimizerName::adam:
    case OptimizerName::adamw:
    case OptimizerName::adamc:
    case OptimizerName::adamh:
    case OptimizerName::muon:
      break;
  }
  return Adam{beta2, eps, config.eps_placement == EpsilonPlacement::inside, config.bias_correction == BiasCorrection::both};
}

DecayForm decay_form(const OptimizerConfig& config) {
  switch (*config.decay) {
    case DecayMode::decoupled:
    case DecayMode::independent:
    case DecayMode::normalized:
      return DecayForm::multiplicative;
    case DecayMode::cautious:
      return DecayForm::cautious;
    case DecayMode::l2:
      return config.l2_stage == L2Stage::after_clipping ? DecayForm::gradient : DecayForm::none;
    case DecayMode::scale_adjusted:
      return DecayForm::scaled_gradient;
    case DecayMode::none:
      break;
  }
  return DecayForm::none;
}

UpdateSettings make_settings(const OptimizerConfig& config) {
  UpdateSettings settings;
  settings.decay_form = decay_form(config);
  if (config.clip_mode == ClipMode::value) settings.clip_value = static_cast<float>(config.grad_clip);
  settings.zero_mean = config.rotation_zero_mean;
  settings.averaging = static_cast<float>(config.rotation_averaging);
  settings.gains = gains_of(config);
  return settings;
}

/// What multiplies a tensor's rate, but for steps that keep a norm or turn by an angle, under model.mup_base_width: with m =
/// width_ratio, f = fold and a "matrix" one of a block,
///   update follows       matrix     else
///   the rate alone       f/m        f     Yang et al., arXiv 2203.03466, table 8: Adam
///   the gradient         f^2        f^2 m the same: SGD
///   shape, by `shape`    f          -     spectral norms stay, as by `shape` here: Yang, Simon & Bernstein, arXiv 2310.17813
///   shape, match_rms     f/sqrt(m)  -     which grow as the root of the width by match_rms
/// What a weight loses by decay is that at the base width (Kosson et al., arXiv 2510.19093), so angles, which follow from that, do
/// not change either.
double width_factor(const OptimizerConfig& config, const OptimizedTensor& tensor) {
  const double m = tensor.width_ratio, fold = tensor.fold;
  const bool matrix = tensor.kind == ParameterKind::matrix;
  const UpdateSize size = traits_of(config.name).update_size;
  if (size == UpdateSize::gradient) return fold * fold * (matrix ? 1.0 : m);
  if (!matrix) return fold;
  if (size == UpdateSize::rate) return fold / m;
  return config.muon_scale == MuonScale::shape ? fold : fold / std::sqrt(m);
}

class PipelineMaker {
 public:
  PipelineMaker(const OptimizerConfig& config, const std::vector<OptimizedTensor>& tensors)
      : config_(config),
        tensors_(tensors),
        rates_(factors("optimizer.rate_factors", config.rate_factors, tensors)),
        decays_(factors("optimizer.decay_factors", config.decay_factors, tensors)) {
    require(config.learning_rate && config.weight_decay, "learning_rate and weight_decay of a validated configuration");
    std::int64_t layers = 0;
    for (const OptimizedTensor& tensor : tensors) layers = std::max(layers, tensor.layer + 1);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const OptimizedTensor& tensor = tensors[i];
      if (tensor.layer >= 0) rates_[i] *= std::pow(config.depth_rate_factor, static_cast<double>(layers - 1 - tensor.layer));
      if (has_other_rate(tensor)) rates_[i] *= *config.other_learning_rate / *config.learning_rate;
      decays_[i] *= decays(tensor) && config.decay != DecayMode::none ? *config.weight_decay : 0.0;
    }
  }

  Pipeline make() {
    const UpdateSettings settings = make_settings(config_);
    made_.scales_tensors =
        (config_.clip_mode == ClipMode::tensor && config_.grad_clip > 0.0) || config_.rate_correction != RateCorrectionChoice::none;
    if (config_.name != OptimizerName::muon) {
      for (std::size_t i = 0; i < tensors_.size(); ++i) add_plain(i);
      made_.with_gradient = size();
      made_.parts.push_back({make_rule(config_), settings, 0, size()});
      return std::move(made_);
    }
    UpdateSettings after_direction = settings;
    after_direction.clip_norm = false;
    after_direction.clip_value = 0.0f;
    for (std::size_t i = 0; i < tensors_.size(); ++i)
      if (tensors_[i].kind == ParameterKind::matrix) add_direction(i);
    const std::int64_t matrices = size();
    for (std::size_t i = 0; i < tensors_.size(); ++i)
      if (tensors_[i].kind != ParameterKind::matrix) add_plain(i);
    const std::int64_t with_gradient = made_.with_gradient = size();
    for (std::size_t i = 0; i < tensors_.size(); ++i)
      if (tensors_[i].kind == ParameterKind::matrix) add_orthogonal_step(i);
    made_.parts = {{Momentum{true}, settings, 0, matrices},
                   {PlainGradient{}, after_direction, with_gradient, matrices},
                   {make_rule(config_), settings, matrices, with_gradient - matrices, true}};
    return std::move(made_);
  }

 private:
  std::int64_t size() const { return static_cast<std::int64_t>(made_.segments.size()); }

  bool has_other_rate(const OptimizedTensor& tensor) const {
    return (config_.name == OptimizerName::muon || config_.name == OptimizerName::adamh) && tensor.kind != ParameterKind::matrix;
  }

  /// Of steps that neither keep a norm nor turn by an angle.
  double rate_of(std::size_t i) const { return rates_[i] * width_factor(config_, tensors_[i]); }

  bool decays(const OptimizedTensor& tensor) const {
    const std::string kind(parameter_kind_names[static_cast<std::size_t>(tensor.kind)]);
    return std::find(config_.decay_on->begin(), config_.decay_on->end(), kind) != config_.decay_on->end();
  }

  NormControl control(std::size_t i) const {
    const ParameterKind kind = tensors_[i].kind;
    if (rates_[i] == 0.0) return NormControl::none;
    if (config_.norm_control == NormControlChoice::relative && kind == ParameterKind::matrix) return NormControl::relative;
    // Without decay no angle is given; such tensors make ordinary steps, as vectors do.
    const bool has_rows = kind == ParameterKind::matrix || (kind == ParameterKind::embedding && config_.rotation_embeddings);
    if (config_.norm_control == NormControlChoice::rotational && has_rows && decays_[i] > 0.0) return NormControl::rotational;
    return NormControl::none;
  }

  /// StepScalars::decay times this is lost, at every width the same. A tensor that learns at rate 0 is frozen: it does not decay
  /// either.
  double decay_of(std::size_t i) const {
    if (rates_[i] == 0.0) return 0.0;
    if (decay_follows_rate(*config_.decay)) return decays_[i] * rates_[i];
    if (config_.decay == DecayMode::scale_adjusted) return decays_[i] / rate_of(i);
    if (config_.decay == DecayMode::l2) return decays_[i] / width_factor(config_, tensors_[i]);
    return decays_[i];
  }

  /// Squares of angles follow the decay: StepScalars::rotation is the angle of decay 1.
  double angle_of(std::size_t i) const {
    const bool with_rate = decay_follows_rate(*config_.decay) || config_.decay == DecayMode::l2;
    return std::sqrt(with_rate ? decays_[i] * rates_[i] : decays_[i]);
  }

  /// Tensor i as one segment, or as its stacked matrices.
  void add(std::size_t i, NormControl control, bool split, double rate, double decay) {
    const OptimizedTensor& tensor = tensors_[i];
    const bool controlled = holds_norm(control);
    const std::int64_t parts = split ? tensor.stacked : 1;
    const std::int64_t rows = tensor.shape.rows() / parts, columns = tensor.shape.back();
    for (std::int64_t part = 0; part < parts; ++part) {
      ParameterSegment segment{};
      segment.offset = tensor.offset + part * rows * columns;
      segment.rows = rows;
      segment.columns = columns;
      segment.first_row = controlled ? made_.controlled_rows : 0;
      segment.learning_rate_scale = static_cast<float>(rate);
      segment.gain_rate_scale = static_cast<float>(rates_[i]);
      segment.weight_decay = static_cast<float>(decay);
      segment.control = control;
      segment.per_row = config_.norm_granularity == Granularity::row ? 1 : 0;
      made_.segments.push_back(segment);
      made_.tensor_of.push_back(i);
      if (controlled) made_.controlled_rows += rows;
    }
  }

  void add_plain(std::size_t i) {
    const NormControl how = control(i);
    const bool split = config_.rate_correction != RateCorrectionChoice::none ||  // each matrix has its own
                       (how != NormControl::none && config_.norm_granularity == Granularity::matrix);
    if (how == NormControl::none) return add(i, how, split, rate_of(i), decay_of(i));
    add(i, how, split, how == NormControl::rotational ? angle_of(i) : rates_[i], 0.0);
  }

  void add_direction(std::size_t i) {
    add(i, NormControl::direction, true, 1.0, config_.decay == DecayMode::l2 ? decay_of(i) : 0.0);
  }

  void add_orthogonal_step(std::size_t i) {
    const Shape& shape = tensors_[i].shape;
    const std::int64_t rows_of_one = shape.rows() / tensors_[i].stacked;
    const double rows = static_cast<double>(rows_of_one), columns = static_cast<double>(shape.back());
    const double size = config_.muon_scale == MuonScale::shape ? std::sqrt(std::max(1.0, rows / columns))
                                                               : 0.2 * std::sqrt(std::max(rows, columns));
    add(i, NormControl::none, true, rate_of(i) * size, config_.decay == DecayMode::l2 ? 0.0 : decay_of(i));
  }

  const OptimizerConfig& config_;
  const std::vector<OptimizedTensor>& tensors_;
  std::vector<double> rates_;   // of each tensor at the base width, as a share of learning_rate
  std::vector<double> decays_;  // weight decay of each tensor before its rate is looked at
  Pipeline made_;
};

}  // namespace

Pipeline make_pipeline(const OptimizerConfig& config, const std::vector<OptimizedTensor>& tensors) {
  return PipelineMaker(config, tensors).make();
}

GainSettings gains_of(const OptimizerConfig& config) {
  GainSettings gains;
  // A configuration may hold the key where it is not read.
  gains.trained =
      config.rotation_gains && config.norm_control == NormControlChoice::rotational && config.norm_granularity == Granularity::row;
  if (!gains.trained || !has_word(traits_of(config.name).reads, "eps")) return gains;
  gains.beta1 = static_cast<float>(*config.beta1);
  gains.beta2 = static_cast<float>(*config.beta2);
  gains.epsilon = static_cast<float>(config.eps);
  return gains;
}

double sign_scale(const OptimizerConfig& config) {
  if (config.sign_scale == SignScale::one) return 1.0;
  const double noise = std::sqrt((1.0 - *config.momentum) / (1.0 + *config.momentum));
  if (config.sign_scale == SignScale::noise) return noise;
  return noise / std::sqrt(squared_norm_ratio(*config.momentum, config.nesterov));
}

}  // namespace temper
