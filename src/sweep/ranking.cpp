#include "sweep/ranking.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <tuple>

namespace temper {
namespace {

SweepResult summarize(std::size_t configuration, std::size_t rung, const std::vector<PlannedTrial>& trials) {
  SweepResult result;
  result.configuration = configuration;
  result.rung = rung;
  std::vector<double> values;
  for (const PlannedTrial& planned : trials) {
    if (planned.trial->configuration != configuration) continue;
    result.finished += planned.status.state == TrialState::finished;
    result.failed += planned.status.state == TrialState::failed;
    result.stopped += planned.status.state == TrialState::stopped;
    if (!planned.status.metric) continue;
    values.push_back(*planned.status.metric);
    result.metrics[planned.trial->seed] = *planned.status.metric;
  }
  if (!values.empty()) result.metric = estimate(values);
  return result;
}

/// Whether they compete for one place: anything else of a ranking comes before the metric.
bool comparable(const SweepResult& a, const SweepResult& b) {
  return a.metric && b.metric && a.rung == b.rung && a.incomplete() == b.incomplete();
}

/// Sorts best first, configurations without a result last, and gives places.
void sort_results(std::vector<SweepResult>& results, bool maximize) {
  const auto key = [&](const SweepResult& result) {
    const double mean = result.metric ? result.metric->mean : 0.0;
    return std::tuple(!result.metric, -static_cast<std::ptrdiff_t>(result.rung), result.incomplete(), maximize ? -mean : mean,
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

bool seen(const Difference& difference) {
  return difference.interval && std::abs(difference.mean) > std::max(equal_metrics, *difference.interval);
}

Ranking rank_results(std::vector<SweepResult> results, bool maximize) {
  Ranking ranking;
  sort_results(results, maximize);
  SweepResult& best = results.front();
  std::vector<SeedMetrics> compared;
  for (const SweepResult& result : results)
    if (result.metric && result.rung == best.rung) compared.push_back(result.metrics);
  ranking.noise = pooled_noise(compared);
  std::map<std::size_t, std::size_t> sharing;
  std::size_t competitors = 0, told_apart = 0;
  for (SweepResult& result : results) {
    if (&result != &best && result.metric && result.rung == best.rung)
      result.behind = difference(result.metrics, best.metrics, ranking.noise);
    if (result.behind) {
      ranking.seeds = ranking.seeds == 0 ? result.behind->n : std::min(ranking.seeds, result.behind->n);
      const bool equal = std::abs(result.behind->mean) <= equal_metrics;
      result.tied_for_best = comparable(result, best) && (equal || (ranking.noise && !seen(*result.behind)));
    }
    if (result.tied_for_best) result.place = best.place;
    best.tied_for_best |= result.tied_for_best;
    competitors += &result != &best && comparable(result, best);
    told_apart += comparable(result, best) && result.behind && seen(*result.behind);
    ++sharing[result.place];
  }
  for (SweepResult& result : results) result.shares_place = result.place > 0 && sharing[result.place] > 1;
  if (results.size() > 1 && results[1].behind && comparable(results[1], best)) {
    ranking.lead = results[1].behind;
    if (maximize) ranking.lead->mean *= -1.0;
  }
  ranking.winner = competitors > 0 && told_apart == competitors;
  ranking.results = std::move(results);
  return ranking;
}

Ranking rank_configurations(const Sweep& sweep, const SweepPlan& plan) {
  std::vector<SweepResult> results;
  for (std::size_t configuration = 0; configuration < sweep.configurations.size(); ++configuration) {
    SweepResult result;
    result.configuration = configuration;
    for (std::size_t rung = 0; rung < plan.rungs.size(); ++rung) {
      const SweepResult here = summarize(configuration, rung, plan.rungs[rung]);
      if (here.finished + here.failed + here.stopped > 0) result = here;
    }
    results.push_back(result);
  }
  return rank_results(std::move(results), sweep.file.metric.maximize());
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

std::string difference_text(const Difference& difference, bool sign) {
  return number_text(difference.mean, sign) + (difference.interval ? " ± " + number_text(difference.interval) : "");
}

std::string verdict_text(const Sweep& sweep, const Ranking& ranking) {
  const auto& [results, noise, seeds, lead, winner] = ranking;
  if (results.size() < 2 || !results[1].metric) return "";
  std::size_t tied = 0;
  bool all_equal = true;  // of those that tie
  for (const SweepResult& result : results) {
    tied += result.tied_for_best;
    if (result.tied_for_best && result.behind) all_equal &= std::abs(result.behind->mean) <= equal_metrics;
  }
  std::string text;
  if (tied > 0 && all_equal)
    text = fmt::format("No winner: the {} of {} configurations is the same within 1e-5, the precision of a measurement.",
                       sweep.file.metric.name, tied);
  else if (tied > 0)
    text = fmt::format("No winner: {} configurations may be the best.", tied);
  else if (winner)
    text = results.back().metric ? "The first is the best." : "The first is the best of those with a result.";
  else
    text = "The first is not known to be the best.";
  if (tied > 0) text += " best.json is the first of them.";
  if (lead && noise)
    text += fmt::format(" Its lead over the second is {}{}.", difference_text(*lead, false), seen(*lead) ? "" : ", not seen");
  text += "\n";
  if (sweep.file.seeds.size() == 1)
    return text + "Warning: one seed tells nothing of the noise: no interval, and no difference is judged.\n";
  if (!noise || seeds == 0)
    return text + "No two configurations have enough seeds in common yet: no interval, and no difference is judged.\n";
  const auto plural = [](std::size_t count) { return count == 1 ? "" : "s"; };
  text += fmt::format(
      "{} comparison{} of {} configurations, each with each since the best was chosen after looking; the 95 % intervals are corrected for "
      "that number and hold together (Tukey's studentized range).\n",
      noise->comparisons(), plural(noise->comparisons()), noise->configurations);
  text += fmt::format(
      "Noise within seeds: {}, pooled over all configurations ({} degree{} of freedom). With {} seed{} this sweep could see a difference "
      "of {} (80 % power at 5 %).\n",
      number_text(noise->sd), noise->degrees, plural(noise->degrees), seeds, plural(seeds), number_text(noise->visible(seeds)));
  if (noise->unequal) {
    std::vector<std::string> compared;  // as rank_results() has them
    for (const SweepResult& result : results)
      if (result.metric && result.rung == results.front().rung)
        compared.push_back(describe(sweep.file, sweep.configurations[result.configuration]));
    text += fmt::format(
        "Warning: the noise is not alike for all: that of {} has {:.0f} times the variance of that of {}, more than chance allows (Hartley's "
        "test, 5 %). All intervals suppose one noise: they are too narrow for the noisy and too wide for the quiet; leave the noisy out "
        "with \"where\".\n",
        compared[noise->noisiest], noise->ratio, compared[noise->quietest]);
  }
  if (seeds < 3) text += "Warning: fewer than three seeds: intervals are wide, and one odd trial decides.\n";
  return text;
}

}  // namespace temper
