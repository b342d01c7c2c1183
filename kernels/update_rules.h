// Optimizer update rules: one small struct of inline maths each, the same text on CPU and CUDA.
//
// A rule turns an element's gradient into a direction (which holds neither rate nor decay) and keeps its moments. What is the same
// for all rules - clipping, L2, rate, decay - is ElementUpdate below; control of norms is kernels/norm_control.h. A backend brings
// them to every element of every parameter. Adding a rule: one struct here, its name in the variant and in optim/pipeline.cpp, one
// case.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <variant>

#include "kernels/host_device.h"

namespace temper {

/// The numbers of one step, t = 1, 2, ... They live in device memory, so that a captured graph survives a changing rate.
/// The host writes the first group before the step; operations write the second group during it.
struct StepScalars {
  float learning_rate;           ///< multiplies directions
  float decay;                   ///< multiplies ParameterSegment::weight_decay
  float rotation;                ///< angle in radians of a rotational step, for a tensor of learning_rate_scale 1
  float rotation_correction;     ///< 1 - averaging^t of UpdateSettings::averaging
  float gain_rate;               ///< learning rate of row gains, for a tensor of gain_rate_scale 1
  float gain_correction1;        ///< 1 - beta1^t of UpdateSettings::gains
  float gain_correction2;        ///< 1 - beta2^t
  float beta1;                   ///< what the first moment keeps of itself
  float gradient_weight;         ///< what it takes of the gradient: 1 - beta1 for an average, 1 for a heavy ball
  float bias_correction1;        ///< 1 - beta1^t (where beta1 moves: 1 minus the product so far)
  float bias_correction2;        ///< 1 - beta2^t
  float previous_correction2;    ///< the same of step t-1; 1 at the first step
  float slow_beta, slow_weight;  ///< AdEMAMix's slow moment: decay rate, weight in the direction
  float average_weight;          ///< Schedule-Free: share of the newest point in the average

  float loss;           ///< mean loss of the step (Ops::sum)
  float gradient_norm;  ///< l2 norm of all gradients before clipping (Ops::global_norm)
  float clip_factor;    ///< min(1, max_norm / norm); 1 when clipping is off (Ops::global_norm)
  std::int32_t finite;  ///< 1 when loss and norm are finite; 0 forbids the update (Ops::global_norm)
};

/// What checkpoints call a rule's states, in their order; PyTorch's names where it has the rule.
template <std::size_t states>
using StateNames = std::array<std::string_view, states>;

template <typename Rule>
inline constexpr int state_count = static_cast<int>(Rule::state_names.size());

// ---- rules: `state` holds a number for each of state_names, all 0 before the first step -------------------------------

/// The gradient itself.
struct PlainGradient {
  static constexpr StateNames<0> state_names = {};
  TEMPER_HOST_DEVICE float direction(float gradient, float*, const StepScalars&) const { return gradient; }
};

/// m = beta1 m + gradient_weight g. The direction is m, or one step ahead beta1 m + gradient_weight g (Nesterov).
/// torch.optim.SGD; Loshchilov & Hutter's SGDW puts the rate into gradient_weight.
struct Momentum {
  bool nesterov = false;

  static constexpr StateNames<1> state_names = {"momentum_buffer"};
  TEMPER_HOST_DEVICE float direction(float gradient, float* state, const StepScalars& scalars) const {
    const float added = scalars.gradient_weight * gradient;
    state[0] = scalars.beta1 * state[0] + added;
    return nesterov ? scalars.beta1 * state[0] + added : state[0];
  }
};

TEMPER_HOST_DEVICE inline float sign_of(float x) { return x > 0.0f ? 1.0f : (x < 0.0f ? -1.0f : 0.0f); }

/// The sign of Momentum's direction, times `scale`: Nesterov-Lion, LionA, LionAR (Kosson et al., arXiv 2410.23922).
struct SignMomentum {
  bool nesterov = false;
  float scale = 1.0f;

