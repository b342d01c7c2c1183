#include "sweep/ranking_table.h"

#include <algorithm>
#include <utility>

#include "io/text.h"

namespace temper {

RankingTable::Cell RankingTable::number(const std::optional<double>& value) {
  return value ? Cell{*value, number_text(value)} : Cell{};
}

RankingTable::RankingTable(const Sweep& sweep, const SweepPlan& plan)
    : ranking_(rank_configurations(sweep, plan)),
      verdict_(verdict_text(sweep, ranking_)),
      metric_(sweep.file.metric.name),
      effects_(main_effects(sweep, ranking_)),
      fits_(fit_sweep(sweep, plan, ranking_.results.front().rung)) {
  using Result = SweepResult;
  const auto add = [&](Column column, const auto& cell_of) {
    for (const Result& result : results()) column.cells.push_back(cell_of(result));
    columns_.push_back(std::move(column));
  };
  const auto count = [](std::size_t value) { return Cell{value, std::to_string(value)}; };
  const auto name = [](bool there, const char* text) { return there ? std::optional<std::string>(text) : std::nullopt; };
  const std::string& metric = sweep.file.metric.name;
  const bool rungs = sweep.rungs.size() > 1;
  const std::vector<std::string> swept = columns(sweep.file);

  add({"rank", "rank", "rank"}, [](const Result& result) {
    return result.metric ? Cell{result.place, std::to_string(result.place) + (result.shares_place ? "=" : "")} : Cell{};
  });
  for (std::size_t i = 0; i < swept.size(); ++i) {
    add({{}, swept[i], swept[i]}, [&](const Result& result) {
      const Value& label = sweep.configurations[result.configuration].labels[i];
      return Cell{to_json(label), label_text(label)};
    });
  }
  add({"rung", name(rungs, "rung"), name(rungs, "rung")}, [&](const Result& result) { return count(result.rung + 1); });
  add({"mean", metric, metric}, [](const Result& result) { return result.metric ? number(result.metric->mean) : Cell{}; });
  add({"sd", metric + "_sd", "sd"}, [](const Result& result) { return result.metric ? number(result.metric->sd) : Cell{}; });
  add({"interval", metric + "_ci95", {}},
      [](const Result& result) { return result.metric ? number(result.metric->interval) : Cell{}; });
  add({"n", "n", "n"}, [&](const Result& result) { return count(result.finished); });
  add({"failed", "failed", {}}, [&](const Result& result) { return count(result.failed); });
  add({"stopped", name(!sweep.file.stop_when.empty(), "stopped"), {}}, [&](const Result& result) { return count(result.stopped); });
  const Result* best = results().front().metric ? &results().front() : nullptr;
  add({"behind_best", "behind_best", "behind"}, [&](const Result& result) {
    if (result.behind) return Cell{result.behind->mean, difference_text(*result.behind, true)};
    return &result == best && ranking_.lead ? Cell{{}, "lead " + difference_text(*ranking_.lead, false)} : Cell{};
  });
  add({"behind_best_interval", "behind_best_ci95", {}},
      [](const Result& result) { return result.behind ? number(result.behind->interval) : Cell{}; });
  add({"tied_for_best", "tied_for_best", ""}, [&](const Result& result) {
    const auto& from_other = &result == best ? ranking_.lead : result.behind;
    std::string note = &result == best && ranking_.winner                         ? "best"
                       : from_other && from_other->interval && !seen(*from_other) ? "not seen"
                                                                                  : "";
    for (const auto& [number, what] : {std::pair(result.failed, " failed"), std::pair(result.stopped, " stopped")})
      if (number > 0) note += (note.empty() ? "" : ", ") + std::to_string(number) + what;
    return Cell{result.tied_for_best, note};
  });
}

Json RankingTable::statistics() const {
  const std::optional<Noise>& noise = ranking_.noise;
  const std::optional<Difference>& lead = ranking_.lead;
  const auto known = [&](const auto& value) { return noise && ranking_.seeds > 0 ? Json(value(*noise)) : Json(); };
  Json json;
  json["winner"] = ranking_.winner;
  json["lead"] = lead ? Json(lead->mean) : Json();
  json["lead_interval"] = lead && lead->interval ? Json(*lead->interval) : Json();
  json["noise"] = known([](const Noise& one) { return one.sd; });
  json["degrees_of_freedom"] = known([](const Noise& one) { return one.degrees; });
  json["comparisons"] = known([](const Noise& one) { return one.comparisons(); });
  json["visible_difference"] = known([&](const Noise& one) { return one.visible(ranking_.seeds); });
  return json;
}

std::string RankingTable::csv() const {
  TextRows rows(results().size() + 1);
  for (const Column& column : columns_) {
    if (!column.csv) continue;
    rows[0].push_back(*column.csv);
    for (std::size_t i = 0; i < results().size(); ++i) {
      const auto& [exact, text] = column.cells[i];
      if (!column.json)
        rows[i + 1].push_back(text);
      else if (exact.is_boolean())
        rows[i + 1].emplace_back(exact.get<bool>() ? "yes" : "");
      else
        rows[i + 1].push_back(exact.is_null() ? "" : json_text(exact));
    }
  }
  return csv_table(rows);
}

TextRows RankingTable::rows_for_people(std::size_t most) const {
  TextRows rows(std::min(most, results().size()) + 1);
  for (const Column& column : columns_) {
    if (!column.heading) continue;
    rows[0].push_back(*column.heading);
    for (std::size_t i = 1; i < rows.size(); ++i) rows[i].push_back(column.cells[i - 1].text);
  }
  return rows;
}

std::string RankingTable::markdown() const {
  std::string text = markdown_table(rows_for_people(results().size())) + (verdict_.empty() ? "" : "\n") + verdict_;
  if (!effects_.empty()) text += "\n" + markdown_table(effect_rows(effects_, metric_)) + "\n" + effect_remarks(effects_);
  if (!fits_.fits.empty()) text += "\n" + markdown_table(fits_.rows(metric_)) + "\n";
  return text + fits_.remarks(metric_);
}

std::string RankingTable::text(std::size_t most) const {
  const TextRows rows = rows_for_people(most);
  const std::size_t more = results().size() + 1 - rows.size();
  std::string text = aligned_table(rows, std::string(rows[0].size() - 1, 'r') + "l") +
                     (more > 0 ? "... and " + std::to_string(more) + " more in results.md\n" : "") + verdict_;
  if (!effects_.empty()) text += "\n" + aligned_table(effect_rows(effects_, metric_), "lrrrrrl") + effect_remarks(effects_);
  if (!fits_.fits.empty()) text += "\n" + aligned_table(fits_.rows(metric_), "r");
  return text + fits_.remarks(metric_);
}

Json RankingTable::json(std::size_t row) const {
  Json object;
  for (const Column& column : columns_)
    (column.json ? object[*column.json] : object["values"][*column.csv]) = column.cells[row].exact;
  object.emplace("values", Json::object());
  return object;
}

}  // namespace temper
