// THE contract between temper's model code and whatever executes it: the whole arithmetic of GPT-2 training.
//
// Rules that hold for every method
// * Asynchronous: a call may return before its work is done; calls on one Ops take effect in the order they were made.
//   Host code sees results only after synchronize() or copy_to_host().
// * "act" below is the activation type: f32, or bf16 with all sums and statistics in f32. One call, one act type.
//   Weights have the act type, their gradients are always f32, statistics and losses f32, token ids i32.
// * Deterministic: the same inputs give the same bits, on the CPU for any number of threads. No float atomics.
// * Inputs and outputs do not overlap unless a parameter says "in place".
// * Device memory is written only through Ops, so that a backend may keep packed copies of weights.
// * A call with shapes or types that break what is written here throws ContractViolation.
//
// Names: B sequences, T positions, C = n_embd, H heads of size D = C/H, V vocabulary, Vp its padded size, R = B*T rows,
// K inputs and N outputs of a linear layer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "kernels/noise_scale.h"
#include "kernels/norm_control.h"
#include "kernels/tensor.h"
#include "kernels/update_rules.h"

namespace temper {

/// Whether a gradient is written over what is there or added to it.
enum class Write : std::uint8_t { overwrite, accumulate };

/// What a linear layer applies to its product before writing it.
enum class Epilogue : std::uint8_t {
  none,       ///< y = x W^T
  bias,       ///< y = x W^T + b
  bias_gelu,  ///< pre = x W^T + b (b optional), y = gelu(pre); both are kept
};

/// What the machine behind an Ops is, for doctor, benchmarks and logs.
struct DeviceInfo {
  std::string backend;        ///< "cpu", "cuda", "emulated"
  std::string name;           ///< processor or GPU name
  std::string features;       ///< instruction sets or compute capability, and the libraries in use
  int threads = 1;            ///< worker threads (cpu) or multiprocessors (cuda)
  bool asynchronous = false;  ///< calls return before their work is done
  bool bf16 = false;          ///< bf16 has hardware matmuls here; precision=bf16 is refused without
  bool tf32 = false;          ///< f32 matmuls round their inputs to TF32, as CudaOptions asked
  std::size_t memory = 0;     ///< bytes of memory this device has
};

/// What one micro-batch asks of a device, for memory plans.
struct Workload {
  DType activation = DType::f32;
  std::int64_t sequences = 0;  ///< B
  std::int64_t positions = 0;  ///< T
  std::int64_t n_embd = 0;     ///< C
  std::int64_t n_head = 0;     ///< H
  std::int64_t padded_vocab_size = 0;
  std::int64_t head_rows = 0;  ///< rows of logits that are worked on at once
  std::int64_t segments = 0;   ///< that the optimizer walks

  std::int64_t rows() const { return sequences * positions; }

  struct Linear {
    Shape weight;  ///< [N,K]
    std::int64_t rows;
  };
  /// GPT-2's linear layers: qkv, attention projection, MLP up and down, head.
  std::array<Linear, 5> linears() const {
    const std::int64_t C = n_embd, R = rows();
    return {Linear{{3 * C, C}, R}, {{C, C}, R}, {{4 * C, C}, R}, {{C, 4 * C}, R}, {{padded_vocab_size, C}, head_rows}};
  }
};

/// What an optimizer update walks, in device memory; element i of the flat buffers belongs to parameter element i.
struct UpdateBuffers {
  float* master = nullptr;    ///< f32 weights, read and written
  float* gradient = nullptr;  ///< f32, before clipping; where a segment is controlled its direction is left there
  float* state[3] = {nullptr, nullptr, nullptr};  ///< as many as the rule has states
  bfloat16* low_precision = nullptr;              ///< bf16 copy that the model reads; null when the model reads `master`
  const TensorScale* scales = nullptr;            ///< one per segment (Ops::tensor_scales); null: all 1
  // One per row of a controlled segment, from ParameterSegment::first_row on; null where no segment is controlled.
  float* row_norm = nullptr;
  float* row_mean_square = nullptr;
  RowWork* row_work = nullptr;  ///< contents do not matter
};

/// What an update did to a segment: sums over its elements, w the weights before, dw = weights after - w. In double.
struct UpdateStatistics {
  double weight_squares;   ///< ||w||^2
  double product;          ///< <w, dw>
  double update_squares;   ///< ||dw||^2
  double row_angles;       ///< sum over rows of the squared angle between row before and row after, in radians
  double step_row_angles;  ///< the same for the step alone: with d w added to dw again, d = scalars->decay x weight_decay
  double fourth_powers;    ///< of w
  double largest;          ///< |w|
};

/// Work that Ops::replay met before. Belongs to one Ops and must not outlive it.
struct Recording {
  int runs = 0;
  std::shared_ptr<void> graph;  ///< the backend's own
};

class Ops {
 public:
  virtual ~Ops() = default;
  Ops() = default;
  Ops(const Ops&) = delete;
  Ops& operator=(const Ops&) = delete;