  static constexpr StateNames<1> state_names = {"exp_avg"};
  TEMPER_HOST_DEVICE float direction(float gradient, float* state, const StepScalars& scalars) const {
    return scale * sign_of(Momentum{nesterov}.direction(gradient, state, scalars));
  }
};

/// sgn(beta1 m + (1-beta1) g), then m = beta2 m + (1-beta2) g. Chen et al., arXiv 2302.06675.
struct Lion {
  float beta2 = 0.99f;

  static constexpr StateNames<1> state_names = {"exp_avg"};
  TEMPER_HOST_DEVICE float direction(float gradient, float* state, const StepScalars& scalars) const {
    const float between = scalars.beta1 * state[0] + scalars.gradient_weight * gradient;
    state[0] = beta2 * state[0] + (1.0f - beta2) * gradient;
    return sign_of(between);
  }
};

/// Kingma & Ba, arXiv 1412.6980: m-hat / (sqrt(v-hat) + epsilon). Loshchilov & Hutter, arXiv 1711.05101; torch.optim.AdamW.
struct Adam {
  float beta2 = 0.95f;
  float epsilon = 1e-8f;
  bool epsilon_inside = false;  ///< epsilon is added to sqrt(v) before its bias is corrected (Keras)
  bool correct_first = true;    ///< the first moment's bias is corrected

  static constexpr StateNames<2> state_names = {"exp_avg", "exp_avg_sq"};
  TEMPER_HOST_DEVICE float direction(float gradient, float* state, const StepScalars& scalars) const {
    state[0] = scalars.beta1 * state[0] + scalars.gradient_weight * gradient;
    state[1] = beta2 * state[1] + (1.0f - beta2) * gradient * gradient;
    const float first = state[0] / (correct_first ? scalars.bias_correction1 : 1.0f);
    const float correction = 1.0f / std::sqrt(scalars.bias_correction2);
    return first / (correction * std::sqrt(state[1]) + (epsilon_inside ? correction * epsilon : epsilon));
  }
  /// What the last step's direction was divided by.
  TEMPER_HOST_DEVICE float preconditioner(const float* state, const StepScalars& scalars) const {
    return std::sqrt(state[1] / scalars.previous_correction2) + epsilon;
  }
};

/// Adam with a second, slower first moment. Pagliardini et al., arXiv 2409.03137.
struct AdEMAMix {
  float beta2 = 0.999f;
  float epsilon = 1e-8f;

  static constexpr StateNames<3> state_names = {"exp_avg", "exp_avg_sq",
                                                "slow_exp_avg"};  ///< fast first, second, slow first moment
  TEMPER_HOST_DEVICE float direction(float gradient, float* state, const StepScalars& scalars) const {
    state[0] = scalars.beta1 * state[0] + scalars.gradient_weight * gradient;
    state[1] = beta2 * state[1] + (1.0f - beta2) * gradient * gradient;
    state[2] = scalars.slow_beta * state[2] + (1.0f - scalars.slow_beta) * gradient;
    const float mixed = state[0] / scalars.bias_correction1 + scalars.slow_weight * state[2];
    return mixed / (std::sqrt(state[1] / scalars.bias_correction2) + epsilon);
  }
};

/// Schedule-Free AdamW, Defazio et al., arXiv 2405.15682. The weight is y, where gradients are taken; states are z, the second
/// moment, and x, the average that is evaluated. z and x start as copies of the weights.
struct ScheduleFree {
  float beta2 = 0.999f;
  float epsilon = 1e-8f;

