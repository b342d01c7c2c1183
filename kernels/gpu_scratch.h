// What operations of the CUDA backend take of its scratch memory, and the numbers of parts that decide it. No CUDA in here, so that
// a plan for a GPU can be made where there is none (kernels/gpu_plan.h).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/host_device.h"
#include "kernels/noise_scale.h"
#include "kernels/operations.h"
#include "kernels/ops.h"

namespace temper {

/// `count` elements of `size` bytes, rounded up so that what follows is on a 256-byte boundary too.
constexpr std::size_t scratch_size(std::int64_t count, std::size_t size) {
  return (static_cast<std::size_t>(count) * size + 255) / 256 * 256;
}

// ---- attention, backward: of each pair of sequence and head, two numbers a query, in tiles

inline constexpr int attention_tile_rows = 64;
inline constexpr int attention_statistics_per_tile = 2 * attention_tile_rows;
inline std::int64_t attention_statistics(std::int64_t pairs, std::int64_t positions) {
  return pairs * ceil_div(positions, attention_tile_rows) * attention_statistics_per_tile;
}
inline std::size_t attention_backward_scratch_bytes(std::int64_t sequences, std::int64_t positions, std::int64_t n_head) {
  return scratch_size(attention_statistics(sequences * n_head, positions), sizeof(float));
}

// ---- sums over rows: partial rows, of which the shape alone says how many

/// At least 64 rows each, and for each 256 columns no more blocks than eight on each of the 132 multiprocessors of an H100.
inline std::int64_t bias_gradient_parts(std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t fewest_rows = 64, most_blocks = 1056;
  return std::clamp(ceil_div(rows, fewest_rows), std::int64_t{1}, std::max(most_blocks / ceil_div(columns, 256), std::int64_t{1}));
}
inline std::size_t bias_gradient_scratch_bytes(std::int64_t rows, std::int64_t columns) {
  return scratch_size(bias_gradient_parts(rows, columns) * columns, sizeof(float));
}

/// Blocks that go through the rows of a layer norm's backward pass, `layernorm_backward_warps` at a time: as many as fit an H100's 132
/// multiprocessors at once, which is four on each for bf16 rows of up to 768 and two for others.
inline constexpr int layernorm_backward_warps = 4, layernorm_narrow_columns = 768;
inline std::int64_t layernorm_backward_parts(std::int64_t rows, std::int64_t columns) {
  const std::int64_t most = columns <= layernorm_narrow_columns ? 512 : 256;
  return std::clamp(ceil_div(rows, layernorm_backward_warps), std::int64_t{1}, most);
}
inline std::size_t layernorm_backward_scratch_bytes(std::int64_t rows, std::int64_t n_embd) {
  return scratch_size(2 * layernorm_backward_parts(rows, n_embd) * n_embd, sizeof(float));
}

// ---- the token embedding's gradient: positions sorted by token, then partial rows of windows

inline constexpr int token_sort_tile = 2048, token_sort_digits = 256;
inline std::int64_t token_sort_tiles(std::int64_t count) { return ceil_div(count, token_sort_tile); }
inline std::size_t token_list_bytes(std::int64_t count) { return scratch_size(count, sizeof(std::int32_t)); }
inline std::size_t token_sort_scratch_bytes(std::int64_t count) {
  return 4 * token_list_bytes(count) + scratch_size(token_sort_tiles(count) * token_sort_digits, sizeof(int));
}
inline constexpr int embedding_window = 64, embedding_parts_per_window = 2;
inline std::size_t embedding_backward_scratch_bytes(std::int64_t tokens, std::int64_t n_embd) {
  return token_sort_scratch_bytes(tokens) +
         scratch_size(ceil_div(tokens, embedding_window) * embedding_parts_per_window * n_embd, sizeof(float));
}

// ---- sums over all parameters

/// Of sum, global_norm and normalize: one wave of blocks on 132 multiprocessors.
inline constexpr int most_reduction_blocks = 1024;
inline std::size_t reduction_scratch_bytes() { return scratch_size(most_reduction_blocks, sizeof(double)); }

/// Into which the walks over segments cut one, so that the partial sums of any model have a place.
inline constexpr std::int64_t most_slices = 1024;
inline std::size_t tensor_moments_scratch_bytes(std::int64_t segment_count) {
  return scratch_size(segment_count * most_slices, sizeof(TensorMoments));
}
inline std::size_t update_statistics_scratch_bytes(std::int64_t segment_count) {
  return scratch_size(segment_count * most_slices, sizeof(UpdateStatistics));
}

/// The buffer that all operations of such training share.
inline std::size_t gpu_workspace_bytes(const Workload& workload) {
  const std::int64_t R = workload.rows(), C = workload.n_embd;
  std::size_t bytes =
      std::max({reduction_scratch_bytes(), layernorm_backward_scratch_bytes(R, C), embedding_backward_scratch_bytes(R, C),
                attention_backward_scratch_bytes(workload.sequences, workload.positions, workload.n_head),
                tensor_moments_scratch_bytes(workload.segments), update_statistics_scratch_bytes(workload.segments)});
  for (const Workload::Linear& linear : workload.linears)
    if (linear.bias) bytes = std::max(bytes, bias_gradient_scratch_bytes(linear.rows, linear.weight[0]));
  return bytes;
}

/// cuBLASLt's own, beside it: what cuBLAS advises on Hopper; 0 would exclude split sums.
inline constexpr std::size_t cublaslt_workspace_bytes = std::size_t{32} << 20;

}  // namespace temper
