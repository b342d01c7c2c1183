// The batch's signal-to-noise ratio from the gradients of its two halves, and the correction of a rate that follows from it. One
// text for CPU and CUDA.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/host_device.h"
#include "kernels/update_rules.h"

namespace temper {

/// Squares and product of a tensor's gradient and another vector of its shape: the first moment, or the part of the gradient that
/// the batch's first half makes.
struct TensorMoments {
  double gradient_squares = 0.0, product = 0.0, moment_squares = 0.0;

  /// Of more elements.
  TEMPER_HOST_DEVICE void add(const TensorMoments& other) {
    gradient_squares += other.gradient_squares;
    product += other.product;
    moment_squares += other.moment_squares;
  }
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
  float first_examples = 0.0f, second_examples = 0.0f;  ///< in the batch's two halves; B is their sum
  float smoothing = 0.95f;                              ///< decay rate of the running means behind the ratio
};

/// Of a tensor's gradient: |G|^2 and tr(Sigma)/B, the squared norm of its mean and the noise's share in a batch of B.
struct SignalNoise {
  double signal = 0.0, noise = 0.0;
};

/// Unbiased estimates from independent halves of a and b examples: with their mean gradients g_a and g_b signal = <g_a, g_b> and
/// noise = |g_a - g_b|^2 ab/(a+b)^2. `halves` has the batch's mean gradient t, and as moment the first half's part of it,
/// s = a/(a+b) g_a.
TEMPER_HOST_DEVICE inline SignalNoise signal_and_noise(const TensorMoments& halves, double a, double b) {
  const double n = a + b, ss = halves.moment_squares, ts = halves.product, tt = halves.gradient_squares;
  const double noise = (n / (a * b) * ss - 2.0 / b * ts) * n + a / b * tt;
  return {n * n / (a * b) * (ts - ss), std::fmax(0.0, noise)};  // a square, but for rounding
}

/// Takes a step's halves into running means of signal and noise, which `keep` that much of themselves; apart, since means of ratios
/// are biased, and their common start at 0 cancels in the ratio. Both are taken as shares of the halves' mean squared norm
/// (a |g_a|^2 + b |g_b|^2)/(a+b) = |t|^2 + noise, so that each step counts alike: the few steps whose gradients are largest would
/// else make the whole mean, long after them. By |t|^2 alone, which is near 0 where the halves oppose each other, single steps would.
template <typename Real>
TEMPER_HOST_DEVICE inline void follow_halves(const TensorMoments& halves, double a, double b, Real keep, Real* means) {
  const SignalNoise now = signal_and_noise(halves, a, b);
  const double size = halves.gradient_squares + now.noise;
  if (!(size > 0.0)) return;
  means[0] = keep * means[0] + (Real{1} - keep) * static_cast<Real>(now.signal / size);
  means[1] = keep * means[1] + (Real{1} - keep) * static_cast<Real>(now.noise / size);
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

/// One tensor's clip factor, from its gradient's squares, and rate, from the batch's halves before clipping and the running means that
/// follow them.
TEMPER_HOST_DEVICE inline TensorScale tensor_scale(const ScaleSettings& settings, double gradient_squares,
                                                   const TensorMoments& halves, bool is_matrix, const StepScalars& scalars,
                                                   float* smoothed) {
  TensorScale scale;
  const double norm = std::sqrt(gradient_squares);
  if (settings.max_norm > 0.0f && norm > static_cast<double>(settings.max_norm))
    scale.clip = static_cast<float>(static_cast<double>(settings.max_norm) / norm);
  if (settings.correction == RateCorrection::none || !is_matrix) return scale;

  const auto a = static_cast<double>(settings.first_examples), b = static_cast<double>(settings.second_examples);
  follow_halves(halves, a, b, settings.smoothing, smoothed);
  if (smoothed[0] == 0.0f && smoothed[1] == 0.0f) return scale;  // no gradient so far
  const double q = signal_to_noise(static_cast<double>(smoothed[0]), static_cast<double>(smoothed[1]));
  scale.rate = static_cast<float>(rate_correction(settings.correction, q / (a + b), a + b, static_cast<double>(scalars.beta1)));
  return scale;
}

}  // namespace temper
