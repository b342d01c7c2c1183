// The default backend of kernels/ops.h: runs every call at once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>

#include "kernels/cpu/buffer.h"
#include "kernels/cpu/linear.h"
#include "kernels/ops.h"

namespace temper::cpu {

class CpuOps final : public Ops {
 public:
  CpuOps();
  ~CpuOps() override;

  const DeviceInfo& device() const override { return device_; }
  void* allocate(std::size_t bytes) override;
  void release(void* memory) noexcept override;
  void copy_to_device(void* device_to, const void* host_from, std::size_t bytes) override;
  void copy_to_host(void* host_to, const void* device_from, std::size_t bytes) override;
  void copy(void* device_to, const void* device_from, std::size_t bytes) override;
  void zero(void* device, std::size_t bytes) override;
  void synchronize() override {}
  void replay(Recording& recording, const std::function<void()>& work) override;
  void written(const void* device, std::size_t bytes) override { linear_->written(device, bytes); }
  std::size_t packed_bytes(DType dtype, Shape weight) const override { return linear_->packed_bytes(dtype, weight); }
  std::size_t scratch_bytes(const Workload& workload) const override;
  void reserve_scratch(const Workload& workload) override;
  std::size_t taken_bytes() const override;

 private:
  // Each is defined beside its family's loops.
#define TEMPER_RUN(name, Arguments) void run(const op::Arguments& args) override;
  TEMPER_OPERATIONS(TEMPER_RUN)
#undef TEMPER_RUN

  void start_read_in(std::size_t place, const void* device_from, std::size_t bytes) override;
  void finish_read_in(std::size_t place, void* host_to, std::size_t bytes) override;
  std::size_t keep_weight(ConstTensorView weight) override { return linear_->register_weight(weight); }

  double sum_of_squares(ConstTensorView x);
  Linear::Scratch scratch(const Workload& workload) const;

  std::unique_ptr<Linear> linear_;
  DeviceInfo device_;
  Workspace workspace_;
  std::unordered_map<void*, std::size_t> allocations_;  // bytes of each
  std::size_t allocated_ = 0;
  std::array<std::array<std::byte, read_bytes>, open_reads> reads_{};
};

}  // namespace temper::cpu
