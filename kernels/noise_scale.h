// The batch's signal-to-noise ratio from the momentum, and the correction of a rate that follows from it. One text for CPU and
// CUDA.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/host_device.h"
#include "kernels/update_rules.h"

namespace temper {

/// Squares and product of a tensor's gradient g and first moment m, before clipping and before the step.
struct TensorMoments {
  double gradient_squares = 0.0, product = 0.0, moment_squares = 0.0;
};

/// How a rate follows the signal-to-noise ratio (Kosson et al., arXiv 2410.23922): so that an in-batch output of a layer moves as
/// far as it would without signal.
enum class RateCorrection : std::int32_t {
  none,
  gradient,  ///< sqrt((1+phi)/(1+B phi)): directions are gradients
  momentum,  ///< the same ratio for directions that are averages with beta1
};

struct ScaleSettings {
  float max_norm = 0.0f;  ///< largest gradient norm of each tensor; 0: not clipped
  RateCorrection correction = RateCorrection::none;
  float examples = 1.0f;    ///< B, in the batch
  float smoothing = 0.95f;  ///< decay rate of the running means behind the ratio
};

/// What noise alone makes of ||m-hat||^2 / ||g||^2 of an average m with `beta` at step t, where decayed = beta^t.
TEMPER_HOST_DEVICE inline double noise_share(double beta, double decayed) {
  return (1.0 - beta) * (1.0 + decayed) / ((1.0 + beta) * (1.0 - decayed));
}

/// q = B phi, the batch's signal-to-noise ratio, from signal : noise. Saturates where there is no noise.
TEMPER_HOST_DEVICE inline double signal_to_noise(double signal, double noise) {
  const double most = 1e6;
  if (!(noise > 0.0)) return most;
  return std::fmin(most, std::fmax(0.0, signal / noise));
}

/// r(phi) in (0, 1], 1 at phi = 0.
TEMPER_HOST_DEVICE inline double rate_correction(RateCorrection kind, double phi, double examples, double beta) {
  if (kind == RateCorrection::none) return 1.0;
  if (kind == RateCorrection::gradient) return std::sqrt((1.0 + phi) / (1.0 + examples * phi));
  const double noise = (1.0 - beta) / ((1.0 + beta) * examples);  // of the average, for one example's noise of 1
  const double without_signal = std::sqrt((1.0 - beta * beta) / examples);
  const double with_signal = (phi + (1.0 - beta) / examples) / std::sqrt((phi + noise) * (1.0 + phi));
  return std::fmin(1.0, without_signal / with_signal);
}

/// One tensor's clip factor and rate. `smoothed` are two running means, of the signal ||m-hat||^2 - share ||g||^2 and of the noise
/// ||g||^2 - ||m-hat||^2, with g as clipped and m-hat as this step makes it; their common start at 0 cancels in the ratio.
/// Averaging the ratio itself would carry the large share that noise has in the first steps into later ones, as if it were signal.
TEMPER_HOST_DEVICE inline TensorScale tensor_scale(const ScaleSettings& settings, const TensorMoments& moments, bool is_matrix,
                                                   const StepScalars& scalars, float* smoothed) {
  TensorScale scale;
  const double norm = std::sqrt(moments.gradient_squares);
  if (settings.max_norm > 0.0f && norm > static_cast<double>(settings.max_norm))
    scale.clip = static_cast<float>(static_cast<double>(settings.max_norm) / norm);
  if (settings.correction == RateCorrection::none || !is_matrix) return scale;

  // The first moment as the step will make it, as a bias-corrected average whatever weight it gives to gradients.
  const double clip = static_cast<double>(scalars.clip_factor) * static_cast<double>(scale.clip);
  const double beta = static_cast<double>(scalars.beta1), weight = static_cast<double>(scalars.gradient_weight);
  const double corrected = static_cast<double>(scalars.bias_correction1);
  const double gradient = clip * clip * moments.gradient_squares;
  const double moment =
      beta * beta * moments.moment_squares + 2.0 * beta * weight * clip * moments.product + weight * weight * gradient;
  const double to_average = (1.0 - beta) / (weight * corrected);
  const float keep = settings.smoothing;
  const double average = to_average * to_average * moment;
  smoothed[0] = keep * smoothed[0] + (1.0f - keep) * static_cast<float>(average - noise_share(beta, 1.0 - corrected) * gradient);
  smoothed[1] = keep * smoothed[1] + (1.0f - keep) * static_cast<float>(gradient - average);
  if (gradient == 0.0 && smoothed[1] == 0.0f) return scale;  // no gradient so far
  // At the first step the average is the gradient, and both means are rounding; what is known then is signal.
  const double rounding = 1e-5 * static_cast<double>(1.0f - keep) * gradient;
  const bool known = static_cast<double>(smoothed[1]) > rounding;
  const double examples = static_cast<double>(settings.examples);
  const double phi = signal_to_noise(static_cast<double>(smoothed[0]), known ? static_cast<double>(smoothed[1]) : 0.0) / examples;
  scale.rate = static_cast<float>(rate_correction(settings.correction, phi, examples, beta));
  return scale;
}

}  // namespace temper
