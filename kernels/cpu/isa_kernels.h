// What is compiled once per instruction set (kernels/cpu/isa.h), family by family: functions over a range that one thread works on.
// cpu/isa defines them; kernels/cpu/*.cpp shares out the work. Matrix products are in gemm_kernels.h.
#pragma once

#include <cstdint>
#include <variant>

#include "kernels/cpu/isa_table.h"
#include "kernels/host_device.h"
#include "kernels/operations.h"

namespace temper::cpu {

// ---- element by element ------------------------------------------------------------------------------------------------

struct ElementwiseKernels {
  void (*to_bf16)(const float* from, bfloat16* to, std::int64_t count);
  void (*to_f32)(const bfloat16* from, float* to, std::int64_t count);
  /// Elements [first, last) of the operations; scale: out = factor x.
  void (*gelu)(const op::Gelu& args, std::int64_t first, std::int64_t last);
  void (*scale)(const op::Normalize& args, float factor, std::int64_t first, std::int64_t last);
  void (*combine)(const op::LinearCombination& args, std::int64_t first, std::int64_t last);
};

TEMPER_ISA_TABLE(ElementwiseKernels, elementwise_kernels)

// ---- sums -----------------------------------------------------------------------------------------------------------

struct ReduceKernels {
  double (*sum)(const float* values, std::int64_t count);
  double (*sum_of_squares)(const float* values, std::int64_t count);
};

TEMPER_ISA_TABLE(ReduceKernels, reduce_kernels)

// ---- embedding ------------------------------------------------------------------------------------------------------

struct EmbeddingKernels {
  void (*forward)(const op::EmbeddingForward& args, std::int64_t first_row, std::int64_t last_row);
  void (*backward)(const op::EmbeddingBackward& args, std::int64_t first_column, std::int64_t last_column);
};

TEMPER_ISA_TABLE(EmbeddingKernels, embedding_kernels)

// ---- layer normalisation --------------------------------------------------------------------------------------------

struct LayernormKernels {
  void (*forward)(const op::LayernormForward& args, std::int64_t first_row, std::int64_t last_row);
  /// Sets dgamma[columns] and dbeta[columns] to the sums over these rows instead of writing the operation's.
  void (*backward)(const op::LayernormBackward& args, std::int64_t first_row, std::int64_t last_row, float* dgamma, float* dbeta);
  /// to[i] = (accumulate ? to[i] : 0) + parts[0][i] + parts[1][i] + ..., part p starting at parts + p * stride.
  void (*add_parts)(const float* parts, std::int64_t part_count, std::int64_t stride, bool accumulate, float* to,
                    std::int64_t count);
};

TEMPER_ISA_TABLE(LayernormKernels, layernorm_kernels)

// ---- loss -----------------------------------------------------------------------------------------------------------

struct CrossEntropyKernels {
  /// `scratch` has room for a row and a number for each of its blocks.
  void (*rows)(const op::CrossEntropy& args, std::int64_t first_row, std::int64_t last_row, float* scratch);
  std::int64_t block;

