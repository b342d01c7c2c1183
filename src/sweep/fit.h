// Where a sweep's metric is best by a quadratic fitted to all its trials, instead of by the best cell of its table, which is partly
// luck: over one or two parameters with three or more numbers, separately for each setting of the other ones.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/text_table.h"
#include "sweep/quadratic.h"
#include "sweep/sweep.h"

namespace temper {

struct FitAxis {
  std::size_t column = 0;  ///< of columns()
  std::string name;
  bool logarithmic = false;      ///< coordinates are log10 of its values; so where all of them, or all but 0, are positive
  double low = 0.0, high = 0.0;  ///< ends of the values

  double coordinate(double value) const;
  double value(double coordinate) const;
};

/// The fit at one setting of the other parameters.
struct SweepFit {
  std::vector<std::pair<std::string, std::string>> others;  ///< those parameters and their labels; empty: no others vary
  std::optional<Quadratic> quadratic;                       ///< of the metric, or where more is better of its negative
  std::string problem;                                      ///< why there is none
};

struct SweepFits {
  std::vector<FitAxis> axes;       ///< empty: nothing was fitted
  std::vector<std::string> notes;  ///< of the scales, and of what is left out
  std::vector<SweepFit> fits;
  bool maximize = false;

  TextRows rows(const std::string& metric) const;
  /// What stands below that table, a line each.
  std::string remarks(const std::string& metric) const;
  /// `pictures`: with the points that curves and maps are drawn from.
  nlohmann::ordered_json json(bool pictures) const;
};

/// Over the finished trials of this rung.
SweepFits fit_sweep(const Sweep& sweep, const SweepPlan& plan, std::size_t rung);

}  // namespace temper
