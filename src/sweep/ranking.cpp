#include "sweep/ranking.h"
#include "io/json.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numbers>
#include <tuple>

namespace temper {
namespace {

/// P(|T| <= sqrt(degrees) tan(angle)): the finite series for whole degrees of freedom (Abramowitz & Stegun, 26.7.3 and 26.7.4).
double central_probability(double angle, std::size_t degrees) {
  const bool odd = degrees % 2 == 1;
  const double cosine = std::cos(angle);
  double term = odd ? cosine : 1.0, sum = 0.0;
  for (std::size_t k = odd ? 3 : 2; k <= degrees; k += 2) {
    sum += term;
    term *= cosine * cosine * static_cast<double>(k - 1) / static_cast<double>(k);
  }
  return odd ? (angle + std::sin(angle) * sum) * 2.0 / std::numbers::pi : std::sin(angle) * sum;
}

SweepResult summarize(std::size_t configuration, std::size_t rung, const std::vector<PlannedTrial>& trials) {
  SweepResult result;
  result.configuration = configuration;
  result.rung = rung;
  std::vector<double> values;
  for (const PlannedTrial& planned : trials) {
    if (planned.trial->configuration != configuration) continue;
    result.finished += planned.status.state == TrialState::finished;
    result.failed += planned.status.state == TrialState::failed;
    if (!planned.status.metric) continue;
    values.push_back(*planned.status.metric);
    result.metrics[planned.trial->seed] = *planned.status.metric;
  }
  if (!values.empty()) result.metric = estimate(values);
  return result;
}

/// Whether they compete for one place: anything else of a ranking comes before the metric.
bool comparable(const SweepResult& a, const SweepResult& b) {
  return a.metric && b.metric && a.rung == b.rung && (a.failed > 0) == (b.failed > 0);
}

std::optional<Estimate> difference(const SweepResult& a, const SweepResult& b) {
  std::vector<double> differences;
  for (const auto& [seed, metric] : a.metrics)
    if (const auto other = b.metrics.find(seed); other != b.metrics.end()) differences.push_back(metric - other->second);
  return differences.empty() ? std::nullopt : std::optional(estimate(differences));
}

/// Sorts best first, configurations without a result last, and gives places.
void sort_results(std::vector<SweepResult>& results, bool maximize) {
  const auto key = [&](const SweepResult& result) {
    const double mean = result.metric ? result.metric->mean : 0.0;
    return std::tuple(!result.metric, -static_cast<std::ptrdiff_t>(result.rung), result.failed > 0, maximize ? -mean : mean,
                      result.configuration);
  };
  std::sort(results.begin(), results.end(), [&](const SweepResult& a, const SweepResult& b) { return key(a) < key(b); });
  // The last digits of equal metrics decide nothing.
  for (auto first = results.begin(); first != results.end() && first->metric;) {
    const auto last = std::find_if(first + 1, results.end(), [&](const SweepResult& other) {
      return !comparable(*first, other) || std::abs(first->metric->mean - other.metric->mean) > equal_metrics;
    });
    const auto place = static_cast<std::size_t>(first - results.begin()) + 1;
    std::sort(first, last, [](const SweepResult& a, const SweepResult& b) { return a.configuration < b.configuration; });
    for (; first != last; ++first) first->place = place;
  }
}

}  // namespace

double student_t95(std::size_t degrees_of_freedom) {
  double low = 0.0, high = std::numbers::pi / 2.0;
  constexpr int halvings = 60;  // more than a double has digits
  for (int i = 0; i < halvings; ++i) {
    const double middle = 0.5 * (low + high);
    (central_probability(middle, degrees_of_freedom) < 0.95 ? low : high) = middle;
  }
  // Rounded, so that no library's last bit shows in a table.
  return std::round(1e9 * std::sqrt(static_cast<double>(degrees_of_freedom)) * std::tan(low)) / 1e9;
}

Estimate estimate(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  double sum = 0.0, squares = 0.0;
  for (const double value : values) sum += value;
  Estimate found{sum / n, values.size(), {}, {}};
  if (values.size() < 2) return found;
  for (const double value : values) squares += (value - found.mean) * (value - found.mean);
  found.sd = std::sqrt(squares / (n - 1.0));
  found.interval = student_t95(values.size() - 1) * *found.sd / std::sqrt(n);
  return found;
}

std::vector<SweepResult> rank_configurations(const Sweep& sweep, const SweepPlan& plan) {
  std::vector<SweepResult> results;
  for (std::size_t configuration = 0; configuration < sweep.configurations.size(); ++configuration) {
    SweepResult result;
    result.configuration = configuration;
    for (std::size_t rung = 0; rung < plan.rungs.size(); ++rung) {
      const SweepResult here = summarize(configuration, rung, plan.rungs[rung]);
      if (here.finished + here.failed > 0) result = here;
    }
    results.push_back(result);
  }
  sort_results(results, sweep.file.metric.maximize());
  SweepResult& best = results.front();
  std::map<std::size_t, std::size_t> sharing;
  for (SweepResult& result : results) {
    if (&result != &best && result.metric && result.rung == best.rung) result.behind = difference(result, best);
    if (result.behind && comparable(result, best))
      result.tied_for_best = std::abs(result.behind->mean) <= std::max(equal_metrics, result.behind->interval.value_or(0.0));
    if (result.tied_for_best) result.place = best.place;
    best.tied_for_best |= result.tied_for_best;
    ++sharing[result.place];
  }
  for (SweepResult& result : results) result.shares_place = result.place > 0 && sharing[result.place] > 1;
  return results;
}

std::vector<SweepResult> rank_rung(const Sweep& sweep, std::size_t rung, const std::vector<PlannedTrial>& trials,
                                   const std::vector<std::size_t>& configurations) {
  std::vector<SweepResult> results;
  results.reserve(configurations.size());
  for (const std::size_t configuration : configurations) results.push_back(summarize(configuration, rung, trials));
  sort_results(results, sweep.file.metric.maximize());
  return results;
}

std::string number_text(const std::optional<double>& number, bool sign) {
  if (!number) return "";
  char text[64];
  std::snprintf(text, sizeof(text), std::abs(*number) < 1e5 ? "%+.4f" : "%+.2e", *number);
  return text + (*text == '+' && !sign ? 1 : 0);
}

std::string verdict_text(const Sweep& sweep, const std::vector<SweepResult>& results) {
  if (results.size() < 2 || !results[1].metric) return "";
  std::size_t tied = 0, compared = 0, fewest = sweep.file.seeds.size();
  double widest = 0.0;  // of the differences that count as ties
  for (const SweepResult& result : results) {
    tied += result.tied_for_best;
    if (result.behind && result.tied_for_best) widest = std::max(widest, std::abs(result.behind->mean));
    if (!result.behind || !result.behind->interval) continue;
    ++compared;
    fewest = std::min(fewest, result.behind->n);
  }
  std::string text = "The first is the best.\n";
  if (tied > 0) {
    text = std::to_string(tied) + " configurations tie for the best: ";
    text += widest <= equal_metrics ? "their " + sweep.file.metric.name + " is the same within 1e-5, the precision of a measurement"
                                    : "what sets them apart is inside the noise";
    text += ". best.json is the first of them, and no winner.\n";
  }
  if (compared == 0) return text + "One seed tells nothing of the noise: no interval, and no difference is judged.\n";
  char rest[256];
  std::snprintf(
      rest, sizeof(rest),
      "%zu comparison%s with the best, each by a 95 %% interval of the differences within seeds (Student's t: with %zu seeds "
      "%.1f standard errors), not corrected for their number.\n",
      compared, compared == 1 ? "" : "s", fewest, student_t95(fewest - 1));
  return text + rest;
}

RankingTable::Cell RankingTable::number(const std::optional<double>& value) {
  return value ? Cell{*value, number_text(value)} : Cell{};
}

RankingTable::RankingTable(const Sweep& sweep, const SweepPlan& plan)
    : results_(rank_configurations(sweep, plan)), verdict_(verdict_text(sweep, results_)) {
  using Result = SweepResult;
  const auto add = [&](Column column, const auto& cell_of) {
    for (const Result& result : results_) column.cells.push_back(cell_of(result));
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
  add({"behind_best", "behind_best", "behind"}, [](const Result& result) {
    if (!result.behind) return Cell{};
    const auto& [mean, n, sd, interval] = *result.behind;
    return Cell{mean, number_text(mean, true) + (interval ? " ± " + number_text(interval) : "")};
  });
  add({"behind_best_interval", "behind_best_ci95", {}},
      [](const Result& result) { return result.behind ? number(result.behind->interval) : Cell{}; });
  add({"tied_for_best", "tied_for_best", ""}, [](const Result& result) {
    std::string note = result.tied_for_best ? "tied for the best" : result.metric && result.place == 1 ? "best" : "";
    if (result.failed > 0) note += (note.empty() ? "" : ", ") + std::to_string(result.failed) + " failed";
    return Cell{result.tied_for_best, note};
  });
}

std::string RankingTable::csv() const {
  TextRows rows(results_.size() + 1);
  for (const Column& column : columns_) {
    if (!column.csv) continue;
    rows[0].push_back(*column.csv);
    for (std::size_t i = 0; i < results_.size(); ++i) {
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
  TextRows rows(std::min(most, results_.size()) + 1);
  for (const Column& column : columns_) {
    if (!column.heading) continue;
    rows[0].push_back(*column.heading);
    for (std::size_t i = 1; i < rows.size(); ++i) rows[i].push_back(column.cells[i - 1].text);
  }
  return rows;
}

std::string RankingTable::markdown() const {
  return markdown_table(rows_for_people(results_.size())) + (verdict_.empty() ? "" : "\n") + verdict_;
}

std::string RankingTable::text(std::size_t most) const {
  const TextRows rows = rows_for_people(most);
  const std::size_t more = results_.size() + 1 - rows.size();
  return aligned_table(rows, std::string(rows[0].size() - 1, 'r') + "l") +
         (more > 0 ? "... and " + std::to_string(more) + " more in results.md\n" : "") + verdict_;
}

Json RankingTable::json(std::size_t row) const {
  Json object;
  for (const Column& column : columns_)
    (column.json ? object[*column.json] : object["values"][*column.csv]) = column.cells[row].exact;
  object.emplace("values", Json::object());
  return object;
}

}  // namespace temper