  // ---- memory and order ------------------------------------------------------------------------------------------

  virtual const DeviceInfo& device() const = 0;

  /// `bytes` of device memory on a 256-byte boundary, contents undefined. Throws OutOfMemory.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;

  /// `host_from` may change as soon as the call returns.
  virtual void copy_to_device(void* device_to, const void* host_from, std::size_t bytes) = 0;
  /// Waits for all earlier work, then copies.
  virtual void copy_to_host(void* host_to, const void* device_from, std::size_t bytes) = 0;
  virtual void copy(void* device_to, const void* device_from, std::size_t bytes) = 0;
  /// Sets every byte to zero.
  virtual void zero(void* device, std::size_t bytes) = 0;
  /// f32 -> bf16 (round to nearest even), bf16 -> f32, or a plain copy; equal shapes.
  virtual void cast(ConstTensorView from, TensorView to) = 0;
  virtual void synchronize() = 0;

  /// Starts to read at most `read_bytes` bytes behind all work so far and returns the read's number; at most `open_reads` may be
  /// unfinished.
  virtual std::uint64_t start_read(const void* device_from, std::size_t bytes) = 0;
  /// Waits for that read, not for work queued behind it, and stores its bytes at `host_to`.
  virtual void finish_read(std::uint64_t read, void* host_to, std::size_t bytes) = 0;
  static constexpr std::size_t read_bytes = 64;
  static constexpr std::size_t open_reads = 8;

  /// Queues what `work` queues. A backend may record it and replay the record when called with the same `recording` again, so
  /// `work` must make the same calls with the same arguments each time, allocate nothing and copy nothing from or to the host.
  virtual void replay(Recording& recording, const std::function<void()>& work) = 0;

  /// Announces a weight matrix W[N,K] that linear layers will use again and again at this address, so that a backend may
  /// keep it packed. Returns the bytes the backend takes for it. The packed copy follows every write made through Ops.
  virtual std::size_t register_weight(ConstTensorView weight) = 0;

  /// Device memory was written by somebody else, a collective: what the backend keeps of it is stale.
  virtual void written(const void* device, std::size_t bytes) = 0;

  /// For memory plans, before anything is taken: what register_weight would return for a weight of this type and shape, and the
  /// scratch that all operations of such training share; it is kept once it was needed.
  virtual std::size_t packed_bytes(DType dtype, Shape weight) const = 0;
  virtual std::size_t scratch_bytes(const Workload& workload) const = 0;
  /// Takes that scratch now, so that nothing is taken later.
  virtual void reserve_scratch(const Workload& workload) = 0;
  /// Bytes of device memory taken by now, through allocate() and by the backend for itself.
  virtual std::size_t taken_bytes() const = 0;

  // ---- embedding -------------------------------------------------------------------------------------------------

  /// out[b,t,:] = wte[tokens[b,t],:] + wpe[first_position + t,:].
  /// tokens i32 [B,T] in [0, V); wte act [Vp,C]; wpe act [n_ctx,C]; out act [B,T,C].
  virtual void embedding_forward(ConstTensorView tokens, ConstTensorView wte, ConstTensorView wpe, std::int64_t first_position,
                                 TensorView out) = 0;

  /// dwte[v,:] += sum over positions holding v of dout; dwpe[t,:] (write or accumulate) sum over b of dout[b,t,:].
  /// Positions start at 0. dout act [B,T,C]; dwte f32 [Vp,C], always accumulated, since the tied head writes it first;
  /// dwpe f32 [n_ctx,C]: with Write::overwrite the rows from T on are zeroed. Sums in order of position.
  virtual void embedding_backward(ConstTensorView dout, ConstTensorView tokens, TensorView dwte, TensorView dwpe,
                                  Write write_wpe) = 0;