  static constexpr StateNames<3> state_names = {
      "z", "exp_avg_sq", "y"};  ///< states are z, second moment, x; of x, which is the model saved, y is kept
  TEMPER_HOST_DEVICE float direction(float gradient, float* state, const StepScalars& scalars) const {
    state[1] = beta2 * state[1] + (1.0f - beta2) * gradient * gradient;
    return gradient / (std::sqrt(state[1] / scalars.bias_correction2) + epsilon);
  }
  /// z, x and from them the new y, where `step` is what a plain rule would take from the weight.
  TEMPER_HOST_DEVICE float average(float step, float* state, const StepScalars& scalars) const {
    state[0] -= step;
    state[2] += scalars.average_weight * (state[0] - state[2]);
    return state[0] + scalars.beta1 * (state[2] - state[0]);
  }
};

/// Weights on the scale of Adam's preconditioner s = root_scale sqrt(v) + epsilon: w sqrt(s). Decoupled decay is a Gaussian prior
/// of one width for these (Loshchilov & Hutter, proposition 3).
struct PriorScale {
  float root_scale = 1.0f;  ///< 1 / sqrt(bias_correction2)
  float epsilon = 1e-8f;

  TEMPER_HOST_DEVICE float operator()(float weight, float second_moment) const {
    return weight * std::sqrt(root_scale * std::sqrt(second_moment) + epsilon);
  }
};

using UpdateRule = std::variant<PlainGradient, Momentum, SignMomentum, Lion, Adam, AdEMAMix, ScheduleFree>;

inline std::span<const std::string_view> state_names(const UpdateRule& rule) {
  return std::visit([](const auto& named) { return std::span<const std::string_view>(named.state_names); }, rule);
}

// ---- what all rules share ------------------------------------------------------------------------------------------------------

/// How a weight decays: with d = StepScalars::decay x ParameterSegment::weight_decay
enum class DecayForm : std::int32_t {
  multiplicative,   ///< the weight loses d of itself beside the update
  cautious,         ///< only where the update moves it towards 0, u w >= 0 (arXiv 2510.12402)
  gradient,         ///< d w is added to the clipped gradient (L2 as torch.optim's Adam and SGD have it)
  scaled_gradient,  ///< d s w is, with s the preconditioner of the last step (Loshchilov & Hutter, proposition 3); Adam only
  none,             ///< not at all, whatever d is (L2 that was added before clipping, Ops::add_decay_gradient)
};

/// How a controlled tensor's norm is held. See kernels/norm_control.h.
enum class NormControl : std::int16_t {
  none,
  rotational,  ///< the direction turns the weight by a given angle
  relative,    ///< the direction has a given share of the weight's norm
  direction,   ///< no step: the direction replaces the gradient, and something else makes the step from it
};

/// Rotational control: norms are no longer held but trained, each by Adam of its own. See kernels/norm_control.h.
struct GainSettings {
  bool trained = false;
  float beta1 = 0.9f, beta2 = 0.95f, epsilon = 1e-8f;
};

/// What is the same for all parameters.
struct UpdateSettings {
  DecayForm decay_form = DecayForm::multiplicative;
  bool clip_norm = true;    ///< gradients are multiplied by StepScalars::clip_factor
  float clip_value = 0.0f;  ///< then cut to [-clip_value, clip_value]; 0: not
  bool zero_mean = true;    ///< rotational control: rows (or matrices) and their directions have mean 0
  float averaging = 0.9f;   ///< rotational control: decay rate of the running mean of squared direction norms; 0: exact angles
  GainSettings gains;
};

/// A run of consecutive elements of the flat parameter buffer that share their hyper-parameters: one parameter tensor, or one of
/// the three matrices of a packed qkv weight.
struct ParameterSegment {
  std::int64_t offset;        ///< first element in the flat buffers; a multiple of 4
  std::int64_t rows;          ///< output features (1 for vectors)
  std::int64_t columns;       ///< fan-in; rows * columns elements are updated
  std::int64_t first_row;     ///< its first row among the rows of controlled tensors, in their order; 0 where there is no control
  float learning_rate_scale;  ///< the segment's rate (or angle) is StepScalars' times this
  float gain_rate_scale;      ///< its gains' rate is StepScalars' times this
  float weight_decay;         ///< 0 where decay is masked out
  NormControl control;
  std::int16_t per_row;  ///< 1: each row's norm is controlled on its own, 0: the matrix's
};

/// How much of a weight's change its decay was, to be given back: the step is dw + share w.
struct DecayInChange {
  bool cautious = false;   ///< DecayForm::cautious: only in weights that moved towards 0
  bool averaged = false;   ///< Schedule-Free: it went into z, and y = z + beta1 (x - z) with x moved towards z has a part of that
  bool with_rate = false;  ///< L2 under a plain gradient: StepScalars::learning_rate multiplied it

