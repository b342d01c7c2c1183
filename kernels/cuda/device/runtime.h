// What the host side of this backend needs of CUDA: memory, streams, events, graphs, launches. Every failing call throws, naming
// the call and CUDA's reason.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <memory>
#include <string>
#include <type_traits>

#include <device/range.h>
#include "kernels/check.h"
#include "kernels/ops.h"

namespace temper::TEMPER_BACKEND {

/// Throws when `status` is an error; OutOfMemory for cudaErrorMemoryAllocation, else DeviceError. `what` names the call.
void check(cudaError_t status, const char* what);

/// Work recorded once and replayed with the same arguments. Null until Stream::end_capture.
class Graph {
 public:
  Graph() = default;
  explicit Graph(cudaGraphExec_t graph) : graph_(graph, &cudaGraphExecDestroy) {}
  cudaGraphExec_t get() const { return graph_.get(); }

 private:
  std::unique_ptr<std::remove_pointer_t<cudaGraphExec_t>, cudaError_t (*)(cudaGraphExec_t)> graph_{nullptr, &cudaGraphExecDestroy};
};

class Device;
class Event;

/// A queue of work on the device, in order.
class Stream {
 public:
  /// `device` must outlive it.
  explicit Stream(Device& device);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// Between any of host (pinned) and device memory.
  void copy(void* to, const void* from, std::size_t bytes);
  void zero(void* to, std::size_t bytes);
  /// Work queued from now on starts after `event`.
  void wait(const Event& event);
  /// The host waits for all work so far.
  void synchronize();

  /// Work queued between the two is recorded and does not run; memory that it names must stay where it is.
  void begin_capture();
  Graph end_capture();
  void launch(const Graph& graph);

  cudaStream_t get() const { return stream_; }
  const Device& device() const { return device_; }

 private:
  Device& device_;
  cudaStream_t stream_ = nullptr;
};

class Event {
 public:
  explicit Event(Device& device);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(Stream& stream);
  /// The host waits for the work before the last record(); at once when there was none.
  void synchronize() const;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

/// Whether there is a GPU that can run these kernels; otherwise `reason` says what is missing.
bool gpu_is_there(std::string* reason);
/// What to tell and to do where cudaGetDeviceCount answers `status` or finds none; versions as CUDA counts them (13000 is 13.0), of the
/// driver 0 where there is none.
std::string why_no_gpu(cudaError_t status, int driver, int runtime);
/// The GPU that `options` name, of which nothing is taken. Throws Unsupported with the reason when there is none, or it cannot do
/// what they ask for.
DeviceInfo gpu_info(const CudaOptions& options);

class Device {
 public:
  /// That of gpu_info().
  explicit Device(CudaOptions options = {});

  /// CUDA works on the GPU that the calling thread chose last, which another Device may have done, or on the first one.
  void make_current() const;

  /// On 256-byte boundaries, contents undefined.
  void* allocate(std::size_t bytes);
  void release(void* memory) noexcept;
  /// Host memory that copies may read and write while the host goes on.
  void* allocate_pinned(std::size_t bytes);
  void release_pinned(void* memory) noexcept;

  const DeviceInfo& info() const { return info_; }
  int multiprocessors() const { return info_.threads; }
  /// What one block may have, dynamic and declared together.
  std::size_t shared_bytes_per_block() const { return shared_bytes_per_block_; }
  const CudaOptions& options() const { return options_; }

 private:
  int ordinal_ = 0;
  DeviceInfo info_;
  std::size_t shared_bytes_per_block_ = 0;
  CudaOptions options_;
};

struct LaunchShape {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;  ///< dynamic
};

/// Queues kernel(arguments...). `name` stands in error messages and in profilers.
template <typename... Parameters, typename... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), const LaunchShape& shape, Stream& stream, Arguments&&... arguments) {
  const Range range(name);
  stream.device().make_current();
  constexpr std::size_t without_asking = 48 * 1024;
  const auto* const function = reinterpret_cast<const void*>(kernel);
  if (shape.shared_bytes > 0) {  // what a kernel declares never needs asking, but counts
    cudaFuncAttributes attributes{};
    check(cudaFuncGetAttributes(&attributes, function), name);
    if (attributes.sharedSizeBytes + shape.shared_bytes > without_asking)
      check(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shape.shared_bytes)),
            name);
  }
  const cudaLaunchConfig_t config = {shape.grid, shape.block, shape.shared_bytes, stream.get(), nullptr, 0};
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), name);
}

}  // namespace temper::TEMPER_BACKEND
