#include "kernels/operations.h"

#include <algorithm>
#include <span>
#include <sstream>
#include <string>
#include <variant>

#include "kernels/check.h"

namespace temper::op {

namespace {

std::string describe(DType type, const Shape& shape) { return std::string(name_of(type)) + " " + shape.to_string(); }

/// The checks of one call. The activation type of the call is that of the tensor it is made with.
class Call {
 public:
  /// A call that has no activations.
  explicit Call(const char* operation) : operation_(operation), act(DType::f32) {}
  Call(const char* operation, ConstTensorView first, const char* first_name) : operation_(operation), act(first.dtype) {
    if (!first.present()) fail(first_name, "absent", "it is required");
    if (act != DType::f32 && act != DType::bf16) fail(first_name, describe(act, first.shape), "its type must be f32 or bf16");
  }

  void rank(const char* name, ConstTensorView tensor, int expected) const {
    if (tensor.shape.rank() == expected) return;
    fail(name, describe(tensor.dtype, tensor.shape), "it must have " + std::to_string(expected) + " dimensions");
  }

  void tensor(const char* name, ConstTensorView tensor, DType type, Shape shape) const {
    if (!tensor.present()) fail(name, "absent", "it must be " + describe(type, shape));
    if (tensor.dtype == type && tensor.shape == shape) return;
    fail(name, describe(tensor.dtype, tensor.shape), "it must be " + describe(type, shape));
  }

  void optional(const char* name, ConstTensorView there, DType type, Shape shape) const {
    if (there.present()) tensor(name, there, type, shape);
  }

  void memory(const char* name, const void* there) const {
    if (there == nullptr) fail(name, "null", "it is required");
  }

  template <typename Value>
  void range(const char* name, Value value, bool allowed, const std::string& demand) const {
    if (allowed) return;
    std::ostringstream text;
    text << value;
    fail(name, text.str(), demand);
  }

 private:
  [[noreturn]] void fail(const char* name, const std::string& is, const std::string& demand) const {
    throw ContractViolation(std::string(operation_) + ": " + name + " is " + is + "; " + demand);
  }

  const char* operation_;

