// Attention for generation. A prompt at the start of empty caches is plain forward attention; later positions are few, so that each
// of them is spread over the machine instead: blocks attend to 64 keys each, and their results are joined in order.
#include "kernels/cuda/attention_layout.cuh"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/gpu_scratch.h"
#include "kernels/host_device.h"

namespace temper::TEMPER_BACKEND {

namespace {

constexpr int threads = 128;
constexpr int keys_per_block = 64;
constexpr int lanes_per_key = 8;  // 128 bytes at once of a key: D = 64 in bf16

// Keys and values of the new positions go to rows start .. of the caches. One block: one position, `words` words of keys and as
// many of values.
template <typename Word>
__global__ void __launch_bounds__(threads) append_kernel(const Word* qkv, int positions, int words, std::int64_t start,
                                                         std::int64_t n_ctx, Word* key_cache, Word* value_cache) {
  const int row = static_cast<int>(blockIdx.x);
  const Word* const from = qkv + (3 * static_cast<std::int64_t>(row) + 1) * words;
  const std::int64_t to = (row / positions * n_ctx + start + row % positions) * words;
  for (int i = static_cast<int>(threadIdx.x); i < words; i += threads) {
    key_cache[to + i] = from[i];
    value_cache[to + i] = from[words + i];
  }
}

// What a block found for its keys: largest score, sum of exponentials relative to it, and the sum of values with these weights.
struct Partials {
  float* of;
  int width;
  int chunks;
  __device__ __forceinline__ float* at(int row_head, int chunk) const {
    return of + (static_cast<std::int64_t>(row_head) * chunks + chunk) * (width + 2);
  }
};

// One block: one new position and head, and 64 keys. With a single chunk the result is written at once.
template <typename T, int step>
__global__ void __launch_bounds__(threads) chunk_kernel(const T* qkv, AttentionExtents extents, float scale, int start, int n_ctx,
                                                        const T* key_cache, const T* value_cache, Partials partials, T* out) {
  const int width = extents.width, heads = extents.heads, steps = width / step;
  const int chunk = static_cast<int>(blockIdx.x) % partials.chunks, row_head = static_cast<int>(blockIdx.x) / partials.chunks;
  const int row = row_head / heads, head = row_head % heads;
  const int first_key = chunk * keys_per_block, end = start + row % extents.positions + 1;
  if (first_key >= end) return;
  const int count = end - first_key < keys_per_block ? end - first_key : keys_per_block;

  const std::int64_t channels = extents.channels();
  const std::int64_t cache = (row / extents.positions * static_cast<std::int64_t>(n_ctx) + first_key) * channels + head * width;
  const T* const query = qkv + 3 * static_cast<std::int64_t>(row) * channels + head * width;
  TEMPER_SHARED(float, scratch, [32]);
  TEMPER_SHARED(float, weights, [keys_per_block]);
  float* const group_sums = dynamic_shared<float>();  // [groups][width]

  const int key_lane = static_cast<int>(threadIdx.x) % lanes_per_key;
#pragma unroll
  for (int pass = 0; pass < keys_per_block * lanes_per_key / threads; ++pass) {
    const int key = pass * (threads / lanes_per_key) + static_cast<int>(threadIdx.x) / lanes_per_key;
    float score = 0.0f;
    if (key < count) {
      for (int i = key_lane; i < steps; i += lanes_per_key) {
        float q[step], k[step];
        load_elements<step>(query + i * step, q);
        load_elements<step>(key_cache + cache + key * channels + i * step, k);
#pragma unroll
        for (int j = 0; j < step; ++j) score += q[j] * k[j];
      }
    }
    score = warp_reduce<lanes_per_key>(score, Add{});
    if (key_lane == 0) weights[key] = key < count ? score * scale : Maximum::identity;
  }
  __syncthreads();

  const int thread = static_cast<int>(threadIdx.x);
  const float score = thread < keys_per_block ? weights[thread] : Maximum::identity;
  const float largest = block_reduce(score, scratch, Maximum{});
  __syncthreads();
  const float weight = thread < keys_per_block ? exp2_approx((score - largest) * log2_e) : 0.0f;
  const float sum = block_reduce(weight, scratch, Add{});
  if (thread < keys_per_block) weights[thread] = weight;
  __syncthreads();

  // Groups of threads share the keys; a thread of a group has `step` columns of the head, or several times as many in wide heads.
  const int group_threads = steps < threads ? steps : threads, groups = threads / group_threads;
  const int group = thread / group_threads;
  for (int i = thread % group_threads; group < groups && i < steps; i += group_threads) {
    float total[step] = {};
    for (int key = group; key < count; key += groups) {
      float v[step];
      load_elements<step>(value_cache + cache + key * channels + i * step, v);
#pragma unroll
      for (int j = 0; j < step; ++j) total[j] += weights[key] * v[j];
    }
    store_elements<step>(group_sums + group * width + i * step, total);
  }
  __syncthreads();

  float* const partial = partials.at(row_head, chunk);
  for (int column = thread; column < width; column += threads) {
    float total = 0.0f;
    for (int g = 0; g < groups; ++g) total += group_sums[g * width + column];
    if (partials.chunks == 1)
      store_element(out + row * channels + head * width + column, total / sum);
    else
      partial[2 + column] = total;
  }
  if (partials.chunks > 1 && thread == 0) {
    partial[0] = largest;
    partial[1] = sum;
  }
}

// One block: one new position and head. Chunks in ascending order.
template <typename T>
__global__ void __launch_bounds__(threads) join_kernel(AttentionExtents extents, int start, Partials partials, T* out) {
  const int row_head = static_cast<int>(blockIdx.x), row = row_head / extents.heads, head = row_head % extents.heads;
  const int chunks = ceil_div(start + row % extents.positions + 1, keys_per_block);

  float largest = Maximum::identity, sum = 0.0f;
  for (int chunk = 0; chunk < chunks; ++chunk) largest = Maximum{}(largest, partials.at(row_head, chunk)[0]);
  for (int chunk = 0; chunk < chunks; ++chunk) {
    const float* const partial = partials.at(row_head, chunk);
    sum += partial[1] * exp2_approx((partial[0] - largest) * log2_e);
  }
  for (int column = static_cast<int>(threadIdx.x); column < extents.width; column += threads) {
    float total = 0.0f;
    for (int chunk = 0; chunk < chunks; ++chunk) {
      const float* const partial = partials.at(row_head, chunk);
      total += partial[2 + column] * exp2_approx((partial[0] - largest) * log2_e);
    }
    store_element(out + row * extents.channels() + head * extents.width + column, total / sum);
  }
}

template <typename Word>
void append(ConstTensorView qkv, const AttentionExtents& extents, std::int64_t start, TensorView key_cache, TensorView value_cache,
            Stream& stream) {
  const std::size_t words = static_cast<std::size_t>(extents.channels()) * size_of(qkv.dtype) / sizeof(Word);
  launch("attention_cached append", append_kernel<Word>,
         {dim3(static_cast<unsigned>(qkv.shape[0] * extents.positions)), dim3(threads)}, stream, static_cast<const Word*>(qkv.data),
         extents.positions, words, start, key_cache.shape[1], static_cast<Word*>(key_cache.data),
         static_cast<Word*>(value_cache.data));
}

template <typename T, int step>
void attend(ConstTensorView qkv, const AttentionExtents& extents, std::int64_t start, TensorView key_cache, TensorView value_cache,
            TensorView out, Workspace& workspace, Stream& stream) {
  const std::int64_t row_heads = qkv.shape[0] * extents.positions * extents.heads;
  Partials partials = {nullptr, extents.width, ceil_div(static_cast<int>(start) + extents.positions, keys_per_block)};
  if (partials.chunks > 1)
    partials.of =
        static_cast<float*>(workspace.get(scratch_size(row_heads * partials.chunks * (extents.width + 2), sizeof(float))));
  const int steps = extents.width / step, groups = threads / (steps < threads ? steps : threads);
  launch("attention_cached", chunk_kernel<T, step>,
         {dim3(static_cast<unsigned>(row_heads * partials.chunks)), dim3(threads),
          static_cast<std::size_t>(groups) * extents.width * sizeof(float)},
         stream, qkv.as<T>(), extents, extents.scale(), start, key_cache.shape[1], key_cache.as<T>(), value_cache.as<T>(), partials,
         out.as<T>());
  if (partials.chunks > 1)
    launch("attention_cached join", join_kernel<T>, {dim3(static_cast<unsigned>(row_heads)), dim3(threads)}, stream, extents, start,
           partials, out.as<T>());
}

/// Appends, and attends where there are older keys.
template <typename T>
void cached_of(const op::AttentionCached& args, Workspace& workspace, Stream& stream) {
  const auto& [qkv, n_head, start, key_cache, value_cache, out] = args;
  const AttentionExtents extents(qkv, n_head);
  if (rows_of_vectors<T>(extents.channels(), {qkv.data, key_cache.data, value_cache.data}))
    append<uint4>(qkv, extents, start, key_cache, value_cache, stream);
  else
    append<T>(qkv, extents, start, key_cache, value_cache, stream);
  if (start == 0) return;
  if (rows_of_vectors<T>(extents.width, {qkv.data, key_cache.data, value_cache.data}))
    attend<T, vector_width<T>>(qkv, extents, start, key_cache, value_cache, out, workspace, stream);
  else
    attend<T, 1>(qkv, extents, start, key_cache, value_cache, out, workspace, stream);
}

}  // namespace

void CudaOps::queue(const op::AttentionCached& args) {
  with_type(args.qkv.dtype, [&]<typename T>(T) { cached_of<T>(args, workspace_, stream_); });
  if (args.start > 0) return;
  const Shape lse = {args.qkv.shape[0], args.n_head, args.qkv.shape[1]};
  queue(op::AttentionForward{.qkv = args.qkv,
                             .n_head = args.n_head,
                             .out = args.out,
                             .lse = {workspace_.get(scratch_size(lse.numel(), sizeof(float))), DType::f32, lse}});
}

}  // namespace temper::TEMPER_BACKEND
