#include "kernels/cpu/cpu_ops.h"

#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <span>
#include <string>

#include "kernels/check.h"
#include "kernels/contract.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/cast.h"
#include "kernels/cpu/combine.h"
#include "kernels/cpu/cross_entropy.h"
#include "kernels/cpu/diagnostics.h"
#include "kernels/cpu/embedding.h"
#include "kernels/cpu/gelu.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/layernorm.h"
#include "kernels/cpu/machine.h"
#include "kernels/cpu/optimizer.h"
#include "kernels/cpu/reduce.h"

namespace temper::cpu {

namespace {

constexpr std::size_t small_alignment = 256;

DeviceInfo describe_machine(const Linear& linear) {
  DeviceInfo info;
  info.backend = "cpu";
  info.name = processor_name();
  info.features = std::string(name_of(current_isa())) + (amx_bf16_available() ? ", AMX bf16" : "") + ", " + linear.description();
  info.threads = omp_get_max_threads();
  info.bf16 = bf16_available();
  info.memory = memory_limit();
  return info;
}

// Ids come from files: one that is out of range would read or write foreign memory.
void check_ids(const char* what, ConstTensorView ids, std::int64_t lowest, std::int64_t end) {
  const auto* id = ids.as<std::int32_t>();
  const std::int64_t count = ids.numel();
  std::int32_t smallest = 0;
  std::int32_t largest = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    smallest = std::min(smallest, id[i]);
    largest = std::max(largest, id[i]);
  }
  if (smallest >= lowest && largest < end) return;
  const auto* bad = std::find_if(id, id + count, [&](std::int32_t value) { return value < lowest || value >= end; });
  throw ContractViolation(std::string(what) + " " + std::to_string(bad - id) + " is " + std::to_string(*bad) +
                          "; it must be from " + std::to_string(lowest) + " to " + std::to_string(end - 1));
}

using Segments = std::span<const ParameterSegment>;

Segments checked(const char* operation, const ParameterSegment* segments, std::int64_t segment_count) {
  const Segments all(segments, static_cast<std::size_t>(segment_count));
  for (const ParameterSegment& segment : all) {
    if (segment.offset >= 0 && segment.offset % 4 == 0 && segment.rows >= 0 && segment.columns >= 0) continue;
    throw ContractViolation(std::string(operation) + ": a segment has offset " + std::to_string(segment.offset) + ", rows " +
                            std::to_string(segment.rows) + " and columns " + std::to_string(segment.columns) +
                            "; none may be negative and the offset must be a multiple of 4");
  }
  return all;
}

void check_control(const UpdateRule& rule, const UpdateBuffers& buffers, Segments segments) {
  for (const ParameterSegment& segment : segments) {
    if (segment.control == NormControl::none) continue;
    const std::string which = "optimizer_update: the norm of the segment at " + std::to_string(segment.offset) + " is controlled";
    if (std::holds_alternative<ScheduleFree>(rule))
      throw ContractViolation(which + "; Schedule-Free has no direction that could be: its segments must have NormControl::none");
    if (segment.control == NormControl::direction) continue;
    if (buffers.row_norm == nullptr) throw ContractViolation(which + "; buffers.row_norm and its siblings must not be null");
    if (segment.first_row < 0)
      throw ContractViolation(which + " and its first_row is " + std::to_string(segment.first_row) + "; it must not be negative");
  }
}

}  // namespace

CpuOps::CpuOps() : linear_(std::make_unique<Linear>()), device_(describe_machine(*linear_)) {}

CpuOps::~CpuOps() {
  for (const auto& [memory, bytes] : allocations_) std::free(memory);
}

// ---- memory and order ----------------------------------------------------------------------------------------------