  std::int64_t scratch_floats(std::int64_t vocab_size) const { return vocab_size + ceil_div(vocab_size, block); }
};

TEMPER_ISA_TABLE(CrossEntropyKernels, cross_entropy_kernels)

// ---- attention but for its products ---------------------------------------------------------------------------------

/// Rows of scores q k^T before scaling, row r `stride` elements after row r - 1.
struct ScoreStrip {
  float* scores;
  std::int64_t stride;
  int rows;
  int diagonal;  ///< column where row 0 meets the diagonal; row r does so at diagonal + r
  float scale;
};

/// One query of `heads` heads side by side against `count` cached keys and values, whose rows lie `stride` elements apart.
struct CachedHeads {
  DType dtype;
  std::int64_t stride;
  int heads, count;
  int pass;  ///< rows that all heads go through before the next ones, which are prefetched meanwhile
  std::int64_t width;
  float scale;
  const void* query;
  const void* keys;
  const void* values;
  void* out;
  std::int64_t room;  ///< from one head's weights to the next's: `count` and up to a whole register
  float* weights;     ///< this and the following are scratch
  float* sums;        ///< heads * width
  float* totals;      ///< heads
};

struct AttentionKernels {
  /// Of row r, a query, columns up to the diagonal become exp(scale s - largest[r]), the others up to the last row's diagonal 0;
  /// largest[r] is that of scale s and total[r] the sum.
  void (*softmax)(const ScoreStrip& strip, float* largest, float* total);
  /// Row r of out[rows][width] is multiplied by factors[r].
  void (*scale_rows)(float* out, const float* factors, int rows, int width);
  /// Rows are keys, columns queries. scores become p = exp(scale s - lse[column]) and gradients (dp on entry) become
  /// ds = p (dp - delta[column]) scale, both 0 before the diagonal.
  void (*scores_gradient)(const ScoreStrip& strip, float* gradients, int columns, const float* lse, const float* delta);
  /// to[r] = sum over i < width of a[r * stride + i] b[r * stride + i].
  void (*row_dots)(const void* a, const void* b, DType dtype, std::int64_t stride, std::int64_t rows, std::int64_t width,
                   float* to);
  void (*attend)(const CachedHeads& arguments);
};

TEMPER_ISA_TABLE(AttentionKernels, attention_kernels)

// ---- diagnostics ----------------------------------------------------------------------------------------------------

/// Sums over elements of weights w, their change dw and the step s.
struct ChangeSums {
  double weight_squares, product, update_squares, step_product, step_squares, fourth_powers, largest;
};

/// op::UpdateStatistics' decay for a row; `gradient` and `step` may be null.
struct RowDecay {
  double share;
  bool cautious;
  const float* gradient;  ///< whose sign tells what decayed; null: that of the change
  float* step;
};

inline constexpr int histogram_tables = 4;

struct DiagnosticKernels {
  TensorMoments (*moments)(const float* gradient, const float* moment, std::int64_t count);
  ChangeSums (*change)(const float* before, const float* after, const RowDecay& decay, std::int64_t count);
  void (*precondition)(const PriorScale& scale, const float* x, const float* second_moment, float* out, std::int64_t count);
  /// Adds to histogram_tables x `bins` counts, whose sum over the tables is the histogram.
  void (*histogram)(const float* x, std::int64_t count, float scale, std::int64_t bins, std::int32_t* counts);
};

TEMPER_ISA_TABLE(DiagnosticKernels, diagnostic_kernels)

// ---- optimizer ------------------------------------------------------------------------------------------------------

/// Both work on elements [offset, offset + count) of the flat buffers, all of one segment.
template <typename Rule>
struct RuleKernel {
  void (*update)(const ElementUpdate<Rule>& update, const UpdateBuffers& buffers, std::int64_t offset, std::int64_t count);
  /// Leaves the directions in the gradient buffer and no step in the weights.
  void (*direct)(const ElementUpdate<Rule>& update, const UpdateBuffers& buffers, std::int64_t offset, std::int64_t count);
};

/// One RuleKernel for every alternative of UpdateRule, so that a new rule needs no line here.
template <typename Variant>
struct RuleKernels;
template <typename... Rules>
struct RuleKernels<std::variant<Rules...>> : RuleKernel<Rules>... {};

struct OptimizerKernels : RuleKernels<UpdateRule> {
  RowSums (*row_sums)(const float* weights, const float* directions, std::int64_t count);
  /// Of weights and gradients, these scaled and then cut to [-limit, limit].
  double (*clipped_product)(const float* weights, const float* gradients, float scale, float limit, std::int64_t count);
  /// w = keep w + add u + shift; `low_precision` may be null.
  void (*step)(const LinearStep& step, float* weights, const float* directions, bfloat16* low_precision, std::int64_t count);
  /// to += scale * from
  void (*add_scaled)(float scale, const float* from, float* to, std::int64_t count);
};

TEMPER_ISA_TABLE(OptimizerKernels, optimizer_kernels)

}  // namespace temper::cpu
