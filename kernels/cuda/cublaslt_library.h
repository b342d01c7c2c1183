// The functions of cuBLASLt that products call. It is half a gigabyte, which takes a process longer to load than everything else:
// linked, it would cost each of them a fifth of a second, with a GPU or without. So the first product loads it.
#pragma once

#include <cublasLt.h>

#include <string>

namespace temper::TEMPER_BACKEND {

struct CublasLt {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtGetStatusString) status_string;
  decltype(&cublasLtGetVersion) version;
  decltype(&cublasLtMatrixLayoutCreate) create_layout;
  decltype(&cublasLtMatrixLayoutDestroy) destroy_layout;
  decltype(&cublasLtMatmulDescCreate) create_operation;
  decltype(&cublasLtMatmulDescDestroy) destroy_operation;
  decltype(&cublasLtMatmulDescSetAttribute) set_operation;
  decltype(&cublasLtMatmulPreferenceCreate) create_preference;
  decltype(&cublasLtMatmulPreferenceDestroy) destroy_preference;
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_preference;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
  decltype(&cublasLtMatmulAlgoCheck) check_algorithm;
  decltype(&cublasLtMatmul) multiply;
};

/// Throws Unsupported with the reason when the library is not there. kernels/emulated/cublaslt_library.cpp has one of its own.
const CublasLt& cublaslt();
/// "cuBLASLt 13.1.0"
inline std::string cublaslt_version() {
  const std::size_t version = cublaslt().version();
  return "cuBLASLt " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

}  // namespace temper::TEMPER_BACKEND
