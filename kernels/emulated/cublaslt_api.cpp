// cuBLASLt over the queues of an emulated GPU: what its documentation refuses is refused.
#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "kernels/emulated/cublaslt_product.h"
#include "kernels/emulated/gpu.h"
#include "kernels/emulated/memory.h"
#include "kernels/ops.h"

namespace temper::emulated {

struct ProductLibrary {
  std::shared_ptr<Ops> cpu = make_cpu_ops();
};

struct ProductPreference {
  std::uint64_t workspace_bytes = 0;
  std::uint32_t reduction_schemes = 7;
  std::array<std::uint32_t, 4> alignment = {256, 256, 256, 256};  // of A, B, C, D
};

}  // namespace temper::emulated

using namespace temper;
using namespace temper::emulated;

namespace {

thread_local std::string refusal;  // what the last call did not like

cublasStatus_t refuse(cublasStatus_t status, std::string why) {
  refusal = std::move(why);
  return status;
}

// ---- what the library can do -----------------------------------------------------------------------------------------

bool is_type(cudaDataType type) { return type == CUDA_R_16BF || type == CUDA_R_32F; }

/// Success, or what the library answers.
cublasStatus_t look(const ProductShape& shape) {
  const ProductOperation& operation = shape.operation;
  const ProductLayout &a = shape.a, &b = shape.b, &c = shape.c, &d = shape.d;
  const bool ta = operation.transpose_a == CUBLAS_OP_T, tb = operation.transpose_b == CUBLAS_OP_T;
  for (const ProductLayout* each : {&a, &b, &c, &d})
    if (!is_type(each->type) || each->rows == 0 || each->columns == 0 || each->ld < static_cast<std::int64_t>(each->rows))
      return refuse(CUBLAS_STATUS_INVALID_VALUE, "a matrix of type " + std::to_string(each->type) + ", " +
                                                     std::to_string(each->rows) + " rows, " + std::to_string(each->columns) +
                                                     " columns, leading dimension " + std::to_string(each->ld));
  if ((ta ? a.columns : a.rows) != d.rows || (tb ? b.rows : b.columns) != d.columns ||
      (ta ? a.rows : a.columns) != (tb ? b.columns : b.rows) || c.rows != d.rows || c.columns != d.columns)
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "the shapes of A, B, C and D do not make a product");
  if (a.type != b.type || c.type != d.type || (a.type == CUDA_R_32F && d.type != CUDA_R_32F))
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "these types of A, B, C and D");
  if (ta && tb) return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "A and B both transposed: the emulation lacks it");
  if (operation.compute == CUBLAS_COMPUTE_32F_FAST_TF32 && a.type != CUDA_R_32F)
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "TF32 with operands that are not f32");
  if (shape.has_bias() && operation.bias_type != d.type)
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "a bias of another type than D");
  if (shape.has_aux()) {
    if (operation.aux_type != d.type) return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "auxiliary values of another type than D");
    if (operation.aux_ld < shape.m() || operation.aux_ld % 8 != 0)
      return refuse(CUBLAS_STATUS_INVALID_VALUE, "a leading dimension of the auxiliary values of " +
                                                     std::to_string(operation.aux_ld) + "; it is a multiple of 8, at least " +
                                                     std::to_string(shape.m()));
    if (reinterpret_cast<std::uintptr_t>(operation.aux) % 16 != 0)
      return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "auxiliary values that are not on a 16-byte boundary");
  }
  return CUBLAS_STATUS_SUCCESS;
}

// ---- algorithms ------------------------------------------------------------------------------------------------------

constexpr std::uint64_t mark = 0x656D756C617465;  // so that algorithms of another library are refused
constexpr std::int64_t shortest_split = 64;

cublasLtMatmulAlgo_t algorithm_of(Algorithm way) { return {{mark, static_cast<std::uint64_t>(way)}}; }
bool is_algorithm(const cublasLtMatmulAlgo_t& algorithm) {
  return algorithm.data[0] == mark && algorithm.data[1] >= 1 && algorithm.data[1] <= 3;
}
Algorithm way_of(const cublasLtMatmulAlgo_t& algorithm) { return static_cast<Algorithm>(algorithm.data[1]); }

std::size_t workspace_of(Algorithm way, const ProductShape& shape) {
  return way == Algorithm::split ? 2 * sizeof(float) * static_cast<std::size_t>(shape.m() * shape.n()) : 0;
}

bool suits(Algorithm way, const ProductShape& shape) {
  return way != Algorithm::split || (shape.k() >= shortest_split && shape.operation.epilogue != CUBLASLT_EPILOGUE_BGRADB);
}

cublasLtMatmulHeuristicResult_t result_of(Algorithm way, const ProductShape& shape) {
  return {algorithm_of(way), workspace_of(way, shape), CUBLAS_STATUS_SUCCESS, 1.0f};
}

