// CUDA's run time over the queues of an emulated GPU, as strict as its documentation: what may not be called while this thread
// captures, which host memory a copy reads when, what a block may have of shared memory, and errors that stay.
#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "kernels/emulated/gpu.h"
#include "kernels/emulated/memory.h"
#include "kernels/emulated/profiler.h"

using namespace temper::emulated;

namespace {

struct HostThread {
  int gpu = 0;
  std::vector<Queue*> captures;  // begun by this thread
  cudaError_t last = cudaSuccess;
  cudaError_t explained = cudaSuccess;  // the error that `why` tells of
  std::string why;
};
thread_local HostThread host;

struct NamedError {
  cudaError_t error;
  const char* name;
};
constexpr std::array named_errors = {NamedError{cudaSuccess, "cudaSuccess"},
                                     NamedError{cudaErrorInvalidValue, "cudaErrorInvalidValue"},
                                     NamedError{cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation"},
                                     NamedError{cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration"},
                                     NamedError{cudaErrorNoDevice, "cudaErrorNoDevice"},
                                     NamedError{cudaErrorInvalidDevice, "cudaErrorInvalidDevice"},
                                     NamedError{cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle"},
                                     NamedError{cudaErrorNotReady, "cudaErrorNotReady"},
                                     NamedError{cudaErrorLaunchFailure, "cudaErrorLaunchFailure"},
                                     NamedError{cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported"},
                                     NamedError{cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated"},
                                     NamedError{cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation"},
                                     NamedError{cudaErrorCapturedEvent, "cudaErrorCapturedEvent"},
                                     NamedError{cudaErrorStreamCaptureWrongThread, "cudaErrorStreamCaptureWrongThread"}};

/// A call that could make the thread that captures wait, or change what the capture relies on: the capture is lost. Not to be
/// called with a GPU's lock.
cudaError_t refuse_in_capture(const char* call) {
  if (host.captures.empty()) return cudaSuccess;
  for (Queue* stream : host.captures) {
    const Gpu::Lock lock(stream->gpu->mutex);  // another thread may ask how the recording is
    stream->capture->invalid = true;
  }
  return fail(cudaErrorStreamCaptureUnsupported, std::string(call) + " while this thread records a graph");
}

cudaError_t wait(Gpu& gpu, Gpu::Lock& lock, const std::function<bool()>& done) {
  if (done()) return cudaSuccess;
  ++gpu.host_waits;
  return gpu.run_until(lock, done) ? cudaSuccess : fail_for_ever(gpu);
}

cudaError_t take(void** made, std::size_t bytes, MemoryKind kind, const char* call) {
  if (const cudaError_t refused = refuse_in_capture(call); refused != cudaSuccess) return refused;
  Gpu& gpu = current_gpu();
  return on(gpu, [&](Gpu::Lock&) {
    const bool fits = kind != MemoryKind::device || bytes <= Gpu::memory_bytes - gpu.taken_bytes;
    *made = fits ? memory().allocate(gpu, kind, bytes) : nullptr;
    if (*made == nullptr) return fail(cudaErrorMemoryAllocation, "out of memory");
    if (kind == MemoryKind::device) gpu.taken_bytes += bytes;
    return cudaSuccess;
  });
}

// Both kinds wait for all that the GPU has to do. The memory goes back even where that ends in a fault.
cudaError_t give_back(void* given, MemoryKind kind, const char* call) {
  if (given == nullptr) return cudaSuccess;
  if (const cudaError_t refused = refuse_in_capture(call); refused != cudaSuccess) return refused;
  Gpu* const gpu = memory().owner(given, kind);
  if (gpu == nullptr) return fail(cudaErrorInvalidValue, std::string(call) + ": no such allocation");
  Gpu::Lock lock(gpu->mutex);
  const bool whole = gpu->run_until(lock, [gpu] { return gpu->idle(); });
  const std::size_t bytes = memory().release(given);
  if (kind == MemoryKind::device) gpu->taken_bytes -= bytes;
  return whole ? cudaSuccess : fail_for_ever(*gpu);
}

}  // namespace

namespace temper::emulated {

Gpu& current_gpu() { return gpu(host.gpu); }

cudaError_t fail(cudaError_t error, std::string why) {
  host.last = host.explained = error;
  host.why = std::move(why);
  return error;
}

}  // namespace temper::emulated

// ---- errors, devices -------------------------------------------------------------------------------------------------

// A fault stays: it is the GPU's, everything else this thread's.
cudaError_t cudaGetLastError() {
  if (gpu_count() > 0) {
    const Gpu::Lock lock(current_gpu().mutex);
    if (!current_gpu().fault.empty()) return cudaErrorLaunchFailure;
  }
  return std::exchange(host.last, cudaSuccess);
}

const char* cudaGetErrorName(cudaError_t error) {
  for (const NamedError& each : named_errors)
    if (each.error == error) return each.name;
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  return error != cudaSuccess && error == host.explained ? host.why.c_str() : cudaGetErrorName(error);
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = gpu_count();
  return *count > 0 ? cudaSuccess : fail(cudaErrorNoDevice, "no GPU is emulated yet");
}

cudaError_t cudaGetDevice(int* device) {
  *device = host.gpu;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= gpu_count()) return fail(cudaErrorInvalidDevice, "GPU " + std::to_string(device) + " is not there");
  host.gpu = device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= gpu_count()) return fail(cudaErrorInvalidDevice, "GPU " + std::to_string(device) + " is not there");
  *properties = {};
  const std::string name = "CUDA sources on the CPU, seed " + std::to_string(gpu(device).execution.seed);
  name.copy(properties->name, sizeof(properties->name) - 1);
  properties->totalGlobalMem = Gpu::memory_bytes;
  properties->major = 9;
  properties->multiProcessorCount = 2;  // enough that work is split over blocks, few enough that small shapes fill them
  properties->sharedMemPerBlockOptin = gpu(device).execution.shared_bytes;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

// ---- memory ----------------------------------------------------------------------------------------------------------

cudaError_t cudaMalloc(void** made, std::size_t bytes) { return take(made, bytes, MemoryKind::device, "cudaMalloc"); }
cudaError_t cudaFree(void* given) { return give_back(given, MemoryKind::device, "cudaFree"); }
cudaError_t cudaMallocHost(void** made, std::size_t bytes) { return take(made, bytes, MemoryKind::pinned, "cudaMallocHost"); }
cudaError_t cudaFreeHost(void* given) { return give_back(given, MemoryKind::pinned, "cudaFreeHost"); }

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  Gpu& gpu = current_gpu();
  return on(gpu, [&](Gpu::Lock&) {
    *total = Gpu::memory_bytes;
    *free = Gpu::memory_bytes - gpu.taken_bytes;
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return on(stream, [&](Gpu::Lock& lock) {
    if (kind != cudaMemcpyDefault)
      return fail(cudaErrorInvalidValue, "copies but those of kind cudaMemcpyDefault are not emulated");
    if (bytes == 0) return cudaSuccess;
    std::string problem;
    const MemoryKind target = memory().kind_of(to, bytes, problem), source = memory().kind_of(from, bytes, problem);
    const auto* const first = static_cast<const char*>(from);
    if (first < static_cast<char*>(to) + bytes && static_cast<char*>(to) < first + bytes) problem = "from and to overlap";
    if (!problem.empty()) return fail(cudaErrorInvalidValue, "a copy: " + problem);
    const auto copy = [=] { std::memcpy(to, from, bytes); };
    if (target != MemoryKind::pageable && source != MemoryKind::pageable) {
      stream->push({copy});
      // The host does what is between host memories, in the stream's order.
      if (target == MemoryKind::device || source == MemoryKind::device || stream->capture) return cudaSuccess;
    } else {
      if (stream->capture) {
        stream->capture->invalid = true;
        return fail(cudaErrorStreamCaptureUnsupported, "a copy from or to pageable memory while this thread records a graph");
      }
      if (target == MemoryKind::device) {  // through memory of the driver's own, which is read late
        auto staged = std::make_shared<std::vector<char>>(first, first + bytes);
        stream->push({[staged, to, bytes] { std::memcpy(to, staged->data(), bytes); }});
        return cudaSuccess;
      }
      stream->push({copy});
    }
    return wait(*stream->gpu, lock, [&] { return stream->gpu->idle(*stream); });
  });
}

cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  return on(stream, [&](Gpu::Lock&) {
    std::string problem;
    if (memory().kind_of(to, bytes, problem) == MemoryKind::pageable && bytes > 0) problem = "memory that is not the device's";
    if (!problem.empty()) return fail(cudaErrorInvalidValue, "cudaMemsetAsync: " + problem);
    stream->push({[=] { std::memset(to, value, bytes); }});
    return cudaSuccess;
  });
}

// ---- streams, events -------------------------------------------------------------------------------------------------

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned /*flags*/, int /*priority*/) {
  Gpu& gpu = current_gpu();
  return on(gpu, [&](Gpu::Lock&) {
    gpu.queues.push_back(std::make_unique<Queue>(Queue{&gpu, {}, {}}));
    *stream = gpu.queues.back().get();
    return cudaSuccess;
  });
}

// What is queued runs nevertheless.
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  std::erase(host.captures, stream);
  const Gpu::Lock lock(stream->gpu->mutex);
  stream->destroyed = true;
  if (stream->gpu->idle(*stream)) std::erase_if(stream->gpu->queues, [&](const auto& queue) { return queue.get() == stream; });
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t refused = refuse_in_capture("cudaStreamSynchronize"); refused != cudaSuccess) return refused;
  return on(stream, [&](Gpu::Lock& lock) { return wait(*stream->gpu, lock, [&] { return stream->gpu->idle(*stream); }); });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned /*flags*/) {
  bool captured = false;
  std::shared_ptr<EventState> last;
  {
    const Gpu::Lock lock(event->gpu->mutex);  // which may be another GPU than the stream's
    captured = event->captured;
    last = event->last;
  }
  return on(stream, [&](Gpu::Lock&) {
    if (captured) return fail(cudaErrorCapturedEvent, "the event was last recorded into a graph");
    if (last == nullptr) return cudaSuccess;
    if (stream->capture) {
      stream->capture->invalid = true;
      return fail(cudaErrorStreamCaptureIsolation, "a graph cannot wait for an event from outside");
    }
    stream->push({.ready = [last] { return last->reached.load(); }, .by_others = event->gpu != stream->gpu});
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new EventHandle{.timing = (flags & cudaEventDisableTiming) == 0, .gpu = &current_gpu(), .last = nullptr};
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return on(stream, [&](Gpu::Lock&) {
    if (event->gpu != stream->gpu) return fail(cudaErrorInvalidResourceHandle, "the event is another GPU's than the stream");
    event->captured = stream->capture.has_value();
    if (event->captured) return cudaSuccess;
    event->last = std::make_shared<EventState>();
    stream->push({.reaches = event->last});
    return cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (const cudaError_t refused = refuse_in_capture("cudaEventSynchronize"); refused != cudaSuccess) return refused;
  return on(*event->gpu, [&](Gpu::Lock& lock) {
    if (event->captured) return fail(cudaErrorCapturedEvent, "the event was last recorded into a graph");
    return wait(*event->gpu, lock, [last = event->last] { return last == nullptr || last->reached.load(); });
  });
}

// A GPU works while the host asks again and again.
cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (const cudaError_t refused = refuse_in_capture("cudaEventQuery"); refused != cudaSuccess) return refused;
  return on(*event->gpu, [&](Gpu::Lock& lock) {
    if (event->captured) return fail(cudaErrorCapturedEvent, "the event was last recorded into a graph");
    const auto last = event->last;
    if (last != nullptr && !last->reached) event->gpu->run_one(lock);
    if (!event->gpu->fault.empty()) return fail_for_ever(*event->gpu);
    return last == nullptr || last->reached ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return on(*end->gpu, [&](Gpu::Lock&) {
    if (start->gpu != end->gpu) return fail(cudaErrorInvalidResourceHandle, "events of different GPUs");
    if (!start->timing || !end->timing || start->last == nullptr || end->last == nullptr)
      return fail(cudaErrorInvalidResourceHandle, "an event without time or without record");
    if (!start->last->reached || !end->last->reached) return fail(cudaErrorNotReady, "an event that is not reached yet");
    *milliseconds = static_cast<float>(end->last->milliseconds - start->last->milliseconds);
    return cudaSuccess;
  });
}

// ---- graphs ----------------------------------------------------------------------------------------------------------

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return on(stream, [&](Gpu::Lock&) {
    if (mode != cudaStreamCaptureModeThreadLocal) return fail(cudaErrorInvalidValue, "only thread-local captures are emulated");
    if (stream->capture) return fail(cudaErrorInvalidValue, "this stream is already recording a graph");
    stream->capture = Queue::Capture{std::this_thread::get_id(), false, {}};
    host.captures.push_back(stream);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  return on(stream, [&](Gpu::Lock&) {
    if (!stream->capture) return fail(cudaErrorInvalidValue, "this stream is not recording a graph");
    if (stream->capture->thread != std::this_thread::get_id())
      return fail(cudaErrorStreamCaptureWrongThread, "another thread began this recording");
    std::erase(host.captures, stream);
    const Queue::Capture capture = std::move(*stream->capture);
    stream->capture.reset();
    if (capture.invalid) return fail(cudaErrorStreamCaptureInvalidated, "a call that failed has spoilt the recording");
    *graph = new GraphTasks{capture.tasks};
    return cudaSuccess;
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return on(stream, [&](Gpu::Lock&) {
    *status = !stream->capture           ? cudaStreamCaptureStatusNone
              : stream->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                         : cudaStreamCaptureStatusActive;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* instance, cudaGraph_t graph, unsigned long long /*flags*/) {
  if (graph == nullptr) return fail(cudaErrorInvalidValue, "no graph");
  *instance = new GraphInstance{graph->tasks};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t instance, cudaStream_t stream) {
  return on(stream, [&](Gpu::Lock&) {
    if (instance == nullptr) return fail(cudaErrorInvalidValue, "no graph");
    count_graph_launch();
    for (const Task& task : instance->tasks) stream->push(task);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t instance) {
  delete instance;
  return cudaSuccess;
}