void* CpuOps::allocate(std::size_t bytes) {
  // Linux grants memory it does not have and kills the process later, so what has been granted is counted here.
  const bool huge = bytes >= 2 * huge_page;
  const std::size_t alignment = huge ? huge_page : small_alignment;
  void* memory = nullptr;
  const bool fits = bytes <= device_.memory && allocated_ <= device_.memory - bytes;
  if (!fits || posix_memalign(&memory, alignment, std::max<std::size_t>(bytes, 1)) != 0) {
    throw OutOfMemory("cannot allocate " + std::to_string(bytes) + " bytes: " + std::to_string(allocated_) +
                      " are taken already, and the machine has " + std::to_string(device_.memory) + ", of which " +
                      std::to_string(memory_available()) + " are free");
  }
  if (huge) madvise(memory, bytes, MADV_HUGEPAGE);  // only a hint: without it the same work is slower
  allocations_.emplace(memory, bytes);
  allocated_ += bytes;
  return memory;
}

void CpuOps::release(void* memory) noexcept {
  const auto found = allocations_.find(memory);
  if (found == allocations_.end()) return;
  linear_->written(memory, found->second);
  allocated_ -= found->second;
  allocations_.erase(found);
  std::free(memory);
}

void CpuOps::copy_to_device(void* device_to, const void* host_from, std::size_t bytes) { copy(device_to, host_from, bytes); }

void CpuOps::copy_to_host(void* host_to, const void* device_from, std::size_t bytes) { copy_bytes(host_to, device_from, bytes); }

void CpuOps::copy(void* device_to, const void* device_from, std::size_t bytes) {
  copy_bytes(device_to, device_from, bytes);
  linear_->written(device_to, bytes);
}

void CpuOps::zero(void* device, std::size_t bytes) {
  zero_bytes(device, bytes);
  linear_->written(device, bytes);
}

void CpuOps::cast(ConstTensorView from, TensorView to) {
  contract::cast(from, to);
  cpu::cast(from, to);
  linear_->written(to.data, to.bytes());
}

std::uint64_t CpuOps::start_read(const void* device_from, std::size_t bytes) {
  contract::start_read(bytes);
  std::memcpy(reads_[reads_started_ % open_reads].data(), device_from, bytes);
  return reads_started_++;
}

void CpuOps::finish_read(std::uint64_t read, void* host_to, std::size_t bytes) {
  contract::finish_read(read, reads_started_, bytes);
  std::memcpy(host_to, reads_[read % open_reads].data(), bytes);
}

void CpuOps::replay(Recording& recording, const std::function<void()>& work) {
  ++recording.runs;
  work();
}

std::size_t CpuOps::register_weight(ConstTensorView weight) {
  contract::register_weight(weight);
  return linear_->register_weight(weight);
}

Linear::Scratch CpuOps::scratch(const Workload& workload) const {
  Linear::Scratch most;
  for (const Workload::Linear& linear : workload.linears()) {
    const Linear::Scratch one = linear_->scratch(workload.activation, linear.weight, linear.rows);
    most = {std::max(most.a, one.a), std::max(most.b, one.b)};
  }
  return most;
}

std::size_t CpuOps::scratch_bytes(const Workload& workload) const {
  const Linear::Scratch both = scratch(workload);
  return both.a + both.b;
}

void CpuOps::reserve_scratch(const Workload& workload) { linear_->reserve(scratch(workload)); }

std::size_t CpuOps::taken_bytes() const { return allocated_ + linear_->taken_bytes(); }

// ---- embedding -----------------------------------------------------------------------------------------------------

void CpuOps::embedding_forward(ConstTensorView tokens, ConstTensorView wte, ConstTensorView wpe, std::int64_t first_position,
                               TensorView out) {
  contract::embedding_forward(tokens, wte, wpe, first_position, out);
  check_ids("embedding_forward: token", tokens, 0, wte.shape[0]);
  cpu::embedding_forward(tokens, wte, wpe, first_position, out);
}

void CpuOps::embedding_backward(ConstTensorView dout, ConstTensorView tokens, TensorView dwte, TensorView dwpe, Write write_wpe) {
  contract::embedding_backward(dout, tokens, dwte, dwpe);
  check_ids("embedding_backward: token", tokens, 0, dwte.shape[0]);
  cpu::embedding_backward(dout, tokens, dwte, dwpe, write_wpe);
}

// ---- layer normalisation -------------------------------------------------------------------------------------------

void CpuOps::layernorm_forward(ConstTensorView x, ConstTensorView gamma, ConstTensorView beta, TensorView out, TensorView mean,
                               TensorView rstd) {
  contract::layernorm_forward(x, gamma, beta, out, mean, rstd);
  cpu::layernorm_forward(x, {}, gamma, beta, {}, out, mean, rstd);
}