  // ---- layer normalisation (Ba et al., arXiv 1607.06450), epsilon 1e-5 -------------------------------------------

  /// mean, rstd over the last axis; out = (x - mean) * rstd * gamma + beta.
  /// x, out act [R,C]; gamma act [C]; beta act [C] or absent; mean, rstd f32 [R].
  virtual void layernorm_forward(ConstTensorView x, ConstTensorView gamma, ConstTensorView beta, TensorView out, TensorView mean,
                                 TensorView rstd) = 0;

  /// sum = x + residual, then the layer norm of `sum` (as rounded to act). All act [R,C] but the statistics.
  virtual void residual_layernorm_forward(ConstTensorView x, ConstTensorView residual, ConstTensorView gamma, ConstTensorView beta,
                                          TensorView sum, TensorView out, TensorView mean, TensorView rstd) = 0;

  /// dx = dresidual + (gradient of the layer norm at x for dout); `dresidual` act [R,C] or absent, dx may be the same memory.
  /// dgamma, dbeta f32 [C] (dbeta absent when there is no beta), overwritten or accumulated.
  virtual void layernorm_backward(ConstTensorView dout, ConstTensorView x, ConstTensorView gamma, ConstTensorView mean,
                                  ConstTensorView rstd, ConstTensorView dresidual, TensorView dx, TensorView dgamma,
                                  TensorView dbeta, Write write) = 0;

  // ---- linear layers; W[N,K] holds one output feature per row ------------------------------------------------------

  /// y[R,N] = epilogue(x[R,K] W[N,K]^T + bias). bias act [N] or absent (only with none and bias_gelu); pre act [R,N] is
  /// written by bias_gelu alone. gelu is GPT-2's: 0.5 z (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))).
  virtual void linear_forward(ConstTensorView x, ConstTensorView weight, ConstTensorView bias, Epilogue epilogue, TensorView y,
                              TensorView pre) = 0;

  /// dx[R,K] = dy[R,N] W[N,K]; with `pre` (act [R,K]) present the result is multiplied by gelu'(pre).
  virtual void linear_backward_input(ConstTensorView dy, ConstTensorView weight, ConstTensorView pre, TensorView dx) = 0;

  /// y = gelu(pre), act, equal shapes: what bias_gelu wrote, once more.
  virtual void gelu(ConstTensorView pre, TensorView y) = 0;

  /// dw[N,K] (f32) = or += dy[R,N]^T x[R,K]; dbias[N] (f32, may be absent) = or += sum over rows of dy.
  virtual void linear_backward_weight(ConstTensorView dy, ConstTensorView x, TensorView dw, TensorView dbias, Write write) = 0;

  // ---- causal attention on packed qkv [B,T,3,H,D], scale 1/sqrt(D) -------------------------------------------------

  /// out act [B,T,C]; lse f32 [B,H,T] = log of the softmax denominator (scaled scores, natural log), for the backward pass.
  virtual void attention_forward(ConstTensorView qkv, std::int64_t n_head, TensorView out, TensorView lse) = 0;

  /// dqkv act [B,T,3C] from dout act [B,T,C] and what the forward pass read and wrote.
  virtual void attention_backward(ConstTensorView dout, ConstTensorView qkv, ConstTensorView out, ConstTensorView lse,
                                  std::int64_t n_head, TensorView dqkv) = 0;

  /// For generation: appends the S new keys and values of qkv act [B,S,3C] to caches act [B,n_ctx,C] at `start`, then
  /// out[b,i,:] attends over positions 0 .. start+i. out act [B,S,C].
  virtual void attention_cached(ConstTensorView qkv, std::int64_t n_head, std::int64_t start, TensorView key_cache,
                                TensorView value_cache, TensorView out) = 0;

  // ---- loss ------------------------------------------------------------------------------------------------------

  /// losses[r] = logsumexp(logits[r,:V]) - logits[r,target[r]]; then, when gradient_scale != 0, logits become in place
  /// (softmax - onehot) * gradient_scale, exactly 0 in columns V..Vp-1. Target -1: loss 0, gradient 0.
  /// logits act [R,Vp]; targets i32 [R]; losses f32 [R]. With gradient_scale 0 the logits are left as they are.
  virtual void cross_entropy(TensorView logits, ConstTensorView targets, std::int64_t vocab_size, float gradient_scale,
                             TensorView losses) = 0;

