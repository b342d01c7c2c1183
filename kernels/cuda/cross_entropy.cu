#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include <device/async_copy.cuh>
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/host_device.h"

namespace temper::TEMPER_BACKEND {

namespace {

// Two blocks of 512 threads per multiprocessor, each with one bf16 row of GPT-2's logits (100,528 bytes) in shared memory: while
// one waits for its row, the other computes. Processors of 8.6, 8.9 and 12.0, with 101,376 bytes for a block, have one.
constexpr int most_threads = 512;
constexpr int blocks_per_multiprocessor = 2;
constexpr int batch = 4;   // vectors of one thread that get a common maximum
constexpr int groups = 4;  // parts in which a row arrives; the first ones are summed while the last ones are on their way
constexpr int warp_slots = 32;
constexpr std::size_t declared_bytes = 2 * warp_slots * sizeof(float);  // of shared memory, besides the row
static_assert(declared_bytes % shared_boundary == 0);

constexpr float log2_e = 1.442695041f;
constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float smallest_exponent = -87.33654f;  // e to this is the smallest normal float

/// Where a row's logits are while a block works on them.
enum class Row : std::uint8_t {
  shared,    ///< copied to shared memory, so that memory is read once
  global,    ///< read where they are, 16 bytes at a time: rows too long for shared memory, or read once only
  unaligned  ///< the same one by one: rows that do not begin on a 16-byte boundary
};

// e^(x - maximum) for x <= maximum. Gradients in f32 are as good as the library's. Those rounded to bf16 need less: one fused
// multiply-add before the power of two, of which |x| 2^-23 is the relative error.
template <typename T>
class Exponential {
 public:
  __device__ __forceinline__ explicit Exponential(float maximum)
      : shift_(sizeof(T) == 2 ? Maximum{}(maximum, least_maximum) * log2_e : maximum) {}
  __device__ __forceinline__ float operator()(float x) const {
    if constexpr (sizeof(T) == 2) return exp2_approx(x * log2_e - shift_);
    return x - shift_ < smallest_exponent ? 0.0f : std::exp(x - shift_);  // NaN stays NaN
  }

 private:
  static constexpr float least_maximum = -2e38f;  // times log2_e it is finite, so that -inf has e^-inf
  float shift_;
};

// What a thread knows of its part of a row: sum of e^(x - maximum). NaN never becomes the maximum, but stays in the sum.
struct Softmax {
  float maximum = Maximum::identity;
  float sum = 0.0f;
};

// One row in pieces of `width` logits ("vectors"); vector v belongs to thread v % blockDim.x, which alone reads, copies and writes
// it, so that no barrier stands between these.
template <typename T, Row place>
struct RowReader {
  static constexpr int width = place == Row::unaligned ? 1 : vector_width<T>;
  using Floats = float[width];

  const T* row;  // in global memory
  T* copy;       // in shared memory
  int vocab_size;

  __device__ __forceinline__ int vectors() const { return ceil_div(vocab_size, width); }
  __device__ __forceinline__ static int vector_of(int batch_index, int i) {
    return (batch_index * batch + i) * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
  }
  __device__ __forceinline__ int batches() const {
    const int per_batch = batch * static_cast<int>(blockDim.x);
    return ceil_div(vectors(), per_batch);
  }
  __device__ __forceinline__ int batches_per_group() const { return ceil_div(batches(), groups); }

  // Asks for the whole row, in `groups` groups of batches.
  __device__ __forceinline__ void start_copies() const {
    const int per_group = batches_per_group();
    for (int group = 0; group < groups; ++group) {
      for (int b = group * per_group; b < (group + 1) * per_group; ++b) {
#pragma unroll
        for (int i = 0; i < batch; ++i) {
          const int v = vector_of(b, i);
          if (v < vectors()) copy_async_16(copy + v * width, row + v * width);
        }
      }
      copy_async_commit();
    }
  }

  // Vectors without columns behind the vocabulary.
  __device__ __forceinline__ int whole_vectors() const { return vocab_size / width; }

  __device__ __forceinline__ void load_whole(int v, Floats& values) const {
    if constexpr (place == Row::shared)
      load_vector(copy + v * width, values);
    else if constexpr (place == Row::global)
      load_vector(row + v * width, values);
    else
      values[0] = to_float(row[v]);
  }
  // Any vector of the row, and none. Columns behind the vocabulary read as -inf: no maximum, nothing in a sum.
  __device__ __forceinline__ void load(int v, Floats& values) const {
    if (v < vectors()) load_whole(v, values);
#pragma unroll
    for (int i = 0; i < width; ++i)
      if (v * width + i >= vocab_size) values[i] = -infinity;
  }

  // Rescales the sum at each new maximum (Milakov & Gimelshein, "Online normalizer calculation for softmax", arXiv 1805.02867).
  __device__ __forceinline__ static void add(Softmax& softmax, const Floats (&values)[batch]) {
    float largest = softmax.maximum;
#pragma unroll
    for (const Floats& vector : values) {
#pragma unroll
      for (const float value : vector) largest = Maximum{}(value, largest);
    }
    const Exponential<T> exponential(largest);
    softmax.sum *= exponential(softmax.maximum);
    softmax.maximum = largest;
#pragma unroll
    for (const Floats& vector : values) {
#pragma unroll
      for (const float value : vector) softmax.sum += exponential(value);
    }
  }

  // Waits for a group of the copies; the number of those behind it is part of the instruction.
  __device__ __forceinline__ static void wait_for_group(int group) {
    static_assert(groups == 4);
    if (group == 0) copy_async_wait<3>();
    if (group == 1) copy_async_wait<2>();
    if (group == 2) copy_async_wait<1>();
    if (group == 3) copy_async_wait<0>();
  }