void CpuOps::residual_layernorm_forward(ConstTensorView x, ConstTensorView residual, ConstTensorView gamma, ConstTensorView beta,
                                        TensorView sum, TensorView out, TensorView mean, TensorView rstd) {
  contract::residual_layernorm_forward(x, residual, gamma, beta, sum, out, mean, rstd);
  cpu::layernorm_forward(x, residual, gamma, beta, sum, out, mean, rstd);
}

void CpuOps::layernorm_backward(ConstTensorView dout, ConstTensorView x, ConstTensorView gamma, ConstTensorView mean,
                                ConstTensorView rstd, ConstTensorView dresidual, TensorView dx, TensorView dgamma, TensorView dbeta,
                                Write write) {
  contract::layernorm_backward(dout, x, gamma, mean, rstd, dresidual, dx, dgamma, dbeta);
  cpu::layernorm_backward(dout, x, gamma, mean, rstd, dresidual, dx, dgamma, dbeta, write, workspace_);
}

// ---- linear layers and attention -----------------------------------------------------------------------------------

void CpuOps::linear_forward(ConstTensorView x, ConstTensorView weight, ConstTensorView bias, Epilogue epilogue, TensorView y,
                            TensorView pre) {
  contract::linear_forward(x, weight, bias, epilogue, y, pre);
  linear_->forward(x, weight, bias, epilogue, y, pre);
}

void CpuOps::gelu(ConstTensorView pre, TensorView y) {
  contract::gelu(pre, y);
  cpu::gelu(pre, y);
}

void CpuOps::linear_backward_input(ConstTensorView dy, ConstTensorView weight, ConstTensorView pre, TensorView dx) {
  contract::linear_backward_input(dy, weight, pre, dx);
  linear_->backward_input(dy, weight, pre, dx);
}

void CpuOps::linear_backward_weight(ConstTensorView dy, ConstTensorView x, TensorView dw, TensorView dbias, Write write) {
  contract::linear_backward_weight(dy, x, dw, dbias);
  linear_->backward_weight(dy, x, dw, dbias, write);
}

void CpuOps::attention_forward(ConstTensorView qkv, std::int64_t n_head, TensorView out, TensorView lse) {
  contract::attention_forward(qkv, n_head, out, lse);
  cpu::attention_forward(qkv, n_head, out, lse);
}

void CpuOps::attention_backward(ConstTensorView dout, ConstTensorView qkv, ConstTensorView out, ConstTensorView lse,
                                std::int64_t n_head, TensorView dqkv) {
  contract::attention_backward(dout, qkv, out, lse, n_head, dqkv);
  cpu::attention_backward(dout, qkv, out, lse, n_head, dqkv);
}

void CpuOps::attention_cached(ConstTensorView qkv, std::int64_t n_head, std::int64_t start, TensorView key_cache,
                              TensorView value_cache, TensorView out) {
  contract::attention_cached(qkv, n_head, start, key_cache, value_cache, out);
  cpu::attention_cached(qkv, n_head, start, key_cache, value_cache, out);
}

// ---- loss ----------------------------------------------------------------------------------------------------------

void CpuOps::cross_entropy(TensorView logits, ConstTensorView targets, std::int64_t vocab_size, float gradient_scale,
                           TensorView losses) {
  contract::cross_entropy(logits, targets, vocab_size, losses);
  check_ids("cross_entropy: target", targets, -1, vocab_size);
  cpu::cross_entropy(logits, targets, vocab_size, gradient_scale, losses);
}

void CpuOps::sum(ConstTensorView x, float scale, Write write, TensorView out) {
  contract::sum(x, out);
  const double scaled = static_cast<double>(scale) * cpu::sum(x.as<float>(), x.numel(), workspace_);
  float* total = out.as<float>();
  *total = static_cast<float>((write == Write::accumulate ? static_cast<double>(*total) : 0.0) + scaled);
}

// ---- optimizer -----------------------------------------------------------------------------------------------------

