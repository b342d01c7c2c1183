// The Ops that runs kernels/cuda, on one stream.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <unordered_map>

#include <device/product.h>
#include <device/range.h>
#include <device/runtime.h>
#include "kernels/cuda/choices.h"
#include "kernels/cuda/workspace.h"
#include "kernels/ops.h"

namespace temper::TEMPER_BACKEND {

class CudaOps final : public Ops {
 public:
  explicit CudaOps(std::unique_ptr<Device> device);
  ~CudaOps() override;

  Stream& stream() { return stream_; }

  const DeviceInfo& device() const override { return info_; }
  void* allocate(std::size_t bytes) override;
  void release(void* memory) noexcept override;
  void copy_to_device(void* device_to, const void* host_from, std::size_t bytes) override;
  void copy_to_host(void* host_to, const void* device_from, std::size_t bytes) override;
  void copy(void* device_to, const void* device_from, std::size_t bytes) override;
  void zero(void* device, std::size_t bytes) override;
  void synchronize() override;
  void replay(Recording& recording, const std::function<void()>& work) override;
  void written(const void* /*device*/, std::size_t /*bytes*/) override {}  // it keeps no copies
  std::size_t packed_bytes(DType /*dtype*/, Shape /*weight*/) const override { return 0; }
  std::size_t scratch_bytes(const Workload& workload) const override;
  void reserve_scratch(const Workload& workload) override;
  std::size_t taken_bytes() const override;
  std::string choices() const override { return choices_.text(); }
  bool take_choices(const std::string& choices) override;
  std::vector<std::string> take_notes() override { return product_.take_notes(); }
  void start_profiler() override;
  void stop_profiler() override;
  void begin_range(const char* name) override { nvtxRangePushA(name); }
  void end_range() override { nvtxRangePop(); }

 private:
  // Each is defined beside its kernels; profilers show it as a range of its name.
#define TEMPER_RUN(name, Arguments)              \
  void queue(const op::Arguments& args);         \
  void run(const op::Arguments& args) override { \
    const Range range(#name);                    \
    queue(args);                                 \
  }
  TEMPER_OPERATIONS(TEMPER_RUN)
#undef TEMPER_RUN

  void start_read_in(std::size_t place, const void* device_from, std::size_t bytes) override;
  void finish_read_in(std::size_t place, void* host_to, std::size_t bytes) override;
  std::size_t keep_weight(ConstTensorView /*weight*/) override { return 0; }  // cuBLASLt reads weights as they are

  // Pinned host memory between the caller's and the device's: the caller may change its own as soon as an upload returns, and reads
  // arrive while the host goes on.
  struct Staging {
    Staging(Device& device, std::size_t bytes);
    ~Staging();
    Staging(const Staging&) = delete;
    Staging& operator=(const Staging&) = delete;
    Device& device;
    void* memory;
    Event done;  // reached when the last copy into or out of `memory` is done
  };

  bool allowed(Fast way) const;

  std::unique_ptr<Device> device_;
  Stream stream_;
  Workspace workspace_;
  Choices choices_;
  Product product_;
  DeviceInfo info_;
  // Used in turn. The host is two steps ahead of the device, and a step uploads its numbers, tokens and targets.
  std::array<std::unique_ptr<Staging>, 12> uploads_;
  std::size_t next_upload_ = 0;
  std::array<std::unique_ptr<Staging>, open_reads> reads_;
  std::unordered_map<void*, std::size_t> allocations_;  // bytes of each
  std::size_t allocated_ = 0;
};

}  // namespace temper::TEMPER_BACKEND
