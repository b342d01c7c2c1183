// The ranking of a sweep's configurations: means over seeds, how far they can be trusted, who is the best or ties for it; and the
// one table that results.csv, results.md, results.json, reports and the terminal print, each in its form.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/text_table.h"
#include "sweep/sweep.h"

namespace temper {

/// Half the width of a 95 % confidence interval, in standard errors, of a mean whose standard error has these degrees of freedom (1
/// or more): Student's t at 0.975. 12.706 for two values, 4.303 for three, 1.960 for very many.
double student_t95(std::size_t degrees_of_freedom);

struct Estimate {
  double mean = 0.0;
  std::size_t n = 0;
  std::optional<double> sd;        ///< of two values or more: with n - 1 below
  std::optional<double> interval;  ///< the 95 % confidence interval of the mean is mean -+ interval; none of a single value
};

/// Of at least one value.
Estimate estimate(const std::vector<double>& values);

/// Metrics that lie no further apart are equal: a measurement comes out the same to this precision, and not to more, whatever the
/// micro-batch and the number of ranks.
constexpr double equal_metrics = 1e-5;

/// A configuration with its seeds taken together.
struct SweepResult {
  std::size_t configuration = 0;
  std::size_t rung = 0;      ///< the furthest in which one of its trials ended
  std::size_t finished = 0;  ///< trials of that rung
  std::size_t failed = 0;
  std::optional<Estimate> metric;           ///< over the finished trials
  std::map<std::uint64_t, double> metrics;  ///< of the finished trials, by seed
  /// Of the differences from the best within the seeds that both have, in the same rung; none for the best itself. A seed is an
  /// initialisation and an order of the data, which configurations share and which sets trials apart more than most settings do.
  std::optional<Estimate> behind;
  bool tied_for_best = false;  ///< with others: `behind` is within equal_metrics or within its own interval
  std::size_t place = 0;       ///< from 1; those that tie for the best and those with equal metrics share one; 0 without a result
  bool shares_place = false;
};

/// Best first: of the furthest rung, without failed trials before those with some, by the metric; equal metrics in the
/// configurations' order. Last come configurations without a result.
std::vector<SweepResult> rank_configurations(const Sweep& sweep, const SweepPlan& plan);

/// These configurations by their trials at one rung, in the same order; without ties for the best.
std::vector<SweepResult> rank_rung(const Sweep& sweep, std::size_t rung, const std::vector<PlannedTrial>& trials,
                                   const std::vector<std::size_t>& configurations);

/// What the ranking says: the best configuration or how many tie for it, and what was compared; lines, empty before two results.
std::string verdict_text(const Sweep& sweep, const std::vector<SweepResult>& results);

/// Four decimals, or powers of ten of what diverged.
std::string number_text(const std::optional<double>& number, bool sign = false);

/// A row for each configuration, best first.
class RankingTable {
 public:
  RankingTable(const Sweep& sweep, const SweepPlan& plan);

  const std::vector<SweepResult>& results() const { return results_; }
  const std::string& verdict() const { return verdict_; }

  std::string csv() const;
  /// The table and the verdict.
  std::string markdown() const;
  /// The same for a terminal; at most `most` of the rows.
  std::string text(std::size_t most) const;
  /// One row as an object: all numbers, and the swept keys under "values".
  nlohmann::ordered_json json(std::size_t row) const;

 private:
  struct Cell {
    nlohmann::ordered_json exact;  ///< for programs; null: empty
    std::string text;              ///< for people
  };
  /// A column, by its name in each form; without one it is left out there. Swept keys have no name in JSON.
  struct Column {
    std::optional<std::string> json, csv, heading;
    std::vector<Cell> cells = {};  ///< one for each of results_
  };

  static Cell number(const std::optional<double>& value);
  TextRows rows_for_people(std::size_t most) const;

  std::vector<SweepResult> results_;
  std::string verdict_;
  std::vector<Column> columns_;
};

}  // namespace temper