void CpuOps::global_norm(ConstTensorView gradients, float max_norm, StepScalars* scalars) {
  contract::global_norm(gradients, max_norm, scalars);
  const float norm = static_cast<float>(std::sqrt(sum_of_squares(gradients.as<float>(), gradients.numel(), workspace_)));
  scalars->gradient_norm = norm;
  scalars->clip_factor = max_norm > 0.0f && norm > max_norm ? max_norm / norm : 1.0f;
  scalars->finite = std::isfinite(norm) && std::isfinite(scalars->loss) ? 1 : 0;
}

void CpuOps::tensor_moments(const float* gradient, const float* moment, const ParameterSegment* segments,
                            std::int64_t segment_count, TensorMoments* out) {
  contract::tensor_moments(gradient, segments, segment_count, out);
  cpu::tensor_moments(gradient, moment, checked("tensor_moments", segments, segment_count), out);
}

void CpuOps::tensor_scales(const ScaleSettings& settings, const TensorMoments* moments, const ParameterSegment* segments,
                           std::int64_t segment_count, const StepScalars* scalars, float* smoothed, TensorScale* scales) {
  contract::tensor_scales(settings, moments, segments, segment_count, scalars, smoothed, scales);
  if (scalars->finite == 0) return;
  cpu::tensor_scales(settings, moments, checked("tensor_scales", segments, segment_count), *scalars, smoothed, scales);
}

void CpuOps::add_decay_gradient(const UpdateBuffers& buffers, const ParameterSegment* segments, std::int64_t segment_count,
                                const StepScalars* scalars) {
  contract::add_decay_gradient(buffers, segments, segment_count, scalars);
  cpu::add_decay_gradient(buffers, checked("add_decay_gradient", segments, segment_count), *scalars);
}

void CpuOps::optimizer_update(const UpdateRule& rule, const UpdateSettings& settings, const UpdateBuffers& buffers,
                              const ParameterSegment* segments, std::int64_t segment_count, const StepScalars* scalars) {
  contract::optimizer_update(rule, settings, buffers, segments, segment_count, scalars);
  if (scalars->finite == 0) return;
  const Segments all = checked("optimizer_update", segments, segment_count);
  check_control(rule, buffers, all);
  cpu::optimizer_update(rule, settings, buffers, all, *scalars);
  for (const ParameterSegment& segment : all) {
    if (segment.control == NormControl::direction) continue;  // whoever makes the step writes the weight
    const auto elements = static_cast<std::size_t>(segment.rows * segment.columns);
    linear_->written(buffers.master + segment.offset, elements * sizeof(float));
    if (buffers.low_precision != nullptr) linear_->written(buffers.low_precision + segment.offset, elements * sizeof(bfloat16));
  }
}

void CpuOps::normalize(ConstTensorView x, TensorView out) {
  contract::normalize(x, out);
  cpu::normalize(x, out, workspace_);
  linear_->written(out.data, out.bytes());
}

void CpuOps::linear_combination(float a, ConstTensorView x, float b, ConstTensorView y, TensorView out) {
  contract::linear_combination(x, y, out);
  cpu::linear_combination(a, x, b, y, out);
  linear_->written(out.data, out.bytes());
}

// ---- diagnostics ---------------------------------------------------------------------------------------------------

void CpuOps::update_statistics(const float* before, const float* after, const ParameterSegment* segments,
                               std::int64_t segment_count, const StepScalars* scalars, UpdateStatistics* out) {
  contract::update_statistics(before, after, segments, segment_count, scalars, out);
  cpu::update_statistics(before, after, checked("update_statistics", segments, segment_count), *scalars, out);
}

void CpuOps::precondition(const PriorScale& scale, ConstTensorView x, ConstTensorView second_moment, TensorView out) {
  contract::precondition(x, second_moment, out);
  cpu::precondition(scale, x, second_moment, out);
  linear_->written(out.data, out.bytes());
}

void CpuOps::histogram(ConstTensorView x, float scale, TensorView counts) {
  contract::histogram(x, counts);
  cpu::histogram(x, scale, counts);
}

}  // namespace temper::cpu

namespace temper {

std::unique_ptr<Ops> make_cpu_ops() { return std::make_unique<cpu::CpuOps>(); }

}  // namespace temper
