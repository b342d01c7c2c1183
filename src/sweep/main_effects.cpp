#include "sweep/main_effects.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "io/json.h"

namespace temper {
namespace {

/// A configuration's mean by the value of one key, at one setting of the others.
using ByValue = std::map<std::size_t, double>;

/// The distinct labels of a column, in the order of the sweep.
std::vector<Value> labels_of(const Sweep& sweep, std::size_t column) {
  std::vector<Value> labels;
  for (const Configuration& configuration : sweep.configurations) {
    const Value& label = configuration.labels[column];
    if (std::find(labels.begin(), labels.end(), label) == labels.end()) labels.push_back(label);
  }
  return labels;
}

/// The settings of the other keys at which all `count` values of this column are there with all seeds.
std::vector<ByValue> whole_settings(const Sweep& sweep, const Ranking& ranking, std::size_t column,
                                    const std::vector<Value>& labels) {
  std::map<std::string, ByValue> settings;
  for (const SweepResult& result : ranking.results) {
    if (result.rung != ranking.results.front().rung || result.metrics.size() < sweep.file.seeds.size()) continue;
    const std::vector<Value>& of = sweep.configurations[result.configuration].labels;
    std::string others;
    for (std::size_t i = 0; i < sweep.file.parameters.size(); ++i)
      if (i != column) others += json_text(to_json(of[i])) + "\n";
    settings[others][static_cast<std::size_t>(std::find(labels.begin(), labels.end(), of[column]) - labels.begin())] =
        result.metric->mean;
  }
  std::vector<ByValue> whole;
  for (auto& [others, means] : settings)
    if (means.size() == labels.size()) whole.push_back(std::move(means));
  return whole;
}

/// The p of the F test of the interaction of values and settings.
double interaction(const MainEffect& effect, const std::vector<ByValue>& settings, const Noise& noise, double seeds) {
  double grand = 0.0, squares = 0.0;
  for (const ValueEffect& value : effect.values) grand += value.mean / static_cast<double>(effect.values.size());
  for (const ByValue& means : settings) {
    double here = 0.0;
    for (const auto& [value, mean] : means) here += mean / static_cast<double>(means.size());
    for (const auto& [value, mean] : means) squares += seeds * std::pow(mean - here - effect.values[value].mean + grand, 2.0);
  }
  const std::size_t degrees = (effect.values.size() - 1) * (settings.size() - 1);
  const double variance = noise.sd * noise.sd;
  if (variance == 0.0) return squares > 0.0 ? 0.0 : 1.0;
  return f_exceeds(squares / static_cast<double>(degrees) / variance, degrees, noise.degrees);
}

std::optional<MainEffect> effect_of(const Sweep& sweep, const Ranking& ranking, std::size_t column) {
  const std::vector<Value> labels = labels_of(sweep, column);
  const std::vector<ByValue> settings = whole_settings(sweep, ranking, column, labels);
  if (labels.size() < 2 || settings.size() < 2) return std::nullopt;
  MainEffect effect;
  effect.key = columns(sweep.file)[column];
  effect.settings = settings.size();
  const std::size_t trials = settings.size() * sweep.file.seeds.size();
  for (std::size_t i = 0; i < labels.size(); ++i) {
    ValueEffect& value = effect.values.emplace_back();
    value.value = label_text(labels[i]);
    for (const ByValue& means : settings) value.mean += means.at(i) / static_cast<double>(settings.size());
  }
  const bool maximize = sweep.file.metric.maximize();
  const auto best = std::min_element(effect.values.begin(), effect.values.end(), [&](const ValueEffect& a, const ValueEffect& b) {
    return maximize ? a.mean > b.mean : a.mean < b.mean;
  });
  effect.best = static_cast<std::size_t>(best - effect.values.begin());
  for (std::size_t i = 0; i < effect.values.size(); ++i) {
    ValueEffect& value = effect.values[i];
    value.behind = {value.mean - best->mean, trials, {}};
    if (i == effect.best) continue;
    if (ranking.noise)
      value.behind.interval =
          studentized_range95(labels.size(), ranking.noise->degrees) * ranking.noise->sd / std::sqrt(static_cast<double>(trials));
    const auto difference = [&](const ByValue& means) { return means.at(i) - means.at(effect.best); };
    const auto [least, most] = std::ranges::minmax(settings, {}, difference);
    value.least = difference(least);
    value.most = difference(most);
  }
  if (ranking.noise)
    effect.interaction_p = interaction(effect, settings, *ranking.noise, static_cast<double>(sweep.file.seeds.size()));
  return effect;
}

}  // namespace

std::vector<MainEffect> main_effects(const Sweep& sweep, const Ranking& ranking) {
  std::vector<MainEffect> effects;
  for (std::size_t column = 0; column < sweep.file.parameters.size(); ++column) {
    if (sweep.file.parameters[column].distribution) continue;  // as many values as trials
    if (std::optional<MainEffect> effect = effect_of(sweep, ranking, column)) effects.push_back(std::move(*effect));
  }
  return effects;
}

TextRows effect_rows(const std::vector<MainEffect>& effects, const std::string& metric) {
  TextRows rows = {{"averaged over the others", "value", metric, "behind", "least", "most", ""}};
  for (const MainEffect& effect : effects) {
    for (std::size_t i = 0; i < effect.values.size(); ++i) {
      const auto& [value, mean, behind, least, most] = effect.values[i];
      const bool best = i == effect.best;
      const std::string note = best ? "its best" : behind.interval && !seen(behind) ? "not seen" : "";
      rows.push_back({i == 0 ? effect.key : "", value, number_text(mean), best ? "" : difference_text(behind, true),
                      best ? "" : number_text(least, true), best ? "" : number_text(most, true), note});
    }
  }
  return effects.empty() ? TextRows() : rows;
}

std::string effect_remarks(const std::vector<MainEffect>& effects) {
  if (effects.empty()) return "";
  std::string text =
      "Each value against the best of its key, at the same values of the other keys and averaged over them; least and most: at single ones. "
      "95 % intervals hold together for the values of a key.\n";
  for (const MainEffect& effect : effects)
    if (effect.interaction_p && *effect.interaction_p * static_cast<double>(effects.size()) < 0.05)
      text +=
          fmt::format("What {} does depends on the other keys (p {:.2g}): the average hides it; compare single configurations.\n",
                      effect.key, *effect.interaction_p);
  return text;
}

Json effects_json(const std::vector<MainEffect>& effects) {
  Json all = Json::array();
  for (const MainEffect& effect : effects) {
    Json one;
    one["key"] = effect.key;
    one["settings"] = effect.settings;
    one["best"] = effect.values[effect.best].value;
    one["interaction_p"] = effect.interaction_p ? nine_digits(*effect.interaction_p) : Json();
    one["values"] = Json::array();
    for (const auto& [value, mean, behind, least, most] : effect.values)
      one["values"].push_back({{"value", value},
                               {"mean", nine_digits(mean)},
                               {"behind", nine_digits(behind.mean)},
                               {"interval", behind.interval ? nine_digits(*behind.interval) : Json()},
                               {"least", nine_digits(least)},
                               {"most", nine_digits(most)}});
    all.push_back(one);
  }
  return all;
}

}  // namespace temper