  // This thread's part, in the same order wherever the row lies. Only the last batch can have columns behind the vocabulary.
  __device__ __forceinline__ Softmax softmax() const {
    Softmax softmax;
    const int all = batches(), whole = whole_vectors() / (batch * static_cast<int>(blockDim.x)), per_group = batches_per_group();
    int group = 0, there = 0;  // the next group to wait for, and the batches before it
    const auto arrive = [&](int b) {
      if (place != Row::shared || b < there) return;
      wait_for_group(group++);
      there += per_group;
    };
    Floats values[batch];
    int b = 0;
    for (; b < whole; ++b) {
      arrive(b);
#pragma unroll
      for (int i = 0; i < batch; ++i) load_whole(vector_of(b, i), values[i]);
      add(softmax, values);
    }
    for (; b < all; ++b) {
      arrive(b);
#pragma unroll
      for (int i = 0; i < batch; ++i) load(vector_of(b, i), values[i]);
      add(softmax, values);
    }
    return softmax;
  }
};

// (softmax - onehot) * scale over this thread's vectors, exact zeros behind the vocabulary.
template <typename T, Row place>
__device__ __forceinline__ void write_gradient(const RowReader<T, place>& reader, T* row, int columns, int target, float at_target,
                                               Exponential<T> exponential, float factor) {
  constexpr int width = RowReader<T, place>::width;
  const auto write = [&](int v, float(&values)[width]) {
#pragma unroll
    for (float& value : values) value = exponential(value) * factor;
    if constexpr (place == Row::unaligned)
      store_element(row + v, values[0]);
    else
      store_vector_streaming(row + v * width, values);
  };
  float values[width];
  int v = static_cast<int>(threadIdx.x);
  for (; v < reader.whole_vectors(); v += static_cast<int>(blockDim.x)) {
    reader.load_whole(v, values);
    write(v, values);
  }
  for (; v < columns / width; v += static_cast<int>(blockDim.x)) {
    reader.load(v, values);
    write(v, values);
  }
  // The thread that wrote the target's vector: its two writes are in order.
  if (target / width % static_cast<int>(blockDim.x) == static_cast<int>(threadIdx.x)) store_element(row + target, at_target);
}

// One block per row.
template <typename T, Row place>
__global__ void __launch_bounds__(most_threads, blocks_per_multiprocessor)
    cross_entropy_kernel(T* logits, const std::int32_t* targets, int vocab_size, int columns, float scale, float* losses) {
  T* const row = logits + static_cast<std::int64_t>(blockIdx.x) * columns;
  const int target = targets[blockIdx.x];
  // Ids come from files. One that is no class gets a loss that is no number, which forbids the step; -1 does not count.
  if (target < 0 || target >= vocab_size) {
    if (threadIdx.x == 0) losses[blockIdx.x] = target == -1 ? 0.0f : nanf("");
    if (scale == 0.0f) return;
    for (int column = static_cast<int>(threadIdx.x); column < columns; column += static_cast<int>(blockDim.x))
      store_element(row + column, 0.0f);
    return;
  }

  const RowReader<T, place> reader{row, place == Row::shared ? dynamic_shared<T>() : nullptr, vocab_size};
  if constexpr (place == Row::shared) reader.start_copies();
  const float target_logit = to_float(row[target]);  // before anybody overwrites it: that is behind two barriers

  TEMPER_SHARED(float, maxima, [warp_slots]);
  TEMPER_SHARED(float, sums, [warp_slots]);
  const Softmax mine = reader.softmax();
  const float maximum = block_reduce(mine.maximum, maxima, Maximum{});
  const Exponential<T> exponential(maximum);
  const float sum = block_reduce(mine.sum * exponential(mine.maximum), sums, Add{});
  if (threadIdx.x == 0) losses[blockIdx.x] = (maximum - target_logit) + std::log(sum);
  if (scale == 0.0f) return;

  const float factor = scale / sum;
  const float at_target = exponential(target_logit) * factor - scale;
  write_gradient(reader, row, columns, target, at_target, exponential, factor);
}

template <typename T>
void launch_for(TensorView logits, ConstTensorView targets, int vocab_size, float scale, TensorView losses, Stream& stream) {
  constexpr int width = vector_width<T>;
  const int columns = static_cast<int>(logits.shape.back());
  const bool aligned = columns % width == 0 && reinterpret_cast<std::uintptr_t>(logits.data) % 16 == 0;
  const int vectors = aligned ? ceil_div(vocab_size, width) : vocab_size;
  const int threads = std::clamp(static_cast<int>(std::bit_ceil(static_cast<unsigned>(vectors / batch))), 32, most_threads);

  auto* kernel = aligned ? cross_entropy_kernel<T, Row::global> : cross_entropy_kernel<T, Row::unaligned>;
  LaunchShape shape = {dim3(static_cast<unsigned>(logits.shape.rows())), dim3(static_cast<unsigned>(threads))};
  const std::size_t row_bytes = static_cast<std::size_t>(vectors) * 16;
  if (aligned && scale != 0.0f && row_bytes + declared_bytes <= stream.device().shared_bytes_per_block()) {
    kernel = cross_entropy_kernel<T, Row::shared>;
    shape.shared_bytes = row_bytes;
  }
  launch("cross_entropy", kernel, shape, stream, logits.as<T>(), targets.as<std::int32_t>(), vocab_size, columns, scale,
         losses.as<float>());
}

}  // namespace

void CudaOps::queue(const op::CrossEntropy& args) {
  const auto launcher = args.logits.dtype == DType::bf16 ? launch_for<bfloat16> : launch_for<float>;
  launcher(args.logits, args.targets, static_cast<int>(args.vocab_size), args.gradient_scale, args.losses, stream_);
}

}  // namespace temper::TEMPER_BACKEND
