#include <map>

#include "kernels/cases/op_case.h"

namespace temper {

// Errors are relative by norm over a whole tensor, against double precision on the same, already rounded inputs.
//
// What to expect: one rounding to f32 has a relative error of at most 2^-24 = 6e-8, one to bf16 of at most 2^-8 = 3.9e-3 (1.7e-3 as
// a root mean square). Sums of n terms in f32 lanes add about sqrt(n) * 6e-8 for terms of random sign. A bf16 tensor that is
// computed in f32 and rounded once is therefore always under 4e-3.
Tolerance tolerance_of(const std::string& op) {
  constexpr double exact = 0.0;
  static const std::map<std::string, Tolerance> table = {
      // One addition, then one rounding.
      {"embedding_forward", {1e-7, 1e-7, 4e-3}},
      // Sums of up to a hundred gradients in f32.
      {"embedding_backward", {2e-7, 2e-7, 4e-3}},
      // Row sums of up to a few hundred terms, a division and a root: a few units of 6e-8.
      {"layernorm_forward", {5e-7, 5e-7, 4e-3}},
      // g - mean(g) - n mean(g n) cancels on short rows, which multiplies the roundings of mean and rstd.
      {"layernorm_backward", {1.5e-6, 1.5e-6, 4e-3}},
      // f32 products of up to 640 terms, in passes of at most 512 that are added; GELU's tanh within a few units. For bf16 `pre` and `y` are each rounded once, y perhaps
      // from the rounded pre: two roundings.
      {"linear_forward", {1.5e-6, 1.5e-6, 6e-3}},
      // An exponential and a division, each within a few units; on GPUs a tanh within 5e-4 for bf16.
      {"gelu", {1e-6, 1e-6, 4e-3}},
      // As linear_forward; gelu' is evaluated in f32 after a product that may have been rounded to bf16.
      {"linear_backward_input", {1.5e-6, 1.5e-6, 6e-3}},
      // Sums over rows; bf16 operands multiply exactly in f32 accumulators.
      {"linear_backward_weight", {1.5e-6, 1.5e-6, 4e-3}},
      // exp of scores: their absolute error of |s| * 6e-8 becomes a relative one. In bf16 the probabilities may be rounded before
      // the product with the values, which adds a rounding to that of the output; lse stays f32.
      {"attention_forward", {1.5e-6, 1.5e-6, 6e-3}},
      // Probabilities and score gradients may both be bf16 before their products, and dP - D cancels.
      {"attention_backward", {6e-6, 6e-6, 8e-3}},
      {"attention_cached", {1.5e-6, 1.5e-6, 6e-3}},
      // Losses and gradients are dominated by exp near the row's maximum, where it is within two or three units of 6e-8.
      {"cross_entropy", {5e-7, 5e-7, 4e-3}},
      // Double inside, rounded once.
      {"sum", {1e-7, 1e-7, exact}},
      {"global_norm", {1e-7, 1e-7, exact}},
      // A handful of f32 operations on each number; the bf16 weights are rounded from f32 masters.
      {"optimizer_update", {2e-7, 2e-7, 4e-3}},
      // A product and an addition.
      {"add_decay_gradient", {1e-7, 1e-7, exact}},
      // A norm in double, rounded, and a division.
      {"normalize", {2e-7, 2e-7, 4e-3}},
      // Two products and their sum, in f32, rounded once.
      {"linear_combination", {2e-7, 2e-7, 4e-3}},
      // Sums in double of up to 40000 terms; products cancel to a hundredth, squared angles to a millionth, of what is added.
      {"tensor_moments", {1e-11, 1e-11, exact}},
      {"update_statistics", {1e-8, 1e-8, exact}},
      // Smoothed in f32; (R - rho) / (1 - R) multiplies that rounding by a few.
      {"tensor_scales", {5e-7, 5e-7, exact}},
      // Two roots, a product, a sum and a product.
      {"precondition", {2e-7, 2e-7, exact}},
      // Whole numbers.
      {"histogram", {exact, exact, exact}},
      // Conversions are exact, or one rounding to nearest even that the reference makes too.
      {"cast", {exact, exact, exact}},
      {"copy", {exact, exact, exact}},
      {"zero", {exact, exact, exact}},
  };
  return table.at(op);
}

}  // namespace temper
