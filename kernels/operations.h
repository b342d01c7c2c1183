// The operations of GPT-2 training, each declared once: its arguments with their shapes and types, and what it computes from them.
// Ops (kernels/ops.h) has an entry of the same name that checks the arguments; a backend has one function that runs them.
//
// "act" below is the activation type: f32, or bf16 with all sums and statistics in f32. One call, one act type. Weights have the
// act type, their gradients are always f32, statistics and losses f32, token ids i32. Inputs and outputs do not overlap unless it
// says "in place". An argument with a default may be left out; the compiler warns of any other that is.
//
// Names: B sequences, T positions, C = n_embd, H heads of size D = C/H, V vocabulary, Vp its padded size, R = B*T rows,
// K inputs and N outputs of a linear layer.
//
// To add an operation: a struct here with its check in operations.cpp, its name in TEMPER_OPERATIONS, CpuOps::run and
// CudaOps::queue for it in the family that it belongs to, and a case (kernels/cases).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/noise_scale.h"
#include "kernels/norm_control.h"
#include "kernels/tensor.h"
#include "kernels/update_rules.h"

namespace temper {

/// Whether a gradient is written over what is there or added to it.
enum class Write : std::uint8_t { overwrite, accumulate };

/// What a linear layer applies to its product before writing it.
enum class Epilogue : std::uint8_t {
  none,       ///< y = x W^T
  bias,       ///< y = x W^T + b
  bias_gelu,  ///< pre = x W^T + b (b optional), y = gelu(pre); both are kept
};

/// The segments that an operation walks, in device memory.
struct SegmentTable {
  const ParameterSegment* first = nullptr;
  std::int64_t count = 0;

  /// On a device whose memory the host can read.
  std::span<const ParameterSegment> on_host() const { return {first, static_cast<std::size_t>(count)}; }
};

/// What an optimizer update walks, in device memory; element i of the flat buffers belongs to parameter element i.
struct UpdateBuffers {
  float* master = nullptr;    ///< f32 weights, read and written
  float* gradient = nullptr;  ///< f32, before clipping; where a segment is controlled its direction is left there
  float* state[3] = {nullptr, nullptr, nullptr};  ///< as many as the rule has states
  bfloat16* low_precision = nullptr;              ///< bf16 copy that the model reads; null when the model reads `master`
  const TensorScale* scales = nullptr;            ///< one per segment (tensor_scales); null: all 1
  // One per row of a controlled segment, from ParameterSegment::first_row on; null where no segment is controlled.
  float* row_norm = nullptr;
  float* row_mean_square = nullptr;
  float* row_gain_moments = nullptr;  ///< two per row; null where gains are not trained
  RowWork* row_work = nullptr;        ///< contents do not matter

  TEMPER_HOST_DEVICE RowState row_state(std::int64_t row) const {
    return {row_norm + row, row_mean_square + row, row_gain_moments == nullptr ? nullptr : row_gain_moments + 2 * row};
  }
};

/// What an update did to a segment: sums over its elements, w the weights before, dw = weights after - w, s = dw without the decay.
/// In double.
struct UpdateStatistics {
  double weight_squares;   ///< ||w||^2
  double product;          ///< <w, dw>
  double update_squares;   ///< ||dw||^2
  double step_product;     ///< <w, s>
  double step_squares;     ///< ||s||^2
  double row_angles;       ///< sum over rows of the squared angle between row before and row after, in radians
  double step_row_angles;  ///< the same between w and w + s
  double fourth_powers;    ///< of w
  double largest;          ///< |w|

