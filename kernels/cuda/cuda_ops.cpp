#include "kernels/cuda/cuda_ops.h"

#include <cuda_profiler_api.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "kernels/cuda/cublaslt_library.h"
#include "kernels/cuda/families.h"

namespace temper::TEMPER_BACKEND {

namespace {
constexpr std::size_t staging_bytes = std::size_t{1} << 20;  // more than the tokens of a micro-batch; large uploads are parts
}

CudaOps::Staging::Staging(Device& owner, std::size_t bytes) : device(owner), memory(owner.allocate_pinned(bytes)), done(owner) {}
CudaOps::Staging::~Staging() { device.release_pinned(memory); }

CudaOps::CudaOps(std::unique_ptr<Device> device)
    : device_(std::move(device)),
      stream_(*device_),
      workspace_(*device_),
      choices_(*device_, stream_, cublaslt_version()),
      product_(*device_, stream_, choices_),
      info_(device_->info()) {
  info_.features += ", " + product_.description();
  info_.asynchronous = true;
  for (auto& upload : uploads_) upload = std::make_unique<Staging>(*device_, staging_bytes);
  for (auto& read : reads_) read = std::make_unique<Staging>(*device_, read_bytes);
}

CudaOps::~CudaOps() = default;

void* CudaOps::allocate(std::size_t bytes) {
  void* memory = device_->allocate(bytes);
  allocations_.emplace(memory, bytes);
  allocated_ += bytes;
  return memory;
}

void CudaOps::release(void* memory) noexcept {
  const auto found = allocations_.find(memory);
  if (found == allocations_.end()) return;
  allocated_ -= found->second;
  allocations_.erase(found);
  device_->release(memory);
}

void CudaOps::copy_to_device(void* device_to, const void* host_from, std::size_t bytes) {
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t part = std::min(staging_bytes, bytes - done);
    Staging& staging = *uploads_[next_upload_++ % uploads_.size()];
    staging.done.synchronize();
    std::memcpy(staging.memory, static_cast<const char*>(host_from) + done, part);
    stream_.copy(static_cast<char*>(device_to) + done, staging.memory, part);
    staging.done.record(stream_);
    done += part;
  }
}

void CudaOps::copy_to_host(void* host_to, const void* device_from, std::size_t bytes) {
  stream_.copy(host_to, device_from, bytes);
  stream_.synchronize();
}

void CudaOps::copy(void* device_to, const void* device_from, std::size_t bytes) { stream_.copy(device_to, device_from, bytes); }

void CudaOps::zero(void* device, std::size_t bytes) { stream_.zero(device, bytes); }

void CudaOps::synchronize() { stream_.synchronize(); }

void CudaOps::start_read_in(std::size_t place, const void* device_from, std::size_t bytes) {
  Staging& read = *reads_[place];
  stream_.copy(read.memory, device_from, bytes);
  read.done.record(stream_);
}

void CudaOps::finish_read_in(std::size_t place, void* host_to, std::size_t bytes) {
  const Staging& read = *reads_[place];
  read.done.synchronize();
  std::memcpy(host_to, read.memory, bytes);
}

void CudaOps::replay(Recording& recording, const std::function<void()>& work) {
  // The first run takes scratch and chooses matmul algorithms, neither of which may happen while recording.
  if (recording.runs++ == 0) return work();
  if (recording.graph == nullptr) {
    stream_.begin_capture();
    try {
      work();
    } catch (...) {
      try {
        stream_.end_capture();  // or the stream would stay in it; what was recorded is dropped
      } catch (const DeviceError&) {
      }
      throw;
    }
    recording.graph = std::make_shared<Graph>(stream_.end_capture());
  }
  stream_.launch(*static_cast<const Graph*>(recording.graph.get()));
}

bool CudaOps::take_choices(const std::string& choices) {
  const bool any = choices_.fix(choices);
  if (any) product_.choose_again();
  return any;
}

void CudaOps::start_profiler() {
  stream_.synchronize();
  device_->make_current();
  TEMPER_BACKEND::check(cudaProfilerStart(), "cudaProfilerStart");
}

void CudaOps::stop_profiler() {
  stream_.synchronize();
  device_->make_current();
  TEMPER_BACKEND::check(cudaProfilerStop(), "cudaProfilerStop");
}

bool CudaOps::allowed(Fast way) const {
  const std::vector<Fast>& without = device_->options().without;
  return std::find(without.begin(), without.end(), way) == without.end();
}

std::size_t CudaOps::scratch_bytes(const Workload& workload) const {
  return cublaslt_workspace_bytes + gpu_workspace_bytes(workload);
}

void CudaOps::reserve_scratch(const Workload& workload) { workspace_.get(gpu_workspace_bytes(workload)); }

std::size_t CudaOps::taken_bytes() const { return allocated_ + cublaslt_workspace_bytes + workspace_.taken_bytes(); }

}  // namespace temper::TEMPER_BACKEND