template <typename Value>
cublasStatus_t read(Value& into, const void* value, std::size_t bytes) {
  if (bytes != sizeof(Value)) return refuse(CUBLAS_STATUS_INVALID_VALUE, "an attribute of " + std::to_string(bytes) + " bytes");
  std::memcpy(&into, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

// ---- the library -----------------------------------------------------------------------------------------------------

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new ProductLibrary;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

const char* cublasLtGetStatusString(cublasStatus_t /*status*/) { return refusal.c_str(); }

std::size_t cublasLtGetVersion() { return 130000; }

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, std::uint64_t rows,
                                          std::uint64_t columns, std::int64_t ld) {
  *layout = new ProductLayout{type, rows, columns, ld};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation, cublasComputeType_t compute, cudaDataType_t scale) {
  if (scale != CUDA_R_32F || (compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_FAST_TF32))
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "sums and factors are f32 in the emulation");
  *operation = new ProductOperation{.compute = compute};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
  delete operation;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, std::size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return read(operation->transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return read(operation->transpose_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return read(operation->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return read(operation->bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return read(operation->bias_type, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
      return read(operation->aux, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
      return read(operation->aux_ld, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE:
      return read(operation->aux_type, value, bytes);
    default:
      return refuse(CUBLAS_STATUS_INVALID_VALUE, "attribute " + std::to_string(attribute) + " of an operation");
  }
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new ProductPreference;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    std::size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return read(preference->workspace_bytes, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return read(preference->reduction_schemes, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return read(preference->alignment[0], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return read(preference->alignment[1], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return read(preference->alignment[2], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return read(preference->alignment[3], value, bytes);
    default:
      return refuse(CUBLAS_STATUS_INVALID_VALUE, "attribute " + std::to_string(attribute) + " of a preference");
  }
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t /*handle*/, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t* results, int* found) {
  *found = 0;
  if (requested <= 0) return refuse(CUBLAS_STATUS_INVALID_VALUE, "no algorithm was asked for");
  const ProductShape shape{*operation, *a, *b, *c, *d};
  if (const cublasStatus_t status = look(shape); status != CUBLAS_STATUS_SUCCESS) return status;
  const auto& alignment = preference->alignment;
  const bool aligned = *std::ranges::min_element(alignment) >= 16;
  const bool sums_in_workspace = (preference->reduction_schemes & CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE) != 0;
  for (const Algorithm way : {Algorithm::aligned, Algorithm::whole, Algorithm::split}) {
    if (*found == requested || !suits(way, shape) || workspace_of(way, shape) > preference->workspace_bytes) continue;
    if ((way == Algorithm::aligned && !aligned) || (way == Algorithm::split && !sums_in_workspace)) continue;
    results[(*found)++] = result_of(way, shape);
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t /*handle*/, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a,
                                       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t* algorithm, cublasLtMatmulHeuristicResult_t* result) {
  const ProductShape shape{*operation, *a, *b, *c, *d};
  if (const cublasStatus_t status = look(shape); status != CUBLAS_STATUS_SUCCESS) return status;
  if (!is_algorithm(*algorithm)) return refuse(CUBLAS_STATUS_INVALID_VALUE, "an algorithm that this library does not have");
  if (!suits(way_of(*algorithm), shape)) return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "the algorithm does not suit the product");
  *result = result_of(way_of(*algorithm), shape);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, std::size_t workspace_bytes,
                              cudaStream_t stream) {
  const ProductShape shape{*operation, *a_layout, *b_layout, *c_layout, *d_layout};
  cublasLtMatmulHeuristicResult_t result{};
  if (const cublasStatus_t status =
          cublasLtMatmulAlgoCheck(handle, operation, a_layout, b_layout, c_layout, d_layout, algorithm, &result);
      status != CUBLAS_STATUS_SUCCESS)
    return status;
  if (result.workspaceSize > workspace_bytes || (result.workspaceSize > 0 && workspace == nullptr))
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "the algorithm needs a workspace of " + std::to_string(result.workspaceSize) +
                                                   " bytes, not " + std::to_string(workspace_bytes));
  if ((shape.has_bias() && operation->bias == nullptr) || (shape.has_aux() && operation->aux == nullptr))
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "an epilogue without its bias or its auxiliary values");
  if (c == d && c_layout->ld != d_layout->ld)
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "C and D in the same memory, with leading dimensions of " +
                                                   std::to_string(c_layout->ld) + " and " + std::to_string(d_layout->ld));
  const auto reach = [](const ProductLayout& layout) {
    return (static_cast<std::size_t>(layout.ld) * (layout.columns - 1) + layout.rows) * width_of(layout.type);
  };
  const std::pair<const void*, std::size_t> operands[] = {
      {a, reach(*a_layout)}, {b, reach(*b_layout)}, {c, reach(*c_layout)}, {d, reach(*d_layout)}};
  const std::size_t boundary = way_of(*algorithm) == Algorithm::aligned ? 16 : width_of(a_layout->type);
  for (const auto& [values, bytes] : operands) {
    std::string problem;
    if (memory().kind_of(values, bytes, problem) == MemoryKind::pageable) problem += " outside of the device's memory";
    if (reinterpret_cast<std::uintptr_t>(values) % boundary != 0) problem += " not on a boundary of " + std::to_string(boundary);
    if (!problem.empty()) return refuse(CUBLAS_STATUS_INVALID_VALUE, "an operand of a product:" + problem);
  }
  const Gpu::Lock lock(stream->gpu->mutex);
  if (!stream->gpu->fault.empty()) return refuse(CUBLAS_STATUS_EXECUTION_FAILED, stream->gpu->fault);
  const PendingProduct product{handle->cpu,
                               *operation,
                               *a_layout,
                               *b_layout,
                               *c_layout,
                               *d_layout,
                               a,
                               b,
                               c,
                               d,
                               *static_cast<const float*>(alpha),
                               *static_cast<const float*>(beta),
                               way_of(*algorithm)};
  stream->push({[product] { product.run(); }});
  return CUBLAS_STATUS_SUCCESS;
}
