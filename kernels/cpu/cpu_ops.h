// The default backend behind kernels/ops.h: checks every call against the contract, then runs it at once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>

#include "kernels/cpu/linear.h"
#include "kernels/cpu/workspace.h"
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
  void cast(ConstTensorView from, TensorView to) override;
  void synchronize() override {}
  std::uint64_t start_read(const void* device_from, std::size_t bytes) override;
  void finish_read(std::uint64_t read, void* host_to, std::size_t bytes) override;
  void replay(Recording& recording, const std::function<void()>& work) override;
  std::size_t register_weight(ConstTensorView weight) override;
  void written(const void* device, std::size_t bytes) override { linear_->written(device, bytes); }
  std::size_t packed_bytes(DType dtype, Shape weight) const override { return linear_->packed_bytes(dtype, weight); }
  std::size_t scratch_bytes(const Workload& workload) const override;
  void reserve_scratch(const Workload& workload) override;
  std::size_t taken_bytes() const override;

  /// Throws ContractViolation for a token outside [0, rows of wte).
  void embedding_forward(ConstTensorView tokens, ConstTensorView wte, ConstTensorView wpe, std::int64_t first_position,
                         TensorView out) override;
  /// Throws ContractViolation for a token outside [0, rows of dwte).
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
  /// Throws ContractViolation for a target outside [-1, vocab_size).
  void cross_entropy(TensorView logits, ConstTensorView targets, std::int64_t vocab_size, float gradient_scale,
                     TensorView losses) override;
  void sum(ConstTensorView x, float scale, Write write, TensorView out) override;
  void global_norm(ConstTensorView gradients, float max_norm, StepScalars* scalars) override;
  // Operations on segments throw ContractViolation for one that is not as kernels/update_rules.h says.
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
  Linear::Scratch scratch(const Workload& workload) const;

  std::unique_ptr<Linear> linear_;
  DeviceInfo device_;
  Workspace workspace_;
  std::unordered_map<void*, std::size_t> allocations_;  // bytes of each
  std::size_t allocated_ = 0;
  std::array<std::array<std::byte, read_bytes>, open_reads> reads_{};
  std::uint64_t reads_started_ = 0;
};

}  // namespace temper::cpu
