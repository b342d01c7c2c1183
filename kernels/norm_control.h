// Control of norms: a row (or a matrix) p with direction u makes a step after which its norm is what it was. From a few sums
// over the row follow three numbers, and the step is p <- keep p + add u + shift. One text for CPU and CUDA.
#pragma once

#include <cmath>

#include "kernels/host_device.h"
#include "kernels/update_rules.h"

namespace temper {

/// Sums over a row or a matrix, in double: differences of them are taken.
struct RowSums {
  double weight = 0.0, weight_squares = 0.0;
  double direction = 0.0, direction_squares = 0.0;
  double product = 0.0;           ///< of weight and direction
  double gradient_product = 0.0;  ///< of weight and clipped gradient; where gains are trained

  TEMPER_HOST_DEVICE void add(double w, double u) {
    weight += w;
    weight_squares += w * w;
    direction += u;
    direction_squares += u * u;
    product += w * u;
  }
  TEMPER_HOST_DEVICE void add(const RowSums& other) {
    weight += other.weight;
    weight_squares += other.weight_squares;
    direction += other.direction;
    direction_squares += other.direction_squares;
    product += other.product;
    gradient_product += other.gradient_product;
  }
};

struct LinearStep {
  float keep = 1.0f, add = 0.0f, shift = 0.0f;
};

/// Device memory that an update with norm control works in, one per controlled row.
struct RowWork {
  RowSums sums;
  LinearStep step;
};

/// What a row (or matrix, in its first row) keeps between steps.
struct RowState {
  float* norm;          ///< held, or trained: at first what it was before means were taken out; 0: not measured yet
  float* mean_square;   ///< running mean of the squared norm of its projected directions
  float* gain_moments;  ///< Adam's of a trained norm, first and second; null where none is
};

/// A row is w = s v/||v||, its gain s the norm n or -n. The gradient of n is <g,w>/||w||, g as clipped; Adam with both corrections
/// makes n a number that may lie below 0. That row is turned over: the state keeps ||n||, for which n's gradients, and so the first
/// moment, have the other sign. At 0 itself nothing would be left of the direction, so n stays some way off.
TEMPER_HOST_DEVICE inline double trained_norm(const RowSums& sums, double rate, const GainSettings& gains,
                                              const StepScalars& scalars, RowState state) {
  const double beta1 = static_cast<double>(gains.beta1), beta2 = static_cast<double>(gains.beta2);
  const double gradient = sums.gradient_product / std::sqrt(sums.weight_squares);
  const double first = beta1 * static_cast<double>(state.gain_moments[0]) + (1.0 - beta1) * gradient;
  const double second = beta2 * static_cast<double>(state.gain_moments[1]) + (1.0 - beta2) * gradient * gradient;
  const double size = std::sqrt(second / static_cast<double>(scalars.gain_correction2)) + static_cast<double>(gains.epsilon);
  const double trained = static_cast<double>(*state.norm) - rate * first / static_cast<double>(scalars.gain_correction1) / size;
  const double sign = trained < 0.0 ? -1.0 : 1.0;
  *state.norm = static_cast<float>(std::fmax(sign * trained, 1e-12));
  state.gain_moments[0] = static_cast<float>(sign * first);
  state.gain_moments[1] = static_cast<float>(second);
  return sign * static_cast<double>(*state.norm);
}

/// Rotational step: Kosson et al., arXiv 2305.17212, algorithm of github.com/epfml/REQ. With n the norm held, means taken out first
/// when `zero_mean`:
///   u <- u - p <u,p>/n^2;  Q <- averaging Q + (1-averaging) ||u||^2;  p' = p - angle n u/(sqrt(Q/correction) + 1e-8);  p <- n
///   p'/||p'||
/// so that an exact direction (averaging 0) turns p by atan(angle). The last n is the new one where gains are trained. A row without
/// direction does not move. One that cannot turn does not either, or by its gain alone: what is left of p without its mean, or of u
/// without p and mean, is then but rounding.
TEMPER_HOST_DEVICE inline LinearStep rotational_step(const RowSums& sums, double elements, double angle, double gain_rate,
                                                     const UpdateSettings& settings, const StepScalars& scalars, RowState state) {
  if (sums.direction_squares == 0.0) return {};
  const double rounding = 1e-12;
  const double weight_mean = settings.zero_mean ? sums.weight / elements : 0.0;
  const double direction_mean = settings.zero_mean ? sums.direction / elements : 0.0;
  if (*state.norm == 0.0f) *state.norm = static_cast<float>(std::sqrt(sums.weight_squares));
  const double n = static_cast<double>(*state.norm);
  if (n == 0.0 || sums.weight_squares == 0.0) return {};
  const double new_norm = settings.gains.trained ? trained_norm(sums, gain_rate, settings.gains, scalars, state) : n;
  const LinearStep without_turn = {static_cast<float>(new_norm / n), 0.0f, 0.0f};
  const double centred_squares = sums.weight_squares - elements * weight_mean * weight_mean;
  if (centred_squares <= rounding * sums.weight_squares) return without_turn;

  const double scale = n / std::sqrt(centred_squares);  // brings the centred row to its norm
  const double product = scale * (sums.product - elements * weight_mean * direction_mean);
  const double along = product / (n * n);
  const double across_squares = sums.direction_squares - elements * direction_mean * direction_mean - product * along;
  if (across_squares <= rounding * sums.direction_squares) return without_turn;
  *state.mean_square = static_cast<float>(static_cast<double>(settings.averaging) * static_cast<double>(*state.mean_square) +
                                          (1.0 - static_cast<double>(settings.averaging)) * across_squares);
  const double rms = std::sqrt(static_cast<double>(*state.mean_square) / static_cast<double>(scalars.rotation_correction));
  const double step = -angle * n / (rms + 1e-8);
  const double back = new_norm / std::sqrt(n * n + step * step * across_squares);
  const double keep = back * scale * (1.0 - step * along), add = back * step;
  return {static_cast<float>(keep), static_cast<float>(add), static_cast<float>(-(keep * weight_mean + add * direction_mean))};
}

/// Relative step ("hyperball"): p' = p - rate n u/max(||u||, 1e-10);  p <- n p'/||p'||. github.com/KellerJordan/modded-nanogpt,
/// AdamH.
TEMPER_HOST_DEVICE inline LinearStep relative_step(const RowSums& sums, double rate, RowState state) {
  if (sums.direction_squares == 0.0) return {};
  if (*state.norm == 0.0f) *state.norm = static_cast<float>(std::sqrt(sums.weight_squares));
  const double n = static_cast<double>(*state.norm);
  const double step = -rate * n / std::fmax(std::sqrt(sums.direction_squares), 1e-10);
  const double squares = sums.weight_squares + 2.0 * step * sums.product + step * step * sums.direction_squares;
  if (n == 0.0 || squares <= 0.0) return {};
  const double back = n / std::sqrt(squares);
  return {static_cast<float>(back), static_cast<float>(back * step), 0.0f};
}

/// The step of a controlled segment's row, or of its whole matrix.
TEMPER_HOST_DEVICE inline LinearStep controlled_step(const ParameterSegment& segment, const RowSums& sums, float rate_scale,
                                                     const UpdateSettings& settings, const StepScalars& scalars, RowState state) {
  const double elements = static_cast<double>(segment.per_row != 0 ? segment.columns : segment.rows * segment.columns);
  const double scale = static_cast<double>(segment.learning_rate_scale) * static_cast<double>(rate_scale);
  if (segment.control == NormControl::relative)
    return relative_step(sums, static_cast<double>(scalars.learning_rate) * scale, state);
  const double gain_rate =
      static_cast<double>(scalars.gain_rate) * static_cast<double>(segment.gain_rate_scale) * static_cast<double>(rate_scale);
  return rotational_step(sums, elements, static_cast<double>(scalars.rotation) * scale, gain_rate, settings, scalars, state);
}

}  // namespace temper
