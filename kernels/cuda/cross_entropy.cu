#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include <device/async_copy.cuh>
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vector.cuh"

namespace temper::TEMPER_BACKEND {

namespace {

// Two blocks of 512 threads per multiprocessor, each with one bf16 row of GPT-2's logits (100,608 bytes) in shared memory: while
// one waits for its row, the other computes.
constexpr int most_threads = 512;
constexpr int blocks_per_multiprocessor = 2;
constexpr int batch = 4;   // vectors of one thread that get a common maximum
constexpr int groups = 4;  // parts in which a row arrives; the first ones are summed while the last ones are on their way
constexpr int declared_bytes = 1024;  // of shared memory, besides the row

constexpr float log2_e = 1.442695041f;
constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float smallest_exponent = -87.33654f;  // e to this is the smallest normal float

/// Where a row's logits are while a block works on them.
enum class Row : std::uint8_t {
  shared,    ///< copied to shared memory, so that memory is read once
  global,    ///< read where they are, 16 bytes at a time: rows too long for shared memory, or read once only
  unaligned  ///< the same one by one: rows that do not begin on a 16-byte boundary
};

// e^x for x <= 0. Gradients in f32 are as good as the library's; those rounded to bf16 need less.
template <typename T>
__device__ __forceinline__ float exponential(float x) {
  if constexpr (sizeof(T) == 2)
    return exp2_approx(x * log2_e);
  else
    return x < smallest_exponent ? 0.0f : std::exp(x);  // NaN stays NaN
}

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

  __device__ __forceinline__ int vectors() const { return (vocab_size + width - 1) / width; }
  __device__ __forceinline__ static int vector_of(int batch_index, int i) {
    return (batch_index * batch + i) * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
  }
  __device__ __forceinline__ int batches() const {
    const int per_batch = batch * static_cast<int>(blockDim.x);
    return (vectors() + per_batch - 1) / per_batch;
  }
  __device__ __forceinline__ int batches_per_group() const { return (batches() + groups - 1) / groups; }

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

  // Columns behind the vocabulary read as -inf: no maximum, nothing in a sum.
  __device__ __forceinline__ void load(int v, Floats& values) const {
    if constexpr (place == Row::shared)
      load_vector(copy + v * width, values);
    else if constexpr (place == Row::global)
      load_vector(row + v * width, values);
    else
      values[0] = to_float(row[v]);
    if ((v + 1) * width > vocab_size) {
#pragma unroll
      for (int i = 0; i < width; ++i)
        if (v * width + i >= vocab_size) values[i] = -infinity;
    }
  }

  // Adds batches [first, last), rescaling the sum at each new maximum (Milakov & Gimelshein, "Online normalizer calculation for
  // softmax", arXiv 1805.02867).
  __device__ __forceinline__ void add(Softmax& softmax, int first, int last) const {
    last = min(last, batches());
    for (int b = first; b < last; ++b) {
      Floats values[batch];
      float largest = softmax.maximum;
#pragma unroll
      for (int i = 0; i < batch; ++i) {
#pragma unroll
        for (float& value : values[i]) value = -infinity;
        const int v = vector_of(b, i);
        if (v < vectors()) load(v, values[i]);
      }
#pragma unroll
      for (int i = 0; i < batch; ++i) {
#pragma unroll
        for (const float value : values[i]) largest = Maximum{}(value, largest);
      }
      softmax.sum *= exponential<T>(softmax.maximum - largest);
      softmax.maximum = largest;
#pragma unroll
      for (int i = 0; i < batch; ++i) {
        if (vector_of(b, i) >= vectors()) continue;
#pragma unroll
        for (const float value : values[i]) softmax.sum += exponential<T>(value - largest);
      }
    }
  }

  // This thread's part, in the same order wherever the row lies.
  __device__ __forceinline__ Softmax softmax() const {
    Softmax softmax;
    if constexpr (place == Row::shared) {
      const int per_group = batches_per_group();
      copy_async_wait<3>();
      add(softmax, 0, per_group);
      copy_async_wait<2>();
      add(softmax, per_group, 2 * per_group);
      copy_async_wait<1>();
      add(softmax, 2 * per_group, 3 * per_group);
      copy_async_wait<0>();
      add(softmax, 3 * per_group, batches());
    } else {
      add(softmax, 0, batches());
    }
    return softmax;
  }
};

// (softmax - onehot) * scale over this thread's vectors, exact zeros behind the vocabulary.
template <typename T, Row place>
__device__ __forceinline__ void write_gradient(const RowReader<T, place>& reader, T* row, int columns, int target, float at_target,
                                               float maximum, float factor) {
  constexpr int width = RowReader<T, place>::width;
  for (int v = static_cast<int>(threadIdx.x); v < columns / width; v += static_cast<int>(blockDim.x)) {
    float values[width] = {};
    if (v < reader.vectors()) {
      reader.load(v, values);
#pragma unroll
      for (float& value : values) value = exponential<T>(value - maximum) * factor;
    }
    if constexpr (place == Row::unaligned)
      store_element(row + v, values[0]);
    else
      store_vector_streaming(row + v * width, values);
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

  TEMPER_SHARED(float, maxima, [32]);
  TEMPER_SHARED(float, sums, [32]);
  const Softmax mine = reader.softmax();
  const float maximum = block_reduce(mine.maximum, maxima, Maximum{});
  const float sum = block_reduce(mine.sum * exponential<T>(mine.maximum - maximum), sums, Add{});
  if (threadIdx.x == 0) losses[blockIdx.x] = (maximum - target_logit) + std::log(sum);
  if (scale == 0.0f) return;

  const float factor = scale / sum;
  const float at_target = exponential<T>(target_logit - maximum) * factor - scale;
  write_gradient(reader, row, columns, target, at_target, maximum, factor);
}

template <typename T>
void launch_for(TensorView logits, ConstTensorView targets, int vocab_size, float scale, TensorView losses, Stream& stream) {
  constexpr int width = vector_width<T>;
  const int columns = static_cast<int>(logits.shape.back());
  const bool aligned = columns % width == 0 && reinterpret_cast<std::uintptr_t>(logits.data) % 16 == 0;
  const int vectors = aligned ? (vocab_size + width - 1) / width : vocab_size;
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