  /// out[0] (f32) = or += scale * sum of x (f32, any shape), in a fixed order.
  virtual void sum(ConstTensorView x, float scale, Write write, TensorView out) = 0;

  // ---- optimizer ---------------------------------------------------------------------------------------------------

  /// Norm of all gradients (one flat f32 tensor), then the clip factor: fills the second group of `scalars` (device memory;
  /// `loss` must be there already). max_norm 0: no clipping.
  virtual void global_norm(ConstTensorView gradients, float max_norm, StepScalars* scalars) = 0;

  /// out[i] = squares and product of segment i's gradient and `moment` (flat f32 buffers; moment null: gradient squares only).
  virtual void tensor_moments(const float* gradient, const float* moment, const ParameterSegment* segments,
                              std::int64_t segment_count, TensorMoments* out) = 0;

  /// scales[i] = clip factor and rate of segment i (kernels/noise_scale.h) from moments[i], after global_norm. `smoothed` f32 [2
  /// per segment] is kept between steps, 0 before the first. Matrices are segments of more than one row. Nothing is changed when
  /// scalars->finite is 0.
  virtual void tensor_scales(const ScaleSettings& settings, const TensorMoments* moments, const ParameterSegment* segments,
                             std::int64_t segment_count, const StepScalars* scalars, float* smoothed, TensorScale* scales) = 0;

  /// gradient += scalars->decay x weight_decay x master, segment by segment: L2 as part of the loss, before norms are taken.
  virtual void add_decay_gradient(const UpdateBuffers& buffers, const ParameterSegment* segments, std::int64_t segment_count,
                                  const StepScalars* scalars) = 0;

  /// One fused update over all segments: clip, moments, direction, decay, master and low-precision write, as ElementUpdate
  /// (kernels/update_rules.h) has it; controlled segments step as kernels/norm_control.h has it and have no decay. One launch where
  /// no segment is controlled, at most three otherwise. Does nothing at all when scalars->finite is 0.
  virtual void optimizer_update(const UpdateRule& rule, const UpdateSettings& settings, const UpdateBuffers& buffers,
                                const ParameterSegment* segments, std::int64_t segment_count, const StepScalars* scalars) = 0;

  /// out = x / (||x|| + 1e-7). x f32, out act, any equal shapes.
  virtual void normalize(ConstTensorView x, TensorView out) = 0;
  /// out = a x + b y; act, equal shapes; out may be x or y.
  virtual void linear_combination(float a, ConstTensorView x, float b, ConstTensorView y, TensorView out) = 0;

  // ---- diagnostics -------------------------------------------------------------------------------------------------

  /// out[i] of segment i, from flat f32 buffers of the weights before and after a step. Angles are atan2 of sums in double.
  virtual void update_statistics(const float* before, const float* after, const ParameterSegment* segments,
                                 std::int64_t segment_count, const StepScalars* scalars, UpdateStatistics* out) = 0;

  /// out = x on the scale of Adam's preconditioner. f32, any equal shapes.
  virtual void precondition(const PriorScale& scale, ConstTensorView x, ConstTensorView second_moment, TensorView out) = 0;

  /// counts[b] = number of elements with scale * x in bin b of equal bins over [-6, 6); what lies outside counts in the first or
  /// last bin. x f32, any shape; counts i32 [bins].
  virtual void histogram(ConstTensorView x, float scale, TensorView counts) = 0;
};

/// The default backend: vector and AMX kernels, OpenMP loops.
std::unique_ptr<Ops> make_cpu_ops();

/// True when this build and this machine can run the CUDA backend; otherwise `reason` says what is missing.
bool cuda_available(std::string* reason);

struct CudaOptions {
  /// A file that remembers which of the library's matmul algorithms was fastest for each shape on this GPU. Without one nothing is
  /// timed and the library's own first choice is taken, so that the same inputs give the same bits in every process.
  std::string algorithm_cache;
  bool tf32 = false;  ///< f32 matmuls may round their inputs to TF32 (10 bits of mantissa), which tensor cores multiply
  /// Which of the visible GPUs; numbers go round where there are fewer, so that processes may share one.
  std::int64_t device = 0;
};

/// Throws Unsupported with the reason when there is no GPU, or none that can do what is asked.
std::unique_ptr<Ops> make_cuda_ops(const CudaOptions& options = {});

/// The cudaStream_t that the work of a CUDA device is queued on, for a library that queues beside it; null for any other device.
void* cuda_stream(Ops& ops);

}  // namespace temper
