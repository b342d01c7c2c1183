// Which losses are spikes: far above those of the steps before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace temper {

/// What a loss is compared with: the last ones that were finite and no spikes. Part of a checkpoint, so that a resumed run judges
/// as the straight one.
struct RecentLosses {
  static constexpr std::size_t most = 128, fewest = 64;  ///< kept; there must be for a judgement
  static constexpr std::int64_t longest_row = 32;  ///< so many spikes one after the other are a new level, which is learnt anew

  std::vector<double> losses;      ///< the oldest first
  std::int64_t spikes_in_row = 0;  ///< up to now

  /// By how many standard deviations a finite loss is above the mean, where that is more than `sigmas` (0: never). One that is not
  /// is kept.
  std::optional<double> judge(double loss, double sigmas);
};

}  // namespace temper