  /// Of more rows.
  TEMPER_HOST_DEVICE void add(const UpdateStatistics& other) {
    weight_squares += other.weight_squares;
    product += other.product;
    update_squares += other.update_squares;
    step_product += other.step_product;
    step_squares += other.step_squares;
    row_angles += other.row_angles;
    step_row_angles += other.step_row_angles;
    fourth_powers += other.fourth_powers;
    largest = std::fmax(largest, other.largest);
  }
};

/// check() throws ContractViolation naming the operation, the argument, what it is and what it should be. check_values() looks
/// at what lies in device memory too (ids, segments), where the host can.
namespace op {

/// f32 -> bf16 (round to nearest even), bf16 -> f32, or a plain copy; equal shapes.
struct Cast {
  ConstTensorView from;
  TensorView to;
  void check() const;
};

// ---- embedding -----------------------------------------------------------------------------------------------------

/// out[b,t,:] = wte[tokens[b,t],:] + wpe[first_position + t,:].
struct EmbeddingForward {
  ConstTensorView tokens;  ///< i32 [B,T] in [0, V)
  ConstTensorView wte;     ///< act [Vp,C]
  ConstTensorView wpe;     ///< act [n_ctx,C]
  std::int64_t first_position = 0;
  TensorView out;  ///< act [B,T,C]
  void check() const;
  void check_values() const;
};

/// dwte[v,:] += sum over positions holding v of dout; dwpe[t,:] = or += sum over b of dout[b,t,:]. Positions start at 0. Sums in
/// order of position.
struct EmbeddingBackward {
  ConstTensorView dout;    ///< act [B,T,C]
  ConstTensorView tokens;  ///< i32 [B,T]
  TensorView dwte;         ///< f32 [Vp,C], always accumulated, since the tied head writes it first
  TensorView dwpe;         ///< f32 [n_ctx,C]
  Write write_wpe;         ///< overwrite also zeroes the rows from T on
  void check() const;
  void check_values() const;
};

// ---- layer normalisation (Ba et al., arXiv 1607.06450), epsilon 1e-5 -----------------------------------------------

/// mean, rstd over the last axis; out = (x - mean) * rstd * gamma + beta.
struct LayernormForward {
  ConstTensorView x;          ///< act [R,C]
  ConstTensorView gamma;      ///< act [C]
  ConstTensorView beta = {};  ///< act [C]
  TensorView out;             ///< act [R,C]
  TensorView mean, rstd;      ///< f32 [R]
  void check() const;
};

/// dx = dresidual + (gradient of the layer norm at x for dout); dgamma, dbeta = or += theirs.
struct LayernormBackward {
  ConstTensorView dout, x;         ///< act [R,C]
  ConstTensorView gamma;           ///< act [C]
  ConstTensorView mean, rstd;      ///< f32 [R]
  ConstTensorView dresidual = {};  ///< act [R,C]
  TensorView dx;                   ///< act [R,C]; may be the memory of dresidual
  TensorView dgamma;               ///< f32 [C]
  TensorView dbeta = {};           ///< f32 [C]; left out where there is no beta
  Write write;
  void check() const;
};

// ---- linear layers; W[N,K] holds one output feature per row ----------------------------------------------------------

/// y = epilogue(x W^T + bias) + residual, rounded once. gelu is GPT-2's: 0.5 z (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))).
struct LinearForward {
  ConstTensorView x;              ///< act [R,K]
  ConstTensorView weight;         ///< act [N,K]
  ConstTensorView bias = {};      ///< act [N]
  ConstTensorView residual = {};  ///< act [R,N], not with bias_gelu
  Epilogue epilogue = Epilogue::none;
  TensorView y;         ///< act [R,N]
  TensorView pre = {};  ///< act [R,N], present exactly with bias_gelu
  bool again = false;   ///< with bias_gelu: y is computed once more by Gelu, and is to have the same bits
  void check() const;
};

/// dx = dy W; with `pre` the result is multiplied by gelu'(pre).
struct LinearBackwardInput {
  ConstTensorView dy;        ///< act [R,N]
  ConstTensorView weight;    ///< act [N,K]
  ConstTensorView pre = {};  ///< act [R,K]
  TensorView dx;             ///< act [R,K]
  void check() const;
};

/// dw = or += dy^T x; dbias = or += sum over rows of dy.
struct LinearBackwardWeight {
  ConstTensorView dy;     ///< act [R,N]
  ConstTensorView x;      ///< act [R,K]
  TensorView dw;          ///< f32 [N,K]
  TensorView dbias = {};  ///< f32 [N]
  Write write;
  void check() const;
};

/// y = gelu(pre): what bias_gelu wrote, once more; where that was not asked for (`again`), a GPU's last bits may differ.
struct Gelu {
  ConstTensorView pre;  ///< act, any shape
  TensorView y;         ///< the same
  void check() const;
};

// ---- causal attention on packed qkv [B,T,3,H,D], scale 1/sqrt(D) -----------------------------------------------------

struct AttentionForward {
  ConstTensorView qkv;  ///< act [B,T,3C]
  std::int64_t n_head;
  TensorView out;  ///< act [B,T,C]
  TensorView lse;  ///< f32 [B,H,T], log of the softmax denominator (scaled scores, natural log), for the backward pass
  void check() const;
};

/// From what the forward pass read and wrote.
struct AttentionBackward {
  ConstTensorView dout;  ///< act [B,T,C]
  ConstTensorView qkv, out, lse;
  std::int64_t n_head;
  TensorView dqkv;  ///< act [B,T,3C]
  void check() const;
};

/// For generation: appends the S new keys and values of qkv to the caches at `start`, then out[b,i,:] attends over positions
/// 0 .. start+i.
struct AttentionCached {
  ConstTensorView qkv;  ///< act [B,S,3C]
  std::int64_t n_head;
  std::int64_t start;
  TensorView key_cache, value_cache;  ///< act [B,n_ctx,C]
  TensorView out;                     ///< act [B,S,C]
  void check() const;
};

// ---- loss ----------------------------------------------------------------------------------------------------------

/// losses[r] = logsumexp(logits[r,:V]) - logits[r,target[r]]; then, when gradient_scale != 0, logits become in place
/// (softmax - onehot) * gradient_scale, exactly 0 in columns V..Vp-1. Target -1: loss 0, gradient 0.
struct CrossEntropy {
  TensorView logits;        ///< act [R,Vp]; left as they are when gradient_scale is 0
  ConstTensorView targets;  ///< i32 [R]
  std::int64_t vocab_size;
  float gradient_scale;
  TensorView losses;  ///< f32 [R]
  void check() const;
  void check_values() const;
};

/// out[0] = or += scale * sum of x, in a fixed order.
struct Sum {
  ConstTensorView x;  ///< f32, any shape
  float scale;
  Write write;
  TensorView out;  ///< f32, one element
  void check() const;
};

// ---- optimizer -------------------------------------------------------------------------------------------------------

/// Norm of all gradients, then the clip factor: fills the second group of `scalars`, where `loss` must be there already.
struct GlobalNorm {
  ConstTensorView gradients;  ///< f32, flat
  float max_norm;             ///< 0: no clipping
  StepScalars* scalars;
  void check() const;
};

/// out[i] = squares and product of segment i's gradient and `moment`.
struct TensorMoments {
  const float* gradient;
  const float* moment = nullptr;  ///< or another flat buffer; null: gradient squares only
  SegmentTable segments;
  temper::TensorMoments* out;
  void check() const;
  void check_values() const;
};

/// scales[i] = clip factor and rate of segment i (kernels/noise_scale.h), after global_norm. Matrices are segments of more than one
/// row. Nothing is changed when scalars->finite is 0.
struct TensorScales {
  ScaleSettings settings;
  const temper::TensorMoments* moments;  ///< of the gradient to be clipped; may be null when max_norm is 0
  const temper::TensorMoments* halves;   ///< as signal_and_noise wants them; may be null when no rate is corrected
  SegmentTable segments;
  const StepScalars* scalars;
  float* smoothed;  ///< [2 per segment], kept between steps, 0 before the first; may be null when no rate is corrected
  TensorScale* scales;
  void check() const;
  void check_values() const;
};

/// gradient += scalars->decay x weight_decay x master, segment by segment: L2 as part of the loss, before norms are taken.
struct AddDecayGradient {
  UpdateBuffers buffers;
  SegmentTable segments;
  const StepScalars* scalars;
  void check() const;
  void check_values() const;
};

/// One fused update over all segments: clip, moments, direction, decay, master and low-precision write, as ElementUpdate
/// (kernels/update_rules.h) has it; controlled segments step as kernels/norm_control.h has it and have no decay. One launch where
/// no segment is controlled, at most three otherwise. Does nothing at all when scalars->finite is 0.
struct OptimizerUpdate {
  UpdateRule rule;
  UpdateSettings settings;
  UpdateBuffers buffers;
  SegmentTable segments;
  const StepScalars* scalars;
  void check() const;
  void check_values() const;
};

/// out = x / (||x|| + 1e-7).
struct Normalize {
  ConstTensorView x;  ///< f32, any shape
  TensorView out;     ///< act, the same shape
  void check() const;
};

/// out = a x + b y; act, equal shapes; out may be x or y.
struct LinearCombination {
  float a;
  ConstTensorView x;
  float b;
  ConstTensorView y;
  TensorView out;
  void check() const;
};

// ---- diagnostics -----------------------------------------------------------------------------------------------------

/// out[i] of segment i, from flat f32 buffers of the weights before and after a step. Angles are atan2 of sums in double.
/// s = dw + share w, DecayInChange says of what share; under cautious decay only where w dw < 0 or, for an average of which that
/// tells nothing, gradient w >= 0.
struct UpdateStatistics {
  const float* before;
  const float* after;
  DecayInChange decay;
  const float* gradient = nullptr;  ///< wanted for decay that is both cautious and averaged
  SegmentTable segments;
  const StepScalars* scalars;
  float* step = nullptr;  ///< s, flat; may be `gradient`; null: not wanted
  temper::UpdateStatistics* out;
  void check() const;
  void check_values() const;
};

/// out = x on the scale of Adam's preconditioner. f32, equal shapes.
struct Precondition {
  PriorScale scale;
  ConstTensorView x, second_moment;
  TensorView out;
  void check() const;
};

/// counts[b] = number of elements with scale * x in bin b of equal bins over [-6, 6); what lies outside counts in the first or
/// last bin.
struct Histogram {
  ConstTensorView x;  ///< f32, any shape
  float scale;
  TensorView counts;  ///< i32 [bins]
  void check() const;
};

}  // namespace op
}  // namespace temper

