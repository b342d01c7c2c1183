// Where the heads of an attention call lie, and which block works on what. A pair is one head of one sequence, b * H + h.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include <device/runtime.h>
#include <device/primitives.cuh>
#include "kernels/tensor.h"

namespace temper::TEMPER_BACKEND {

inline constexpr float log2_e = 1.4426950408889634f;

struct AttentionExtents {
  int positions;  ///< T
  int heads;      ///< H
  int width;      ///< D
  int pairs;      ///< B * H

  AttentionExtents(ConstTensorView qkv, std::int64_t n_head)
      : positions(static_cast<int>(qkv.shape[1])),
        heads(static_cast<int>(n_head)),
        width(static_cast<int>(qkv.numel() / (qkv.shape[0] * qkv.shape[1]) / (3 * n_head))),
        pairs(static_cast<int>(qkv.shape[0] * n_head)) {}

  __host__ __device__ std::int64_t channels() const { return static_cast<std::int64_t>(heads) * width; }
  /// Between rows of qkv [B,T,3,H,D], and where a pair's queries (which = 0), keys (1) or values (2) begin there.
  __host__ __device__ std::int64_t packed_stride() const { return 3 * channels(); }
  __host__ __device__ std::int64_t packed(int pair, int which) const {
    return static_cast<std::int64_t>(pair / heads) * positions * packed_stride() + which * channels() + pair % heads * width;
  }
  /// The same in a tensor [B,T,C].
  __host__ __device__ std::int64_t plain(int pair) const {
    return static_cast<std::int64_t>(pair / heads) * positions * channels() + pair % heads * width;
  }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(width)); }
};

/// Which tile of which pair a block works on. Pairs come in groups whose keys and values fit into L2 together (64 of 256 KB at
/// T = 1,024 and D = 64); within a group tiles come in the order of their rank, so a caller that gives its longest tiles the lowest
/// ranks has short ones left to fill the end of the grid.
struct BlockWork {
  int pair;
  int rank;
};
__device__ __forceinline__ BlockWork block_work(int pairs, int tiles) {
  constexpr int group = 64;
  const int block = static_cast<int>(blockIdx.x);
  const int first_pair = block / (group * tiles) * group;
  const int inside = block % (group * tiles);
  const int pairs_here = pairs - first_pair < group ? pairs - first_pair : group;
  return {first_pair + inside % pairs_here, inside / pairs_here};
}

}  // namespace temper::TEMPER_BACKEND