  TEMPER_HOST_DEVICE double share(const ParameterSegment& segment, const StepScalars& scalars) const {
    double share = static_cast<double>(scalars.decay) * static_cast<double>(segment.weight_decay);
    if (with_rate) share *= static_cast<double>(scalars.learning_rate);
    if (averaged) share *= 1.0 - static_cast<double>(scalars.beta1) * (1.0 - static_cast<double>(scalars.average_weight));
    return share;
  }
};

/// Radians between w and w + dw, from ||w||^2, <w, dw> and ||dw||^2. Not by acos, which loses all digits of small angles.
TEMPER_HOST_DEVICE inline double angle_turned(double weight_squares, double product, double change_squares) {
  const double across = std::sqrt(std::fmax(0.0, weight_squares * change_squares - product * product));
  return std::atan2(across, weight_squares + product);
}

/// What a tensor's update is multiplied with (Ops::tensor_scales).
struct TensorScale {
  float clip = 1.0f;  ///< its gradient
  float rate = 1.0f;  ///< its rate or angle
};

/// The whole update of one element that no norm control acts on, and the direction of one that is controlled.
template <typename Rule>
struct ElementUpdate {
  Rule rule;
  UpdateSettings settings;
  StepScalars scalars;
  float gradient_scale = 1.0f;  ///< clipping by norm
  float rate = 0.0f;
  float decay = 0.0f;  ///< d above
  float limit;         ///< clipping by value

  TEMPER_HOST_DEVICE ElementUpdate(const Rule& rule_, const UpdateSettings& settings_, const StepScalars& scalars_)
      : rule(rule_), settings(settings_), scalars(scalars_), limit(settings_.clip_value > 0.0f ? settings_.clip_value : INFINITY) {}

  TEMPER_HOST_DEVICE void select(const ParameterSegment& segment, const TensorScale& scale) {
    gradient_scale = (settings.clip_norm ? scalars.clip_factor : 1.0f) * scale.clip;
    rate = scalars.learning_rate * segment.learning_rate_scale * scale.rate;
    decay = settings.decay_form == DecayForm::none ? 0.0f : scalars.decay * segment.weight_decay;
  }

  TEMPER_HOST_DEVICE float clipped(float gradient) const {
    const float g = gradient_scale * gradient;
    return g > limit ? limit : (g < -limit ? -limit : g);
  }

  TEMPER_HOST_DEVICE float direction(float weight, float gradient, float* state) const {
    float g = clipped(gradient);
    if (settings.decay_form == DecayForm::gradient) g += decay * weight;
    if constexpr (requires { rule.preconditioner(state, scalars); }) {
      if (settings.decay_form == DecayForm::scaled_gradient) g += decay * rule.preconditioner(state, scalars) * weight;
    }
    return rule.direction(g, state, scalars);
  }

  TEMPER_HOST_DEVICE float operator()(float weight, float gradient, float* state) const {
    const float u = direction(weight, gradient, state);
    float kept_out = 0.0f;
    if (settings.decay_form == DecayForm::multiplicative) kept_out = decay;
    if (settings.decay_form == DecayForm::cautious) kept_out = u * weight >= 0.0f ? decay : 0.0f;
    if constexpr (requires { rule.average(u, state, scalars); })
      return rule.average(rate * u + kept_out * weight, state, scalars);
    else
      return weight - kept_out * weight - rate * u;
  }
};

}  // namespace temper
