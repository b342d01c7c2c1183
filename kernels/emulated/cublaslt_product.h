// A product as cuBLASLt describes it, and its arithmetic: by the CPU backend in f32 from the stored types. An epilogue works on the
// f32 result, as the library's does: GELU of what its auxiliary output is the rounding of.
#pragma once

#include <cublasLt.h>

#include <cstdint>
#include <memory>

#include "kernels/ops.h"

namespace temper::emulated {

struct ProductOperation {
  cublasComputeType_t compute;
  cublasOperation_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  void* bias = nullptr;
  void* aux = nullptr;
  std::int64_t aux_ld = 0;
  cudaDataType_t bias_type = CUDA_R_32F, aux_type = CUDA_R_32F;
};

struct ProductLayout {
  cudaDataType type;
  std::uint64_t rows, columns;
  std::int64_t ld;
};

inline std::size_t width_of(cudaDataType type) { return type == CUDA_R_16BF ? 2 : 4; }

/// One product: D = alpha op(A) op(B) + beta C, matrices column-major.
struct ProductShape {
  const ProductOperation& operation;
  const ProductLayout &a, &b, &c, &d;

  std::int64_t m() const { return static_cast<std::int64_t>(d.rows); }
  std::int64_t n() const { return static_cast<std::int64_t>(d.columns); }
  std::int64_t k() const { return static_cast<std::int64_t>(operation.transpose_a == CUBLAS_OP_T ? a.rows : a.columns); }
  bool has_bias() const {
    return operation.epilogue == CUBLASLT_EPILOGUE_BIAS || operation.epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS ||
           operation.epilogue == CUBLASLT_EPILOGUE_BGRADB;
  }
  bool makes_gelu() const {
    return operation.epilogue == CUBLASLT_EPILOGUE_GELU_AUX || operation.epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
  }
  bool has_aux() const { return makes_gelu() || operation.epilogue == CUBLASLT_EPILOGUE_DGELU; }
};

/// How a product may be made: as a whole, whole from operands on 16-byte boundaries, or as two sums of half the length, which
/// rounds otherwise.
enum class Algorithm : std::uint64_t { whole = 1, aligned = 2, split = 3 };

/// All that a product needs when its turn comes.
struct PendingProduct {
  std::shared_ptr<Ops> cpu;
  ProductOperation operation;
  ProductLayout a_layout, b_layout, c_layout, d_layout;
  const void *a, *b, *c;
  void* d;
  float alpha, beta;
  Algorithm way;

  ProductShape shape() const { return {operation, a_layout, b_layout, c_layout, d_layout}; }
  void run() const;

 private:
  void sum(std::int64_t begin, std::int64_t end, TensorView out) const;
  void finish(const float* sums) const;
};

}  // namespace temper::emulated
