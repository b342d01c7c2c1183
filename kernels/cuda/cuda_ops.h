// The Ops that runs kernels/cuda: checks each call (kernels/contract.h) and hands it to its family on one stream.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <unordered_map>

#include <device/runtime.h>
#include "kernels/cuda/linear.h"
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
  void cast(ConstTensorView from, TensorView to) override;
  void synchronize() override;
  std::uint64_t start_read(const void* device_from, std::size_t bytes) override;
  void finish_read(std::uint64_t read, void* host_to, std::size_t bytes) override;
  void replay(Recording& recording, const std::function<void()>& work) override;
  std::size_t register_weight(ConstTensorView weight) override;
  void written(const void* /*device*/, std::size_t /*bytes*/) override {}  // it keeps no copies
  std::size_t packed_bytes(DType dtype, Shape weight) const override;
  std::size_t scratch_bytes(const Workload& workload) const override;
  void reserve_scratch(const Workload& workload) override;
  std::size_t taken_bytes() const override;

  void embedding_forward(ConstTensorView tokens, ConstTensorView wte, ConstTensorView wpe, std::int64_t first_position,
                         TensorView out) override;
  void embedding_backward(ConstTensorView dout, ConstTensorView tokens, TensorView dwte, TensorView dwpe, Write write_wpe) override;
  void layernorm_forward(ConstTensorView x, ConstTensorView gamma, ConstTensorView beta, TensorView out, TensorView mean,
                         TensorView rstd) override;
  void residual_layernorm_forward(ConstTensorView x, ConstTensorView residual, ConstTensorView gamma, ConstTensorView beta,
                                  TensorView sum, TensorView out, TensorView mean, TensorView rstd) override;
  void layernorm_backward(ConstTensorView dout, ConstTensorView x, ConstTensorView gamma, ConstTensorView mean,
                          ConstTensorView rstd, ConstTensorView dresidual, TensorView dx, TensorView dgamma, TensorView dbeta,
                          Write write) override;
  void linear_forward(ConstTensorView x, ConstTensorView weight, ConstTensorView bias, Epilogue epilogue, TensorView y,
                      TensorView pre) override;
  void gelu(ConstTensorView pre, TensorView y) override;
  void linear_backward_input(ConstTensorView dy, ConstTensorView weight, ConstTensorView pre, TensorView dx) override;
  void linear_backward_weight(ConstTensorView dy, ConstTensorView x, TensorView dw, TensorView dbias, Write write) override;
  void attention_forward(ConstTensorView qkv, std::int64_t n_head, TensorView out, TensorView lse) override;
  void attention_backward(ConstTensorView dout, ConstTensorView qkv, ConstTensorView out, ConstTensorView lse, std::int64_t n_head,
                          TensorView dqkv) override;
  void attention_cached(ConstTensorView qkv, std::int64_t n_head, std::int64_t start, TensorView key_cache, TensorView value_cache,
                        TensorView out) override;
  void cross_entropy(TensorView logits, ConstTensorView targets, std::int64_t vocab_size, float gradient_scale,
                     TensorView losses) override;
  void sum(ConstTensorView x, float scale, Write write, TensorView out) override;
  void global_norm(ConstTensorView gradients, float max_norm, StepScalars* scalars) override;
  void tensor_moments(const float* gradient, const float* moment, const ParameterSegment* segments, std::int64_t segment_count,
                      TensorMoments* out) override;
  void tensor_scales(const ScaleSettings& settings, const TensorMoments* moments, const ParameterSegment* segments,
                     std::int64_t segment_count, const StepScalars* scalars, float* smoothed, TensorScale* scales) override;
  void add_decay_gradient(const UpdateBuffers& buffers, const ParameterSegment* segments, std::int64_t segment_count,
                          const StepScalars* scalars) override;
  void optimizer_update(const UpdateRule& rule, const UpdateSettings& settings, const UpdateBuffers& buffers,
                        const ParameterSegment* segments, std::int64_t segment_count, const StepScalars* scalars) override;
  void normalize(ConstTensorView x, TensorView out) override;
  void linear_combination(float a, ConstTensorView x, float b, ConstTensorView y, TensorView out) override;
  void update_statistics(const float* before, const float* after, const ParameterSegment* segments, std::int64_t segment_count,
                         const StepScalars* scalars, UpdateStatistics* out) override;
  void precondition(const PriorScale& scale, ConstTensorView x, ConstTensorView second_moment, TensorView out) override;
  void histogram(ConstTensorView x, float scale, TensorView counts) override;

 private:
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

  std::size_t workspace_bytes(const Workload& workload) const;

  std::unique_ptr<Device> device_;
  Stream stream_;
  Workspace workspace_;
  Linear linear_;
  DeviceInfo info_;
  std::array<std::unique_ptr<Staging>, 2> uploads_;
  std::size_t next_upload_ = 0;
  std::array<std::unique_ptr<Staging>, open_reads> reads_;
  std::uint64_t reads_started_ = 0;
  std::unordered_map<void*, std::size_t> allocations_;  // bytes of each
  std::size_t allocated_ = 0;
};

}  // namespace temper::TEMPER_BACKEND
