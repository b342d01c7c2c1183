#include "train/recent_losses.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace temper {

std::optional<double> RecentLosses::judge(double loss, double sigmas) {
  if (sigmas > 0.0 && losses.size() >= fewest) {
    const auto count = static_cast<double>(losses.size());
    const double mean = std::accumulate(losses.begin(), losses.end(), 0.0) / count;
    double squares = 0.0;
    for (const double one : losses) squares += (one - mean) * (one - mean);
    // Losses that hardly differ (of data that is learnt by heart) must not make a spike of every ripple.
    const double deviation = std::max(std::sqrt(squares / count), 1e-3 * std::abs(mean));
    if (const double above = loss - mean; deviation > 0.0 && above > sigmas * deviation) {
      if (++spikes_in_row < longest_row) return above / deviation;
      losses.clear();
    }
  }
  spikes_in_row = 0;
  losses.push_back(loss);
  if (losses.size() > most) losses.erase(losses.begin());
  return std::nullopt;
}

}  // namespace temper