/// The entry of each operation in Ops, and its arguments.
#define TEMPER_OPERATIONS(X)                      \
  X(cast, Cast)                                   \
  X(embedding_forward, EmbeddingForward)          \
  X(embedding_backward, EmbeddingBackward)        \
  X(layernorm_forward, LayernormForward)          \
  X(layernorm_backward, LayernormBackward)        \
  X(linear_forward, LinearForward)                \
  X(linear_backward_input, LinearBackwardInput)   \
  X(linear_backward_weight, LinearBackwardWeight) \
  X(gelu, Gelu)                                   \
  X(attention_forward, AttentionForward)          \
  X(attention_backward, AttentionBackward)        \
  X(attention_cached, AttentionCached)            \
  X(cross_entropy, CrossEntropy)                  \
  X(sum, Sum)                                     \
  X(global_norm, GlobalNorm)                      \
  X(tensor_moments, TensorMoments)                \
  X(tensor_scales, TensorScales)                  \
  X(add_decay_gradient, AddDecayGradient)         \
  X(optimizer_update, OptimizerUpdate)            \
  X(normalize, Normalize)                         \
  X(linear_combination, LinearCombination)        \
  X(update_statistics, UpdateStatistics)          \
  X(precondition, Precondition)                   \
  X(histogram, Histogram)
