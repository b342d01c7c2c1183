// The part of cuBLASLt that temper calls, as cuda_runtime.h beside it. kernels/emulated/cublaslt_api.cpp implements it.
#pragma once

#include "kernels/emulated/toolkit/cuda_runtime.h"

namespace temper::emulated {
struct ProductLibrary;
struct ProductOperation;
struct ProductLayout;
struct ProductPreference;
}  // namespace temper::emulated

enum cublasStatus_t : unsigned {};
enum cublasOperation_t : unsigned {};
enum cublasComputeType_t : unsigned {};
enum cublasLtEpilogue_t : unsigned {};
enum cublasLtReductionScheme_t : unsigned {};
enum cublasLtMatmulDescAttributes_t : unsigned {};
enum cublasLtMatmulPreferenceAttributes_t : unsigned {};
using cublasLtHandle_t = temper::emulated::ProductLibrary*;
using cublasLtMatmulDesc_t = temper::emulated::ProductOperation*;
using cublasLtMatrixLayout_t = temper::emulated::ProductLayout*;
using cublasLtMatmulPreference_t = temper::emulated::ProductPreference*;

struct cublasLtMatmulAlgo_t {
  std::uint64_t data[8];
};

struct cublasLtMatmulHeuristicResult_t {
  cublasLtMatmulAlgo_t algo;
  std::size_t workspaceSize;
  cublasStatus_t state;
  float wavesCount;
};

#define TEMPER_VALUE(type, name, value) \
  inline constexpr type name { value }
#define TEMPER_FIELD(record, type, name) static_assert(std::is_same_v<decltype(record::name), type>)
#define TEMPER_FUNCTION(result, name, parameters) extern "C" result name parameters __asm__("emulated_" #name)
#include "kernels/emulated/toolkit/cublaslt_declarations.h"
#undef TEMPER_VALUE
#undef TEMPER_FIELD
#undef TEMPER_FUNCTION
