#include <device/runtime.h>

#include <cstdio>
#include <utility>

namespace temper::TEMPER_BACKEND {

namespace {
#define TEMPER_TEXT_OF(name) #name
#define TEMPER_TEXT(name) TEMPER_TEXT_OF(name)
constexpr const char* backend_name = TEMPER_TEXT(TEMPER_BACKEND);  // "cuda", "emulated"
}  // namespace

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  const std::string message = std::string(what) + ": " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ")";
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // this error is not sticky; leave no trace of it
    throw OutOfMemory(message);
  }
  throw DeviceError(message);
}

// ---- Stream, Event ---------------------------------------------------------------------------------------------------

Stream::Stream(Device& device) : device_(device) {
  device.make_current();
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
}
Stream::~Stream() { cudaStreamDestroy(stream_); }

void Stream::copy(void* to, const void* from, std::size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_), "cudaMemcpyAsync");
}

void Stream::zero(void* to, std::size_t bytes) { check(cudaMemsetAsync(to, 0, bytes, stream_), "cudaMemsetAsync"); }

void Stream::wait(const Event& event) { check(cudaStreamWaitEvent(stream_, event.get(), 0), "cudaStreamWaitEvent"); }

void Stream::synchronize() { check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

void Stream::begin_capture() { check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture"); }

Graph Stream::end_capture() {
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(stream_, &graph), "cudaStreamEndCapture");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  check(status, "cudaGraphInstantiate");
  return Graph(executable);
}

void Stream::launch(const Graph& graph) { check(cudaGraphLaunch(graph.get(), stream_), "cudaGraphLaunch"); }

Event::Event(Device& device) {
  device.make_current();
  check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate");
}
Event::~Event() { cudaEventDestroy(event_); }
void Event::record(Stream& stream) { check(cudaEventRecord(event_, stream.get()), "cudaEventRecord"); }
void Event::synchronize() const { check(cudaEventSynchronize(event_), "cudaEventSynchronize"); }

// ---- Device ----------------------------------------------------------------------------------------------------------

namespace {
// 13000 is "13.0".
std::string cuda_version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }
}  // namespace

std::string why_no_gpu(cudaError_t status, int driver, int runtime) {
  if (driver == 0)
    return "no NVIDIA driver is loaded here: install it until nvidia-smi lists the GPU; a container gets it with --gpus all";
  if (status == cudaErrorInsufficientDriver)
    return "the NVIDIA driver is for CUDA " + cuda_version(driver) + " and this build for CUDA " + cuda_version(runtime) +
           ": install a newer driver, or build with the toolkit of CUDA " + std::to_string(driver / 1000);
  if (status == cudaSuccess || status == cudaErrorNoDevice)
    return "the NVIDIA driver shows this process no GPU: look at nvidia-smi, at CUDA_VISIBLE_DEVICES, and at what Slurm or the "
           "container gives (--gpus)";
  if (status == cudaErrorSystemNotReady)
    return "the GPUs are not ready: machines with NVSwitch need the service nvidia-fabricmanager, of the driver's version";
  return std::string("CUDA cannot use a GPU here: ") + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) +
         " of cudaGetDeviceCount)";
}

bool gpu_is_there(std::string* reason) {
  const auto no = [&](const std::string& why) {
    if (reason != nullptr) *reason = why;
    return false;
  };
  int driver = 0, runtime = 0, devices = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
  cudaRuntimeGetVersion(&runtime);
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess || devices == 0) {
    cudaGetLastError();
    return no(why_no_gpu(status, driver, runtime));
  }
  cudaDeviceProp properties{};
  if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess) return no("the GPU does not tell its properties");
  if (properties.major < 8)
    return no(std::string(properties.name) + " has compute capability " + std::to_string(properties.major) + "." +
              std::to_string(properties.minor) + "; temper's kernels need 8.0 or later");
  return true;
}

namespace {

int ordinal_of(const CudaOptions& options) {
  std::string reason;
  if (!gpu_is_there(&reason)) throw Unsupported(reason);
  int devices = 0;
  check(cudaGetDeviceCount(&devices), "cudaGetDeviceCount");
  return static_cast<int>(options.device % devices);
}

cudaDeviceProp properties_of(int ordinal) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, ordinal), "cudaGetDeviceProperties");
  return properties;
}

}  // namespace

DeviceInfo gpu_info(const CudaOptions& options) {
  const cudaDeviceProp properties = properties_of(ordinal_of(options));
  DeviceInfo info;
  int runtime = 0, driver = 0;
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  info.backend = backend_name;
  info.name = properties.name;
  info.features = "compute capability " + std::to_string(properties.major) + "." + std::to_string(properties.minor) + ", CUDA " +
                  cuda_version(runtime) + ", driver for CUDA " + cuda_version(driver);
  info.threads = properties.multiProcessorCount;
  info.bf16 = info.fast_bf16 = properties.major >= 8;
  info.tf32 = options.tf32;
  if (options.tf32 && properties.major < 8) throw Unsupported(info.name + " has no TF32 (compute capability 8.0 and newer have)");
  info.memory = properties.totalGlobalMem;
  return info;
}

Device::Device(CudaOptions options)
    : ordinal_(ordinal_of(options)),
      info_(gpu_info(options)),
      shared_bytes_per_block_(properties_of(ordinal_).sharedMemPerBlockOptin),
      options_(std::move(options)) {
  make_current();
}

void Device::make_current() const { check(cudaSetDevice(ordinal_), "cudaSetDevice"); }

void* Device::allocate(std::size_t bytes) {
  make_current();
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    throw OutOfMemory("no " + std::to_string(bytes >> 20) + " MiB on the GPU: " + std::to_string(free >> 20) + " of " +
                      std::to_string(total >> 20) + " MiB are free; a smaller batch.micro_batch needs less");
  }
  check(status, "cudaMalloc");
  return memory;
}

void Device::release(void* memory) noexcept { cudaFree(memory); }

void* Device::allocate_pinned(std::size_t bytes) {
  make_current();
  void* memory = nullptr;
  check(cudaMallocHost(&memory, bytes), "cudaMallocHost");
  return memory;
}

void Device::release_pinned(void* memory) noexcept { cudaFreeHost(memory); }

}  // namespace temper::TEMPER_BACKEND
