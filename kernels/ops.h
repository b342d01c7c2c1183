// THE contract between temper's model code and whatever executes it: memory, order, and the operations of kernels/operations.h.
//
// Rules that hold for every method
// * Asynchronous: a call may return before its work is done; calls on one Ops take effect in the order they were made.
//   Host code sees results only after synchronize() or copy_to_host().
// * Deterministic: the same inputs give the same bits, on the CPU for any number of threads. No float atomics.
// * Device memory is written only through Ops, so that a backend may keep packed copies of weights.
// * A call with arguments that break what is written here or there throws ContractViolation and does nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/operations.h"
#include "kernels/tensor.h"

namespace temper {

/// What the machine behind an Ops is, for doctor, benchmarks and logs.
struct DeviceInfo {
  std::string backend;        ///< "cpu", "cuda", "emulated"
  std::string name;           ///< processor or GPU name
  std::string features;       ///< instruction sets or compute capability, and the libraries in use
  int threads = 1;            ///< worker threads (cpu) or multiprocessors (cuda)
  bool asynchronous = false;  ///< calls return before their work is done; of any other device the host can read the memory
  bool bf16 = false;          ///< bf16 runs here; precision=bf16 is refused without
  bool fast_bf16 = false;     ///< and has matmuls of its own, faster than those of f32
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
  std::int64_t segments = 0;   ///< that the optimizer walks
  struct Linear {
    Shape weight;  ///< [N,K]
    std::int64_t rows;
    bool bias;
  };
  std::vector<Linear> linears;  ///< one of each kind

  std::int64_t rows() const { return sequences * positions; }
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
  virtual void synchronize() = 0;

  /// Starts to read at most `read_bytes` bytes after all work so far and returns the read's number; at most `open_reads` may be
  /// unfinished.
  std::uint64_t start_read(const void* device_from, std::size_t bytes);
  /// Waits for that read, not for work queued after it, and stores its bytes at `host_to`.
  void finish_read(std::uint64_t read, void* host_to, std::size_t bytes);
  static constexpr std::size_t read_bytes = sizeof(StepScalars);  // what is read while the device works on
  static constexpr std::size_t open_reads = 8;

  /// Queues what `work` queues. A backend may record it and replay the record when called with the same `recording` again, so
  /// `work` must make the same calls with the same arguments each time, allocate nothing and copy nothing from or to the host.
  virtual void replay(Recording& recording, const std::function<void()>& work) = 0;

  /// Announces a weight matrix W[N,K] that linear layers will use again and again at this address, so that a backend may
  /// keep it packed. Returns the bytes the backend takes for it. The packed copy follows every write made through Ops.
  std::size_t register_weight(ConstTensorView weight);

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

  // ---- what a backend decides by time, and tells: nothing on a CPU -------------------------------------------------

  /// Every choice that was made by time so far, as lines of text. Bits may depend on them, so a run keeps them.
  virtual std::string choices() const { return {}; }
  /// From now on these are taken and nothing is timed: what they do not name is done as every process would without timing. Returns
  /// false, and changes nothing, where none of them was made on such a GPU with such a library.
  virtual bool take_choices(const std::string& /*choices*/) { return true; }
  /// What there is to tell people since the last call, a line each: products that the library refuses, for one.
  virtual std::vector<std::string> take_notes() { return {}; }

  /// Between these two, NVIDIA's profilers record (cudaProfilerStart, cudaProfilerStop): what is queued in between, for both wait for
  /// all work so far.
  virtual void start_profiler() {}
  virtual void stop_profiler() {}
  /// A named range around what is queued in between, on the profilers' time line; ranges nest. `name` is copied.
  virtual void begin_range(const char* /*name*/) {}
  virtual void end_range() {}

  // ---- operations: each entry checks its arguments, then lets the backend run them -------------------------------

#define TEMPER_ENTRY(name, Arguments)         \
  void name(const op::Arguments& arguments) { \
    check(arguments);                         \
    run(arguments);                           \
  }
  TEMPER_OPERATIONS(TEMPER_ENTRY)
#undef TEMPER_ENTRY

 private:
#define TEMPER_RUN(name, Arguments) virtual void run(const op::Arguments& arguments) = 0;
  TEMPER_OPERATIONS(TEMPER_RUN)
#undef TEMPER_RUN

  // As the public methods without their checks; reads have a place each, [0, open_reads).
  virtual void start_read_in(std::size_t place, const void* device_from, std::size_t bytes) = 0;
  virtual void finish_read_in(std::size_t place, void* host_to, std::size_t bytes) = 0;
  virtual std::size_t keep_weight(ConstTensorView weight) = 0;

  template <typename Arguments>
  void check(const Arguments& arguments) const {
    arguments.check();
    if constexpr (requires { arguments.check_values(); })
      if (!device().asynchronous) arguments.check_values();
  }

  std::uint64_t reads_started_ = 0;
};

/// A range of Ops around what its scope queues.
class NamedRange {
 public:
  NamedRange(Ops& ops, const char* name) : ops_(ops) { ops_.begin_range(name); }
  ~NamedRange() { ops_.end_range(); }
  NamedRange(const NamedRange&) = delete;
  NamedRange& operator=(const NamedRange&) = delete;

 private:
  Ops& ops_;
};

/// The default backend: vectors, bf16 products on AMX tiles or with AVX512-BF16, OpenMP loops.
std::unique_ptr<Ops> make_cpu_ops();

/// True when this build and this machine can run the CUDA backend; otherwise `reason` says what is missing.
bool cuda_available(std::string* reason);

/// What the CUDA backend does in a fast way, and can do in a plain one where that fails: the operation, and the fast way's name.
struct FastWay {
  std::string_view operation, name;
};
inline constexpr std::array fast_ways = {
    FastWay{"linear_forward", "GELU in the product"},
    FastWay{"linear_forward", "residual in the product"},
    FastWay{"linear_backward_input", "GELU's gradient in the product"},
    FastWay{"linear_backward_weight", "bias gradient in the product"},
    FastWay{"attention_forward", "attention in tiles"},
    FastWay{"attention_backward", "attention's gradient in one pass"},
    FastWay{"attention_backward", "attention's gradient in tiles"},
};
/// Places in fast_ways.
enum class Fast : std::uint8_t { gelu, residual, gelu_gradient, bias_gradient, attention, attention_one_pass, attention_gradient };

struct CudaOptions {
  /// A file that remembers what was fastest on this GPU: for each shape of a product which of the library's algorithms, and whether
  /// with its epilogue or without. Without one nothing is timed and the library's own first choice is taken, so that the same inputs
  /// give the same bits in every process.
  std::string choices_file;
  std::vector<Fast> without = {};  ///< fast ways that are not to be taken
  bool tf32 = false;  ///< f32 matmuls may round their inputs to TF32 (10 bits of mantissa), which tensor cores multiply
  /// Which of the visible GPUs; numbers go round where there are fewer, so that processes may share one.
  std::int64_t device = 0;
};

/// What make_cuda_ops(options) would work on, and with which library; nothing is taken of the GPU. Throws as that does.
DeviceInfo cuda_device(const CudaOptions& options = {});

/// Throws Unsupported with the reason when there is no GPU, or none that can do what is asked.
std::unique_ptr<Ops> make_cuda_ops(const CudaOptions& options = {});

/// The cudaStream_t that the work of a CUDA device is queued on, for a library that queues beside it; null for any other device.
void* cuda_stream(Ops& ops);

}  // namespace temper
