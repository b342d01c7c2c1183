#include "kernels/cuda/cublaslt_library.h"

#include <dlfcn.h>

#include <string>

#include "kernels/check.h"

namespace temper::cuda {

namespace {

void* open() {
  const std::string name = "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR);
  for (const std::string& each : {name, std::string(TEMPER_CUBLASLT)})  // where the system looks, then where this was built
    if (void* opened = dlopen(each.c_str(), RTLD_NOW | RTLD_LOCAL)) return opened;
  throw Unsupported(name + " cannot be loaded: " + dlerror() + "; put its folder into LD_LIBRARY_PATH");
}

struct Symbol {
  void* address;
  template <typename Function>
  operator Function*() const {
    return reinterpret_cast<Function*>(address);
  }
};

CublasLt load() {
  void* const file = open();
  const auto find = [file](const char* name) -> Symbol {
    if (void* address = dlsym(file, name)) return {address};
    throw Unsupported(std::string("cuBLASLt lacks a function: ") + dlerror());
  };
  return {
      .create = find("cublasLtCreate"),
      .destroy = find("cublasLtDestroy"),
      .status_string = find("cublasLtGetStatusString"),
      .version = find("cublasLtGetVersion"),
      .create_layout = find("cublasLtMatrixLayoutCreate"),
      .destroy_layout = find("cublasLtMatrixLayoutDestroy"),
      .create_operation = find("cublasLtMatmulDescCreate"),
      .destroy_operation = find("cublasLtMatmulDescDestroy"),
      .set_operation = find("cublasLtMatmulDescSetAttribute"),
      .create_preference = find("cublasLtMatmulPreferenceCreate"),
      .destroy_preference = find("cublasLtMatmulPreferenceDestroy"),
      .set_preference = find("cublasLtMatmulPreferenceSetAttribute"),
      .heuristic = find("cublasLtMatmulAlgoGetHeuristic"),
      .check_algorithm = find("cublasLtMatmulAlgoCheck"),
      .multiply = find("cublasLtMatmul"),
  };
}

}  // namespace

const CublasLt& cublaslt() {
  static const CublasLt library = load();
  return library;
}

}  // namespace temper::cuda
