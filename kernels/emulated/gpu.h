// One emulated GPU. A stream is a queue that nobody works on until the host waits for something; then the queues' tasks run in an
// order drawn from the seed that respects nothing but each queue's order and events, so that a missing event or a host buffer
// changed too early shows as a wrong result. cuda_api.cpp, cublaslt_api.cpp and nccl_api.cpp are the libraries on top of it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "kernels/emulated/grid.h"
#include "kernels/emulated/toolkit/cuda_runtime.h"

namespace temper::emulated {

class Gpu;

/// One record of an event. Another GPU may wait for it, under a lock of its own.
struct EventState {
  std::atomic<bool> reached = false;
  double milliseconds = 0;  ///< of the GPU's clock, when it was reached
};

struct Task {
  std::function<void()> work = nullptr;
  std::function<bool()> ready = nullptr;  ///< asked while it is the first of its queue; null: at once
  bool by_others = false;                 ///< what makes it ready is the work of another GPU
  std::shared_ptr<EventState> reaches = nullptr;
};

struct GraphTasks {
  std::vector<Task> tasks;
};

struct GraphInstance {
  std::vector<Task> tasks;
};

struct EventHandle {
  bool timing = true;
  bool captured = false;             ///< recorded last into a graph
  Gpu* const gpu;                    ///< current when it was made, with whose lock the rest is read and written
  std::shared_ptr<EventState> last;  ///< null before the first record
};

/// A stream.
struct Queue {
  struct Capture {
    std::thread::id thread;
    bool invalid = false;
    std::vector<Task> tasks;
  };
  Gpu* gpu;
  std::deque<Task> tasks;
  std::optional<Capture> capture;
  bool destroyed = false;

  /// Into the graph that is being captured, or to the end of the queue. With the GPU's lock.
  void push(Task task) { capture ? capture->tasks.push_back(std::move(task)) : tasks.push_back(std::move(task)); }
};

/// What a GPU knows of a kernel.
struct KernelFacts {
  std::optional<std::size_t> declared_bytes;  ///< of shared memory; known when a block has run
  std::optional<int> most_dynamic_bytes;      ///< that the host asked for
};

class Gpu {
 public:
  static constexpr std::size_t memory_bytes = std::size_t{64} << 30;
  static constexpr std::size_t shared_without_asking = 48 * 1024;

  explicit Gpu(const Execution& how) : execution(how), grids(how) {}

  using Lock = std::unique_lock<std::mutex>;
  /// Runs tasks of all queues until `done`, or until a task ends in a fault: then nothing is queued any more, and never will be.
  /// False when there is a fault.
  bool run_until(Lock& lock, const std::function<bool()>& done);
  /// Runs one task if one is ready: time passes.
  void run_one(Lock& lock);
  bool idle(const Queue& queue) const { return queue.tasks.empty() && running_ != &queue; }
  bool idle() const;

  const Execution execution;
  GridRunner grids;
  std::mutex mutex;
  std::vector<std::unique_ptr<Queue>> queues;
  std::map<const void*, KernelFacts> kernels;
  std::string fault;  ///< of a kernel, after which this GPU does nothing more
  std::size_t taken_bytes = 0;
  std::uint64_t host_waits = 0;  ///< how often the host waited for what was not done yet

 private:
  enum class Step : std::uint8_t { ran, waits_for_others, stuck };
  Step step(Lock& lock);
  void forget_work();

  const Queue* running_ = nullptr;  // a task of it is, by the thread that is in step()
  std::condition_variable ran_;
  std::uint64_t draws_ = 0;
  double clock_ = 0;  // milliseconds
};

/// Adds a GPU to this process and returns its number, that of CudaOptions::device.
int add_gpu(const Execution& execution);
int gpu_count();
Gpu& gpu(int number);
/// That of the last cudaSetDevice of this thread.
Gpu& current_gpu();

/// A call's failure: kept for cudaGetLastError, with `why` for cudaGetErrorString.
cudaError_t fail(cudaError_t error, std::string why);
inline cudaError_t fail_for_ever(const Gpu& gpu) { return fail(cudaErrorLaunchFailure, gpu.fault); }

/// Runs a call's `body` with the GPU's lock, unless the GPU is behind a fault, which every call then answers.
template <typename Body>
cudaError_t on(Gpu& gpu, const Body& body) {
  Gpu::Lock lock(gpu.mutex);
  return gpu.fault.empty() ? body(lock) : fail_for_ever(gpu);
}

template <typename Body>
cudaError_t on(Queue* stream, const Body& body) {
  if (stream == nullptr) return fail(cudaErrorInvalidResourceHandle, "the default stream is not emulated");
  return on(*stream->gpu, body);
}

}  // namespace temper::emulated
