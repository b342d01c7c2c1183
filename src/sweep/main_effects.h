// What each value of a swept key does by itself: the main effects of a factorial design (Montgomery, Design and Analysis of
// Experiments, chapter 5). A value is compared with the best one of its key at the same values of all other keys, averaged over these.
//
// The average is one number a seed, and is judged over the seeds: what a seed does to a key is noise that more settings do not average
// out (some seeds bear a high rate and some do not, with any decay). So each key has the residual of its own table of values and seeds
// as noise, and its intervals hold together for all pairs of its values (Tukey's studentized range).
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
  double mean = 0.0;               ///< of the metric, over the settings and all seeds
  Difference behind;               ///< from the key's best value, above 0 where more is measured; 0 for the best itself
  double least = 0.0, most = 0.0;  ///< the same at single settings, from the most favourable to the least
};

struct MainEffect {
  std::string key;
  std::size_t settings = 0;                 ///< of the other keys, at which every value of this one has all its seeds
  std::size_t all_settings = 0;             ///< that the sweep has
  std::vector<std::string> without_result;  ///< values of which no configuration has all its seeds; left out
  std::vector<ValueEffect> values;          ///< empty with fewer than two settings, or values
  std::size_t best = 0;                     ///< of `values`
  /// Of the F test that the values' differences are alike at all settings, against what seeds do to that; none of a single seed.
  std::optional<double> interaction_p;

  bool best_is_seen() const;  ///< to differ from all other values
};

/// Of the keys that vary beside others in a grid that trains all of it at full length; none of drawn configurations and of halving.
std::vector<MainEffect> main_effects(const Sweep& sweep, const Ranking& ranking);

/// A row for each value, and what stands below that table, a line each; both empty where there are none.
TextRows effect_rows(const std::vector<MainEffect>& effects, const std::string& metric);
std::string effect_remarks(const std::vector<MainEffect>& effects);
nlohmann::ordered_json effects_json(const std::vector<MainEffect>& effects);

}  // namespace temper
