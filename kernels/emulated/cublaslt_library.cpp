#include "kernels/cuda/cublaslt_library.h"

namespace temper::emulated {

const CublasLt& cublaslt() {
  static const CublasLt library = {
      .create = &cublasLtCreate,
      .destroy = &cublasLtDestroy,
      .status_string = &cublasLtGetStatusString,
      .version = &cublasLtGetVersion,
      .create_layout = &cublasLtMatrixLayoutCreate,
      .destroy_layout = &cublasLtMatrixLayoutDestroy,
      .create_operation = &cublasLtMatmulDescCreate,
      .destroy_operation = &cublasLtMatmulDescDestroy,
      .set_operation = &cublasLtMatmulDescSetAttribute,
      .create_preference = &cublasLtMatmulPreferenceCreate,
      .destroy_preference = &cublasLtMatmulPreferenceDestroy,
      .set_preference = &cublasLtMatmulPreferenceSetAttribute,
      .heuristic = &cublasLtMatmulAlgoGetHeuristic,
      .check_algorithm = &cublasLtMatmulAlgoCheck,
      .multiply = &cublasLtMatmul,
  };
  return library;
}

}  // namespace temper::emulated
