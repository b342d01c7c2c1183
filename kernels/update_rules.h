// Optimizer update rules: one small struct of inline maths each, the same text on CPU and CUDA.
// A rule sees one element (weight, gradient, its states) and the scalars of the step; a backend brings it to every
// element of every parameter in one launch. Adding a rule: one struct here, its name in the variant, one test.
#pragma once

#include <cmath>
#include <cstdint>
#include <variant>

#include "kernels/host_device.h"

namespace temper {

/// The numbers of one step. They live in device memory, so that a captured graph survives a changing rate.
/// The host writes the first group before the step; operations write the second group during it.
struct StepScalars {
  float learning_rate;     ///< lr_k = peak * schedule multiplier
  float schedule;          ///< the multiplier alone, s_k in [0, 1]
  float bias_correction1;  ///< 1 - beta1^t, t = number of updates including this one
  float bias_correction2;  ///< 1 - beta2^t

  float loss;           ///< mean loss of the step (Ops::sum)
  float gradient_norm;  ///< l2 norm of all gradients before clipping (Ops::global_norm)
  float clip_factor;    ///< min(1, max_norm / norm); 1 when clipping is off (Ops::global_norm)
  std::int32_t finite;  ///< 1 when loss and norm are finite; 0 forbids the update (Ops::global_norm)
};

/// AdamW in PyTorch's convention: decay is lr * weight_decay * w on the weight before the update, eps outside the
/// corrected root. Loshchilov & Hutter, arXiv 1711.05101; torch.optim.AdamW.
struct AdamW {
  float beta1 = 0.9f;
  float beta2 = 0.95f;
  float epsilon = 1e-8f;

  static constexpr int states = 2;  ///< first and second moment, both start at 0

  /// `weight_decay` is that of the element's parameter (0 where decay is masked out), `rate` the element's own rate.
  TEMPER_HOST_DEVICE float update(float weight, float gradient, float* state0, float* state1, float rate, float weight_decay,
                                  const StepScalars& scalars) const {
    const float m = beta1 * *state0 + (1.0f - beta1) * gradient;
    const float v = beta2 * *state1 + (1.0f - beta2) * gradient * gradient;
    *state0 = m;
    *state1 = v;
    const float denominator = std::sqrt(v / scalars.bias_correction2) + epsilon;
    return weight - rate * weight_decay * weight - rate * (m / scalars.bias_correction1) / denominator;
  }
};

using UpdateRule = std::variant<AdamW>;

/// A run of consecutive elements of the flat parameter buffer that share their hyper-parameters: one parameter tensor.
struct ParameterSegment {
  std::int64_t offset;        ///< first element in the flat buffers; a multiple of 64
  std::int64_t rows;          ///< output features (1 for vectors)
  std::int64_t columns;       ///< fan-in; rows * columns elements are updated
  float learning_rate_scale;  ///< the element rate is learning_rate * this
  float weight_decay;         ///< 0 where decay is masked out
};

}  // namespace temper
