// The parts of attention that are not products: what happens to a block of scores. A block is rows x columns floats, row r of
// query r and column c of key c; `causal` says that it lies on the diagonal, where row r sees columns 0 .. r.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa_table.h"
#include "kernels/tensor.h"

namespace temper::cpu {

struct ScoreBlock {
  float* scores;  ///< q k^T, before scaling
  std::int64_t stride;
  int rows, columns;
  bool causal;
  float scale;
};

struct AttentionKernels {
  /// One step of the running softmax (Milakov and Gimelshein, arXiv 1805.02867; Dao et al., arXiv 2205.14135): scores become
  /// p = exp(scale s - maximum), hidden ones 0; maximum[r], total[r] and out[r][0 .. width) follow.
  void (*softmax_step)(const ScoreBlock& block, float* maximum, float* total, float* out, int width);
  /// Row r of out[rows][width] is multiplied by factors[r].
  void (*scale_rows)(float* out, const float* factors, int rows, int width);
  /// scores become p = exp(scale s - lse[r]) and gradients (dp on entry) become ds = p (dp - delta[r]) scale; hidden ones 0.
  void (*scores_gradient)(const ScoreBlock& block, float* gradients, const float* lse, const float* delta);
  /// sum of a[i] b[i].
  float (*dot)(const void* a, const void* b, DType dtype, std::int64_t count);
  /// One query against `count` cached keys and values whose rows lie `stride` elements apart; `weights` has room for `count`.
  void (*attend)(const void* query, const void* keys, const void* values, DType dtype, std::int64_t stride, std::int64_t count,
                 std::int64_t width, float scale, float* weights, void* out);
};

TEMPER_ISA_TABLE(AttentionKernels, attention_kernels)

}  // namespace temper::cpu
