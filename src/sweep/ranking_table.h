// The one table of a sweep that results.csv, results.md, results.json, reports and the terminal print, each in its form, with what is said below it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "io/json.h"
#include "io/text_table.h"
#include "sweep/fit.h"
#include "sweep/main_effects.h"
#include "sweep/ranking.h"
#include "sweep/sweep.h"

namespace temper {

/// A row for each configuration, best first.
class RankingTable {
 public:
  RankingTable(const Sweep& sweep, const SweepPlan& plan);

  const std::vector<SweepResult>& results() const { return ranking_.results; }
  const std::string& verdict() const { return verdict_; }
  const std::vector<MainEffect>& effects() const { return effects_; }
  const SweepFits& fits() const { return fits_; }
  /// The numbers of the verdict; those that are not known are null.
  Json statistics() const;

  std::string csv() const;
  /// The table, the verdict, what each key does, and the fits.
  std::string markdown() const;
  /// The same for a terminal; at most `most` of the rows.
  std::string text(std::size_t most) const;
  /// One row as an object: all numbers, and the swept keys under "values".
  Json json(std::size_t row) const;

 private:
  struct Cell {
    Json exact;        ///< for programs; null: empty
    std::string text;  ///< for people
  };
  /// A column, by its name in each form; without one it is left out there. Swept keys have no name in JSON.
  struct Column {
    std::optional<std::string> json, csv, heading;
    std::vector<Cell> cells = {};  ///< one for each of results()
  };

  static Cell number(const std::optional<double>& value);
  TextRows rows_for_people(std::size_t most) const;

  Ranking ranking_;
  std::string verdict_, metric_;
  std::vector<MainEffect> effects_;
  SweepFits fits_;
  std::vector<Column> columns_;
};

}  // namespace temper
