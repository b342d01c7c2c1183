#include "kernels/cuda/cuda_ops.h"

#include <device/range.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "kernels/contract.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cross_entropy.h"
#include "kernels/cuda/diagnostics.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/embedding.h"
#include "kernels/cuda/layernorm.h"
#include "kernels/cuda/optimizer.h"
#include "kernels/cuda/reduction.h"
#include "kernels/cuda/row_sums.h"
#include "kernels/cuda/tensor_moments.h"

namespace temper::TEMPER_BACKEND {

namespace {
constexpr std::size_t staging_bytes = std::size_t{4} << 20;
}

CudaOps::Staging::Staging(Device& owner, std::size_t bytes) : device(owner), memory(owner.allocate_pinned(bytes)), done(owner) {}
CudaOps::Staging::~Staging() { device.release_pinned(memory); }

CudaOps::CudaOps(std::unique_ptr<Device> device)
    : device_(std::move(device)),
      stream_(*device_),
      workspace_(*device_),
      linear_(*device_, stream_, workspace_),
      info_(device_->info()) {
  info_.features += ", " + linear_.description();
  info_.asynchronous = true;
  for (auto& upload : uploads_) upload = std::make_unique<Staging>(*device_, staging_bytes);
  for (auto& read : reads_) read = std::make_unique<Staging>(*device_, read_bytes);
}

CudaOps::~CudaOps() = default;

// ---- memory and order ------------------------------------------------------------------------------------------------

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

void CudaOps::cast(ConstTensorView from, TensorView to) {
  contract::cast(from, to);
  const Range range("cast");
  if (from.dtype == to.dtype)
    stream_.copy(to.data, from.data, from.bytes());
  else
    TEMPER_BACKEND::cast(from, to, stream_);
}

void CudaOps::synchronize() { stream_.synchronize(); }

std::uint64_t CudaOps::start_read(const void* device_from, std::size_t bytes) {
  contract::start_read(bytes);
  Staging& read = *reads_[reads_started_ % open_reads];
  stream_.copy(read.memory, device_from, bytes);
  read.done.record(stream_);
  return reads_started_++;
}

void CudaOps::finish_read(std::uint64_t read, void* host_to, std::size_t bytes) {
  contract::finish_read(read, reads_started_, bytes);
  const Staging& staging = *reads_[read % open_reads];
  staging.done.synchronize();
  std::memcpy(host_to, staging.memory, bytes);
}

void CudaOps::replay(Recording& recording, const std::function<void()>& work) {
  // The first run takes scratch and chooses matmul algorithms, neither of which may happen while recording.
  if (recording.runs++ == 0) return work();
  if (recording.graph == nullptr) {
    stream_.begin_capture();
    work();
    recording.graph = std::make_shared<Graph>(stream_.end_capture());
  }
  stream_.launch(*static_cast<const Graph*>(recording.graph.get()));
}

std::size_t CudaOps::register_weight(ConstTensorView weight) {
  contract::register_weight(weight);
  return 0;  // cuBLASLt reads weights as they are
}

std::size_t CudaOps::packed_bytes(DType /*dtype*/, Shape /*weight*/) const { return 0; }

std::size_t CudaOps::workspace_bytes(const Workload& workload) const {
  const std::int64_t R = workload.rows(), C = workload.n_embd;
  return std::max({reduction_scratch_bytes(), layernorm_backward_scratch_bytes(R, C), bias_gradient_scratch_bytes(R, 4 * C),
                   embedding_backward_scratch_bytes(R, C),
                   attention_backward_scratch_bytes(workload.sequences, workload.positions, C, workload.n_head),
                   tensor_moments_scratch_bytes(workload.segments), update_statistics_scratch_bytes(workload.segments)});
}

std::size_t CudaOps::scratch_bytes(const Workload& workload) const { return linear_.product_bytes() + workspace_bytes(workload); }

void CudaOps::reserve_scratch(const Workload& workload) { workspace_.get(workspace_bytes(workload)); }

std::size_t CudaOps::taken_bytes() const { return allocated_ + linear_.product_bytes() + workspace_.taken_bytes(); }

// ---- embedding -------------------------------------------------------------------------------------------------------

void CudaOps::embedding_forward(ConstTensorView tokens, ConstTensorView wte, ConstTensorView wpe, std::int64_t first_position,
                                TensorView out) {
  contract::embedding_forward(tokens, wte, wpe, first_position, out);
  const Range range("embedding_forward");
  TEMPER_BACKEND::embedding_forward(tokens, wte, wpe, first_position, out, stream_);
}

void CudaOps::embedding_backward(ConstTensorView dout, ConstTensorView tokens, TensorView dwte, TensorView dwpe, Write write_wpe) {
  contract::embedding_backward(dout, tokens, dwte, dwpe);
  const Range range("embedding_backward");
  TEMPER_BACKEND::embedding_backward(dout, tokens, dwte, dwpe, write_wpe, workspace_, stream_);
}

// ---- layer normalisation ---------------------------------------------------------------------------------------------

void CudaOps::layernorm_forward(ConstTensorView x, ConstTensorView gamma, ConstTensorView beta, TensorView out, TensorView mean,
                                TensorView rstd) {
  contract::layernorm_forward(x, gamma, beta, out, mean, rstd);
  const Range range("layernorm_forward");
  TEMPER_BACKEND::layernorm_forward(x, {}, gamma, beta, {}, out, mean, rstd, stream_);
}

void CudaOps::residual_layernorm_forward(ConstTensorView x, ConstTensorView residual, ConstTensorView gamma, ConstTensorView beta,
                                         TensorView sum, TensorView out, TensorView mean, TensorView rstd) {
  contract::residual_layernorm_forward(x, residual, gamma, beta, sum, out, mean, rstd);
  const Range range("residual_layernorm_forward");
  TEMPER_BACKEND::layernorm_forward(x, residual, gamma, beta, sum, out, mean, rstd, stream_);
}

void CudaOps::layernorm_backward(ConstTensorView dout, ConstTensorView x, ConstTensorView gamma, ConstTensorView mean,
                                 ConstTensorView rstd, ConstTensorView dresidual, TensorView dx, TensorView dgamma,
                                 TensorView dbeta, Write write) {
  contract::layernorm_backward(dout, x, gamma, mean, rstd, dresidual, dx, dgamma, dbeta);
  const Range range("layernorm_backward");
  TEMPER_BACKEND::layernorm_backward(dout, x, gamma, mean, rstd, dresidual, dx, dgamma, dbeta, write, workspace_, stream_);
}

// ---- linear layers and attention -------------------------------------------------------------------------------------

void CudaOps::linear_forward(ConstTensorView x, ConstTensorView weight, ConstTensorView bias, Epilogue epilogue, TensorView y,
                             TensorView pre) {
  contract::linear_forward(x, weight, bias, epilogue, y, pre);
  const Range range("linear_forward");
  linear_.forward(x, weight, bias, epilogue, y, pre);
}

void CudaOps::gelu(ConstTensorView pre, TensorView y) {
  contract::gelu(pre, y);
  const Range range("gelu");
  gelu_forward(pre, y, stream_);
}

void CudaOps::linear_backward_input(ConstTensorView dy, ConstTensorView weight, ConstTensorView pre, TensorView dx) {
  contract::linear_backward_input(dy, weight, pre, dx);
  const Range range("linear_backward_input");
  linear_.backward_input(dy, weight, pre, dx);
}

void CudaOps::linear_backward_weight(ConstTensorView dy, ConstTensorView x, TensorView dw, TensorView dbias, Write write) {
  contract::linear_backward_weight(dy, x, dw, dbias);
  const Range range("linear_backward_weight");
  linear_.backward_weight(dy, x, dw, dbias, write);
}

void CudaOps::attention_forward(ConstTensorView qkv, std::int64_t n_head, TensorView out, TensorView lse) {
  contract::attention_forward(qkv, n_head, out, lse);
  const Range range("attention_forward");
  TEMPER_BACKEND::attention_forward(qkv, n_head, out, lse, stream_);
}

void CudaOps::attention_backward(ConstTensorView dout, ConstTensorView qkv, ConstTensorView out, ConstTensorView lse,
                                 std::int64_t n_head, TensorView dqkv) {
  contract::attention_backward(dout, qkv, out, lse, n_head, dqkv);
  const Range range("attention_backward");
  TEMPER_BACKEND::attention_backward(dout, qkv, out, lse, n_head, dqkv, workspace_, stream_);
}

void CudaOps::attention_cached(ConstTensorView qkv, std::int64_t n_head, std::int64_t start, TensorView key_cache,
                               TensorView value_cache, TensorView out) {
  contract::attention_cached(qkv, n_head, start, key_cache, value_cache, out);
  const Range range("attention_cached");
  TEMPER_BACKEND::attention_cached(qkv, n_head, start, key_cache, value_cache, out, workspace_, stream_);
}

// ---- loss ------------------------------------------------------------------------------------------------------------

void CudaOps::cross_entropy(TensorView logits, ConstTensorView targets, std::int64_t vocab_size, float gradient_scale,
                            TensorView losses) {
  contract::cross_entropy(logits, targets, vocab_size, losses);
  const Range range("cross_entropy");
  TEMPER_BACKEND::cross_entropy(logits, targets, vocab_size, gradient_scale, losses, stream_);
}

void CudaOps::sum(ConstTensorView x, float scale, Write write, TensorView out) {
  contract::sum(x, out);
  const Range range("sum");
  TEMPER_BACKEND::sum(x, scale, write, out, workspace_, stream_);
}

// ---- optimizer -------------------------------------------------------------------------------------------------------

void CudaOps::global_norm(ConstTensorView gradients, float max_norm, StepScalars* scalars) {
  contract::global_norm(gradients, max_norm, scalars);
  const Range range("global_norm");
  TEMPER_BACKEND::global_norm(gradients, max_norm, scalars, workspace_, stream_);
}

void CudaOps::tensor_moments(const float* gradient, const float* moment, const ParameterSegment* segments,
                             std::int64_t segment_count, TensorMoments* out) {
  contract::tensor_moments(gradient, segments, segment_count, out);
  const Range range("tensor_moments");
  TEMPER_BACKEND::tensor_moments(gradient, moment, segments, segment_count, out, workspace_, stream_);
}

void CudaOps::tensor_scales(const ScaleSettings& settings, const TensorMoments* moments, const ParameterSegment* segments,
                            std::int64_t segment_count, const StepScalars* scalars, float* smoothed, TensorScale* scales) {
  contract::tensor_scales(settings, moments, segments, segment_count, scalars, smoothed, scales);
  const Range range("tensor_scales");
  TEMPER_BACKEND::tensor_scales(settings, moments, segments, segment_count, scalars, smoothed, scales, stream_);
}

void CudaOps::add_decay_gradient(const UpdateBuffers& buffers, const ParameterSegment* segments, std::int64_t segment_count,
                                 const StepScalars* scalars) {
  contract::add_decay_gradient(buffers, segments, segment_count, scalars);
  const Range range("add_decay_gradient");
  TEMPER_BACKEND::add_decay_gradient(buffers, segments, segment_count, scalars, stream_);
}

void CudaOps::optimizer_update(const UpdateRule& rule, const UpdateSettings& settings, const UpdateBuffers& buffers,
                               const ParameterSegment* segments, std::int64_t segment_count, const StepScalars* scalars) {
  contract::optimizer_update(rule, settings, buffers, segments, segment_count, scalars);
  const Range range("optimizer_update");
  TEMPER_BACKEND::optimizer_update(rule, settings, buffers, segments, segment_count, scalars, stream_);
}

void CudaOps::normalize(ConstTensorView x, TensorView out) {
  contract::normalize(x, out);
  const Range range("normalize");
  TEMPER_BACKEND::normalize(x, out, workspace_, stream_);
}

void CudaOps::linear_combination(float a, ConstTensorView x, float b, ConstTensorView y, TensorView out) {
  contract::linear_combination(x, y, out);
  const Range range("linear_combination");
  TEMPER_BACKEND::linear_combination(a, x, b, y, out, stream_);
}

// ---- diagnostics -----------------------------------------------------------------------------------------------------

void CudaOps::update_statistics(const float* before, const float* after, const ParameterSegment* segments,
                                std::int64_t segment_count, const StepScalars* scalars, UpdateStatistics* out) {
  contract::update_statistics(before, after, segments, segment_count, scalars, out);
  const Range range("update_statistics");
  TEMPER_BACKEND::update_statistics(before, after, segments, segment_count, scalars, out, workspace_, stream_);
}

void CudaOps::precondition(const PriorScale& scale, ConstTensorView x, ConstTensorView second_moment, TensorView out) {
  contract::precondition(x, second_moment, out);
  const Range range("precondition");
  TEMPER_BACKEND::precondition(scale, x, second_moment, out, stream_);
}

void CudaOps::histogram(ConstTensorView x, float scale, TensorView counts) {
  contract::histogram(x, counts);
  const Range range("histogram");
  TEMPER_BACKEND::histogram(x, scale, counts, stream_);
}

}  // namespace temper::TEMPER_BACKEND
