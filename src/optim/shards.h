// Which part of the flat buffers a rank's optimizer updates when ranks share the work (ZeRO-1; Rajbhandari et al., arXiv
// 1910.02054), and what is left of a pipeline there. Every element belongs to exactly one rank.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "config/run_config.h"
#include "optim/pipeline.h"

namespace temper {

/// The flat buffers an optimizer works on.
struct OptimizedBuffers {
  TensorView master;         ///< f32; where ranks share the work, it may be this rank's shard alone
  TensorView gradients;      ///< f32; overwritten by steps, and used between them by Schedule-Free
  TensorView low_precision;  ///< bf16 or absent
};

/// Where an optimizer stands among ranks that share the work: it has elements [begins[rank], begins[rank+1]) of the flat buffers.
struct ShardPlace {
  /// From 0 to the flat size, never falling, one more than ranks. None at all: nothing is shared, whatever the rank.
  std::vector<std::int64_t> begins;
  std::int64_t rank = 0;

  std::int64_t begin() const { return begins[static_cast<std::size_t>(rank)]; }
  std::int64_t end() const { return begins[static_cast<std::size_t>(rank) + 1]; }
};

/// ShardPlace::begins for `ranks` shards as even as the cuts allow: each is at most one piece longer or shorter than flat_size /
/// ranks, and some are empty where there are fewer pieces than ranks. A piece is as few rows of a tensor as end on a multiple of 4
/// elements, with the padding behind it; where a row's update depends on more than the row, it is the tensor, or each of the
/// matrices stacked in it. The same on all ranks. Throws as make_pipeline.
std::vector<std::int64_t> optimizer_shards(const OptimizerConfig& config, const std::vector<OptimizedTensor>& tensors,
                                           std::int64_t flat_size, std::int64_t ranks);

/// The pipeline of elements [begin, end), both of optimizer_shards' making: segments have the rows that lie there, their offsets
/// count from `begin` and their first_row from the first controlled row there. Parts may be empty.
Pipeline cut_pipeline(const Pipeline& whole, std::int64_t begin, std::int64_t end);

}  // namespace temper