 public:
  const DType act;
};

void token_ids(const Call& call, ConstTensorView tokens, std::int64_t batch, std::int64_t length) {
  call.tensor("tokens", tokens, DType::i32, {batch, length});
}

void segment_table(const Call& call, SegmentTable segments) {
  call.range("segments.count", segments.count, segments.count >= 0, "it must not be negative");
  if (segments.count > 0) call.memory("segments.first", segments.first);
}

// [B,T,3C] or [B,T,3,H,D]: the same memory. Returns C.
std::int64_t packed_qkv(const Call& call, ConstTensorView qkv, std::int64_t n_head) {
  const Shape& shape = qkv.shape;
  const bool flat = shape.rank() == 3;
  const std::string demand = "it must be [B, T, 3*C] or [B, T, 3, n_head, head size] with n_head = " + std::to_string(n_head);
  call.range("n_head", n_head, n_head > 0, "it must be positive");
  call.range("qkv", shape.to_string(), flat || shape.rank() == 5, demand);
  const std::int64_t width = flat ? shape[2] : shape[2] * shape[3] * shape[4];
  call.range("qkv", shape.to_string(), width > 0 && width % (3 * n_head) == 0, demand);
  call.range("qkv", shape.to_string(), flat || (shape[2] == 3 && shape[3] == n_head), demand);
  return width / 3;
}

}  // namespace

void Cast::check() const {
  const Call call("cast", from, "from");
  call.range("to", name_of(to.dtype), to.dtype == DType::f32 || to.dtype == DType::bf16, "its type must be f32 or bf16");
  call.tensor("to", to, to.dtype, from.shape);
}

void EmbeddingForward::check() const {
  const Call call("embedding_forward", out, "out");
  call.rank("out", out, 3);
  call.rank("wte", wte, 2);
  call.rank("wpe", wpe, 2);
  const std::int64_t T = out.shape[1];
  const std::int64_t C = out.shape[2];
  token_ids(call, tokens, out.shape[0], T);
  call.tensor("wte", wte, call.act, {wte.shape[0], C});
  call.tensor("wpe", wpe, call.act, {wpe.shape[0], C});
  call.range("first_position", first_position, first_position >= 0 && first_position + T <= wpe.shape[0],
             "with T = " + std::to_string(T) + " it must end within n_ctx = " + std::to_string(wpe.shape[0]));
}

void EmbeddingBackward::check() const {
  const Call call("embedding_backward", dout, "dout");
  call.rank("dout", dout, 3);
  call.rank("dwte", dwte, 2);
  call.rank("dwpe", dwpe, 2);
  const std::int64_t T = dout.shape[1];
  const std::int64_t C = dout.shape[2];
  token_ids(call, tokens, dout.shape[0], T);
  call.tensor("dwte", dwte, DType::f32, {dwte.shape[0], C});
  call.tensor("dwpe", dwpe, DType::f32, {dwpe.shape[0], C});
  call.range("dwpe", dwpe.shape.to_string(), T <= dwpe.shape[0],
             "it needs a row for each of T = " + std::to_string(T) + " positions");
}

void LayernormForward::check() const {
  const Call call("layernorm_forward", x, "x");
  call.rank("x", x, 2);
  const std::int64_t R = x.shape[0];
  const std::int64_t C = x.shape[1];
  call.tensor("gamma", gamma, call.act, {C});
  call.optional("beta", beta, call.act, {C});
  call.tensor("out", out, call.act, {R, C});
  call.tensor("mean", mean, DType::f32, {R});
  call.tensor("rstd", rstd, DType::f32, {R});
}

void LayernormBackward::check() const {
  const Call call("layernorm_backward", x, "x");
  call.rank("x", x, 2);
  const std::int64_t R = x.shape[0];
  const std::int64_t C = x.shape[1];
  call.tensor("dout", dout, call.act, {R, C});
  call.tensor("gamma", gamma, call.act, {C});
  call.tensor("mean", mean, DType::f32, {R});
  call.tensor("rstd", rstd, DType::f32, {R});
  call.optional("dresidual", dresidual, call.act, {R, C});
  call.tensor("dx", dx, call.act, {R, C});
  call.tensor("dgamma", dgamma, DType::f32, {C});
  call.optional("dbeta", dbeta, DType::f32, {C});
}

void LinearForward::check() const {
  const Call call("linear_forward", x, "x");
  call.rank("x", x, 2);
  call.rank("weight", weight, 2);
  const std::int64_t R = x.shape[0];
  const std::int64_t N = weight.shape[0];
  call.tensor("weight", weight, call.act, {N, x.shape[1]});
  call.tensor("y", y, call.act, {R, N});
  if (epilogue == Epilogue::none) call.range("bias", "present", !bias.present(), "Epilogue::none adds none");
  if (epilogue == Epilogue::bias) call.tensor("bias", bias, call.act, {N});
  call.optional("bias", bias, call.act, {N});
  call.optional("residual", residual, call.act, {R, N});
  call.range("residual", "present", !residual.present() || epilogue != Epilogue::bias_gelu, "Epilogue::bias_gelu adds none");
  if (epilogue == Epilogue::bias_gelu) return call.tensor("pre", pre, call.act, {R, N});
  call.range("pre", "present", !pre.present(), "only Epilogue::bias_gelu writes it");
}

void Gelu::check() const {
  const Call call("gelu", pre, "pre");
  call.tensor("y", y, call.act, pre.shape);
}

void LinearBackwardInput::check() const {
  const Call call("linear_backward_input", dy, "dy");
  call.rank("dy", dy, 2);
  call.rank("weight", weight, 2);
  const std::int64_t R = dy.shape[0];
  const std::int64_t K = weight.shape[1];
  call.tensor("weight", weight, call.act, {dy.shape[1], K});
  call.optional("pre", pre, call.act, {R, K});
  call.tensor("dx", dx, call.act, {R, K});
}

void LinearBackwardWeight::check() const {
  const Call call("linear_backward_weight", dy, "dy");
  call.rank("dy", dy, 2);
  call.rank("x", x, 2);
  const std::int64_t R = dy.shape[0];
  const std::int64_t N = dy.shape[1];
  const std::int64_t K = x.shape[1];
  call.tensor("x", x, call.act, {R, K});
  call.tensor("dw", dw, DType::f32, {N, K});
  call.optional("dbias", dbias, DType::f32, {N});
}

void AttentionForward::check() const {
  const Call call("attention_forward", qkv, "qkv");
  const std::int64_t C = packed_qkv(call, qkv, n_head);
  call.tensor("out", out, call.act, {qkv.shape[0], qkv.shape[1], C});
  call.tensor("lse", lse, DType::f32, {qkv.shape[0], n_head, qkv.shape[1]});
}

void AttentionBackward::check() const {
  const Call call("attention_backward", qkv, "qkv");
  const std::int64_t B = qkv.shape[0];
  const std::int64_t C = packed_qkv(call, qkv, n_head);
  const std::int64_t T = qkv.shape[1];
  call.tensor("dout", dout, call.act, {B, T, C});
  call.tensor("out", out, call.act, {B, T, C});
  call.tensor("lse", lse, DType::f32, {B, n_head, T});
  call.tensor("dqkv", dqkv, call.act, dqkv.shape.rank() == 5 ? Shape{B, T, 3, n_head, C / n_head} : Shape{B, T, 3 * C});
}

void AttentionCached::check() const {
  const Call call("attention_cached", qkv, "qkv");
  const std::int64_t B = qkv.shape[0];
  const std::int64_t C = packed_qkv(call, qkv, n_head);
  const std::int64_t S = qkv.shape[1];
  call.rank("key_cache", key_cache, 3);
  const std::int64_t n_ctx = key_cache.shape[1];
  call.tensor("key_cache", key_cache, call.act, {B, n_ctx, C});
  call.tensor("value_cache", value_cache, call.act, {B, n_ctx, C});
  call.tensor("out", out, call.act, {B, S, C});
  call.range("start", start, start >= 0 && start + S <= n_ctx,
             "with S = " + std::to_string(S) + " new positions it must end within n_ctx = " + std::to_string(n_ctx));
}

void CrossEntropy::check() const {
  const Call call("cross_entropy", logits, "logits");
  call.rank("logits", logits, 2);
  const std::int64_t R = logits.shape[0];
  call.tensor("targets", targets, DType::i32, {R});
  call.tensor("losses", losses, DType::f32, {R});
  call.range("vocab_size", vocab_size, vocab_size >= 1 && vocab_size <= logits.shape[1],
             "it must be between 1 and the columns of the logits, " + std::to_string(logits.shape[1]));
}

void Sum::check() const {
  const Call call("sum", x, "x");
  call.tensor("x", x, DType::f32, x.shape);
  call.tensor("out", out, DType::f32, out.shape);
  call.range("out", out.shape.to_string(), out.numel() == 1, "it must have one element");
}

void GlobalNorm::check() const {
  const Call call("global_norm", gradients, "gradients");
  call.tensor("gradients", gradients, DType::f32, gradients.shape);
  call.range("max_norm", max_norm, max_norm >= 0.0f, "it must be positive, or 0 for no clipping");
  call.memory("scalars", scalars);
}

void TensorMoments::check() const {
  const Call call("tensor_moments");
  call.memory("gradient", gradient);
  segment_table(call, segments);
  call.memory("out", out);
}

void TensorScales::check() const {
  const Call call("tensor_scales");
  call.range("max_norm", settings.max_norm, settings.max_norm >= 0.0f, "it must be positive, or 0 for no clipping");
  call.range("smoothing", settings.smoothing, settings.smoothing >= 0.0f && settings.smoothing < 1.0f, "it must be in [0, 1)");
  if (settings.max_norm > 0.0f) call.memory("moments", moments);
  segment_table(call, segments);
  call.memory("scalars", scalars);
  if (settings.correction != RateCorrection::none) {
    call.range("first_examples", settings.first_examples, settings.first_examples > 0.0f, "it must be positive");
    call.range("second_examples", settings.second_examples, settings.second_examples > 0.0f, "it must be positive");
    call.memory("halves", halves);
    call.memory("smoothed", smoothed);
  }
  call.memory("scales", scales);
}

void AddDecayGradient::check() const {
  const Call call("add_decay_gradient");
  call.memory("buffers.master", buffers.master);
  call.memory("buffers.gradient", buffers.gradient);
  segment_table(call, segments);
  call.memory("scalars", scalars);
}

void OptimizerUpdate::check() const {
  const Call call("optimizer_update");
  call.memory("buffers.master", buffers.master);
  call.memory("buffers.gradient", buffers.gradient);
  const std::size_t states = state_names(rule).size();
  for (std::size_t i = 0; i < states; ++i)
    call.range("buffers.state", "null", buffers.state[i] != nullptr, "the rule keeps " + std::to_string(states) + " states");
  const bool some_rows = buffers.row_norm != nullptr || buffers.row_mean_square != nullptr || buffers.row_work != nullptr;
  const bool all_rows = buffers.row_norm != nullptr && buffers.row_mean_square != nullptr && buffers.row_work != nullptr;
  call.range("one of buffers.row_norm, row_mean_square and row_work", "null", all_rows || !some_rows,
             "control of norms needs all three");
  call.range("buffers.row_gain_moments", "null", !settings.gains.trained || !all_rows || buffers.row_gain_moments != nullptr,
             "Adam of the gains keeps two numbers per row");
  call.range("settings.decay_form", "scaled_gradient",
             settings.decay_form != DecayForm::scaled_gradient || std::holds_alternative<Adam>(rule),
             "only Adam has the preconditioner that scales it");
  call.range("settings.clip_value", settings.clip_value, settings.clip_value >= 0.0f, "it must be positive, or 0 for no clipping");
  call.range("settings.averaging", settings.averaging, settings.averaging >= 0.0f && settings.averaging < 1.0f,
             "it must be in [0, 1)");
  segment_table(call, segments);
  call.memory("scalars", scalars);
}

void Normalize::check() const {
  const Call call("normalize", out, "out");
  call.tensor("x", x, DType::f32, out.shape);
}

void LinearCombination::check() const {
  const Call call("linear_combination", out, "out");
  call.tensor("x", x, call.act, out.shape);
  call.tensor("y", y, call.act, out.shape);
}

void UpdateStatistics::check() const {
  const Call call("update_statistics");
  call.memory("before", before);
  call.memory("after", after);
  if (decay.cautious && decay.averaged) call.memory("gradient", gradient);
  segment_table(call, segments);
  call.memory("scalars", scalars);
  call.memory("out", out);
}

void Precondition::check() const {
  const Call call("precondition", out, "out");
  call.tensor("out", out, DType::f32, out.shape);
  call.tensor("x", x, DType::f32, out.shape);
  call.tensor("second_moment", second_moment, DType::f32, out.shape);
}

void Histogram::check() const {
  const Call call("histogram", x, "x");
  call.tensor("x", x, DType::f32, x.shape);
  call.rank("counts", counts, 1);
  call.tensor("counts", counts, DType::i32, {counts.shape[0]});
  call.range("counts", counts.shape.to_string(), counts.shape[0] >= 1, "it must have a bin");
}

// ---- what lies in memory that the host can read ----------------------------------------------------------------------

namespace {

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

std::span<const ParameterSegment> check_segments(const char* operation, SegmentTable segments) {
  for (const ParameterSegment& segment : segments.on_host()) {
    if (segment.offset >= 0 && segment.offset % 4 == 0 && segment.rows >= 0 && segment.columns >= 0) continue;
    throw ContractViolation(std::string(operation) + ": a segment has offset " + std::to_string(segment.offset) + ", rows " +
                            std::to_string(segment.rows) + " and columns " + std::to_string(segment.columns) +
                            "; none may be negative and the offset must be a multiple of 4");
  }
  return segments.on_host();
}

}  // namespace

void EmbeddingForward::check_values() const { check_ids("embedding_forward: token", tokens, 0, wte.shape[0]); }
void EmbeddingBackward::check_values() const { check_ids("embedding_backward: token", tokens, 0, dwte.shape[0]); }
void CrossEntropy::check_values() const { check_ids("cross_entropy: target", targets, -1, vocab_size); }
void TensorMoments::check_values() const { check_segments("tensor_moments", segments); }
void TensorScales::check_values() const { check_segments("tensor_scales", segments); }
void AddDecayGradient::check_values() const { check_segments("add_decay_gradient", segments); }
void UpdateStatistics::check_values() const { check_segments("update_statistics", segments); }

void OptimizerUpdate::check_values() const {
  for (const ParameterSegment& segment : check_segments("optimizer_update", segments)) {
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

}  // namespace temper::op
