// What each value of a swept key does by itself: the main effects of a factorial design (Montgomery, Design and Analysis of
// Experiments, chapter 5). A value is compared with the best one of its key at the same values of all other keys, averaged over these.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/text_table.h"
#include "sweep/ranking.h"
#include "sweep/sweep.h"

namespace temper {

struct ValueEffect {
  std::string value;
  double mean = 0.0;               ///< of the metric, over all settings of the other keys and all seeds
  Difference behind;               ///< from the key's best value, above 0 where more is measured; 0 for the best itself
  double least = 0.0, most = 0.0;  ///< the same at single settings
};

struct MainEffect {
  std::string key;
  std::size_t settings = 0;  ///< of the other keys, at which every value of this one has all its seeds; 2 or more
  std::size_t best = 0;      ///< of `values`
  std::vector<ValueEffect> values;
  /// Of the F test that the values' differences are alike at all settings (no interaction); none without an estimate of the noise.
  std::optional<double> interaction_p;
};

/// Of the keys with listed values that vary beside others, in the rung of the best; ties follow their keys. Intervals are by the
/// noise that the ranking pools, and hold together for all pairs of one key's values (Tukey's studentized range).
std::vector<MainEffect> main_effects(const Sweep& sweep, const Ranking& ranking);

/// A row for each value, and what stands below that table, a line each; both empty where there are none.
TextRows effect_rows(const std::vector<MainEffect>& effects, const std::string& metric);
std::string effect_remarks(const std::vector<MainEffect>& effects);
nlohmann::ordered_json effects_json(const std::vector<MainEffect>& effects);

}  // namespace temper
