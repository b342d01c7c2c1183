// The part of CUDA's run time that temper calls, declared for the emulation: what is compiled for it finds this file in place of
// NVIDIA's. Link names are our own, so that a program can hold both libraries. kernels/emulated/cuda_api.cpp implements it, and
// where there is a toolkit, toolkit_check.cpp holds it against the real thing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <tuple>
#include <type_traits>

namespace temper::emulated {
struct Queue;
struct EventHandle;
struct GraphTasks;
struct GraphInstance;
}  // namespace temper::emulated

enum cudaError_t : unsigned {};
enum cudaMemcpyKind : unsigned {};
enum cudaFuncAttribute : unsigned {};
enum cudaStreamCaptureMode : unsigned {};
enum cudaStreamCaptureStatus : unsigned {};
enum cudaDataType_t : unsigned {};
using cudaDataType = cudaDataType_t;
using cudaStream_t = temper::emulated::Queue*;
using cudaEvent_t = temper::emulated::EventHandle*;
using cudaGraph_t = temper::emulated::GraphTasks*;
using cudaGraphExec_t = temper::emulated::GraphInstance*;

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_extent = 1, unsigned y_extent = 1, unsigned z_extent = 1)  // NOLINT: converts, as CUDA's does
      : x(x_extent), y(y_extent), z(z_extent) {}
};

struct cudaDeviceProp {
  char name[256];
  std::size_t totalGlobalMem;
  int major;
  int minor;
  int multiProcessorCount;
  std::size_t sharedMemPerBlockOptin;
};

struct cudaFuncAttributes {
  std::size_t sharedSizeBytes;
  int maxDynamicSharedSizeBytes;
};

struct cudaLaunchAttribute;

struct cudaLaunchConfig_t {
  dim3 gridDim;
  dim3 blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};

#define TEMPER_VALUE(type, name, value) \
  inline constexpr type name { value }
#define TEMPER_FIELD(record, type, name) static_assert(std::is_same_v<decltype(record::name), type>)
#define TEMPER_FUNCTION(result, name, parameters) extern "C" result name parameters __asm__("emulated_" #name)
#include "kernels/emulated/toolkit/cuda_declarations.h"
#undef TEMPER_VALUE
#undef TEMPER_FIELD
#undef TEMPER_FUNCTION

namespace temper::emulated {
/// Queues a launch; each CUDA thread calls `body`.
cudaError_t queue_kernel(const cudaLaunchConfig_t& config, const void* function, std::function<void()> body);
}  // namespace temper::emulated

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...), Arguments&&... arguments) {
  return temper::emulated::queue_kernel(
      *config, reinterpret_cast<const void*>(kernel),
      [kernel, values = std::make_tuple(static_cast<Parameters>(arguments)...)] { std::apply(kernel, values); });
}
