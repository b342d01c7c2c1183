// Matmuls through cuBLASLt. All matrices are row-major with contiguous rows.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <device/runtime.h>
#include "kernels/cuda/choices.h"
#include "kernels/tensor.h"

namespace temper::TEMPER_BACKEND {

/// What a product may do with its result before writing it.
enum class ProductEpilogue : std::uint8_t {
  none,
  bias,           ///< d += bias
  bias_gelu,      ///< aux = d + bias; d = gelu(aux); bias may be absent
  gelu_backward,  ///< d = d * gelu'(aux)
  bias_gradient,  ///< bias = sums of `a` over the axis that the product sums over; needs a transposed and overwrites
};

/// d[M,N] = or += op(a) op(b), or op(a) op(b) + residual, sums in f32. f32 operands are rounded to TF32 only where CudaOptions asks for it.
struct ProductCall {
  std::int64_t m = 0, n = 0, k = 0;
  ConstTensorView a;  ///< [M,K], or [K,M] when a_transposed
  ConstTensorView b;  ///< [K,N], or [N,K] when b_transposed
  bool a_transposed = false;
  bool b_transposed = false;
  TensorView d;  ///< [M,N]; the type of a, or f32
  bool accumulate = false;
  ConstTensorView residual = {};  ///< [M,N] in d's type, not d; without `accumulate`
  ProductEpilogue epilogue = ProductEpilogue::none;
  TensorView bias;  ///< [N], read, in d's type; bias_gradient: [M], written, in d's type
  TensorView aux;   ///< [M,N] in a's type; written by bias_gelu, read by gelu_backward
};

/// Which of the library's algorithms carries a call out is decided when a call of its shape first runs: it is what was chosen
/// before, or the fastest of the library's candidates on that call, or, where nothing is to be timed, the library's first.
class Product {
 public:
  Product(Device& device, Stream& stream, Choices& choices);
  ~Product();
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  /// Whether run() can carry the call's epilogue out; otherwise the caller asks for a simpler one and does the rest itself.
  bool supports(const ProductCall& call);
  /// Whether run() is to do so, rather than that the caller does the same `apart`: where the library can, and is not slower. What the
  /// call writes it must not read.
  bool fuses(const ProductCall& call, const Way& apart);
  void run(const ProductCall& call);

  /// Forgets what it chose, since other choices hold now.
  void choose_again();
  /// What the library refused since the last call.
  std::vector<std::string> take_notes();
  std::string description() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace temper::TEMPER_BACKEND
