#include "sweep/main_effects.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "io/json.h"

namespace temper {
namespace {

/// A configuration of each value of one key, at one setting of the others.
using Setting = std::vector<const SweepResult*>;

/// The settings of the other keys at which all values are there with all their seeds; fills in what the effect says of the rest.
std::vector<Setting> whole_settings(const Sweep& sweep, const Ranking& ranking, std::size_t column, MainEffect& effect) {
  std::vector<const SweepResult*> results(sweep.configurations.size());
  for (const SweepResult& result : ranking.results)
    if (result.metrics.size() == sweep.file.seeds.size()) results[result.configuration] = &result;
  std::vector<std::string> labels;  // in the sweep's order
  std::set<std::string> with_result;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const std::string label = label_text(sweep.configurations[i].labels[column]);
    if (std::find(labels.begin(), labels.end(), label) == labels.end()) labels.push_back(label);
    if (results[i] != nullptr) with_result.insert(label);
  }
  for (const std::string& label : labels) {
    if (with_result.contains(label))
      effect.values.emplace_back().value = label;
    else
      effect.without_result.push_back(label);
  }
  std::map<std::string, Setting> settings;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const std::vector<Value>& of = sweep.configurations[i].labels;
    std::string others;
    for (std::size_t other = 0; other < sweep.file.parameters.size(); ++other)
      if (other != column) others += json_text(to_json(of[other])) + "\n";
    Setting& setting = settings.try_emplace(others, effect.values.size()).first->second;
    const std::string label = label_text(of[column]);
    for (std::size_t value = 0; value < effect.values.size(); ++value)
      if (effect.values[value].value == label) setting[value] = results[i];
  }
  effect.all_settings = settings.size();
  std::vector<Setting> whole;
  for (const auto& [others, setting] : settings)
    if (std::find(setting.begin(), setting.end(), nullptr) == setting.end()) whole.push_back(setting);
  effect.settings = whole.size();
  return whole;
}

/// The p of the F test of values x settings against values x settings x seeds.
std::optional<double> interaction(const std::vector<Setting>& settings, const std::vector<ValueEffect>& values) {
  const SeedMetrics& seeds = settings[0][0]->metrics;
  const auto v = static_cast<double>(values.size()), c = static_cast<double>(settings.size()),
             s = static_cast<double>(seeds.size());
  if (seeds.size() < 2) return std::nullopt;
  double grand = 0.0, between = 0.0, within = 0.0;
  for (const ValueEffect& value : values) grand += value.mean / v;
  std::vector<SeedMetrics> of_value(values.size());  // over settings
  SeedMetrics of_seed;                               // over both
  for (const Setting& setting : settings) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      for (const auto& [seed, metric] : setting[i]->metrics) {
        of_value[i][seed] += metric / c;
        of_seed[seed] += metric / (c * v);
      }
    }
  }
  for (const Setting& setting : settings) {
    double here = 0.0;
    SeedMetrics of_seed_here;
    for (const SweepResult* result : setting) {
      here += result->metric->mean / v;
      for (const auto& [seed, metric] : result->metrics) of_seed_here[seed] += metric / v;
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double cell = setting[i]->metric->mean - here - values[i].mean + grand;
      between += s * cell * cell;
      for (const auto& [seed, metric] : setting[i]->metrics) {
        const double rest = metric - of_value[i][seed] - of_seed_here[seed] + of_seed[seed] - cell;
        within += rest * rest;
      }
    }
  }
  const double tiny = 1e-24 * grand * grand * v * c * s;  // what rounding leaves of equal numbers
  if (between <= tiny) return 1.0;
  if (within <= tiny) return 0.0;
  const auto degrees = static_cast<std::size_t>((v - 1.0) * (c - 1.0));
  return f_exceeds(between * (s - 1.0) / within, degrees, degrees * (seeds.size() - 1));
}

MainEffect effect_of(const Sweep& sweep, const Ranking& ranking, std::size_t column) {
  MainEffect effect;
  effect.key = columns(sweep.file)[column];
  const std::vector<Setting> settings = whole_settings(sweep, ranking, column, effect);
  if (settings.size() < 2 || effect.values.size() < 2) {
    effect.values.clear();
    return effect;
  }
  const auto count = static_cast<double>(settings.size());
  std::vector<SeedMetrics> averages(effect.values.size());
  for (const Setting& setting : settings) {
    for (std::size_t i = 0; i < setting.size(); ++i) {
      effect.values[i].mean += setting[i]->metric->mean / count;
      for (const auto& [seed, metric] : setting[i]->metrics) averages[i][seed] += metric / count;
    }
  }
  const double sign = sweep.file.metric.maximize() ? -1.0 : 1.0;
  const auto best = std::ranges::min_element(effect.values, {}, [&](const ValueEffect& value) { return sign * value.mean; });
  effect.best = static_cast<std::size_t>(best - effect.values.begin());
  const std::optional<Noise> noise = pooled_noise(averages);
  for (std::size_t i = 0; i < effect.values.size(); ++i) {
    ValueEffect& value = effect.values[i];
    if (i == effect.best) continue;
    value.behind = *difference(averages[i], averages[effect.best], noise);
    const auto behind = [&](const Setting& setting) {
      return sign * (setting[i]->metric->mean - setting[effect.best]->metric->mean);
    };
    const auto [least, most] = std::ranges::minmax(settings, {}, behind);
    value.least = sign * behind(least);
    value.most = sign * behind(most);
  }
  effect.interaction_p = interaction(settings, effect.values);
  return effect;
}

/// How many F tests there are: of two keys it is one and the same.
double interaction_tests(const std::vector<MainEffect>& effects) {
  return effects.size() == 2 ? 1.0 : static_cast<double>(effects.size());
}

}  // namespace

bool MainEffect::best_is_seen() const {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (i != best && !seen(values[i].behind)) return false;
  return true;
}

std::vector<MainEffect> main_effects(const Sweep& sweep, const Ranking& ranking) {
  std::vector<MainEffect> effects;
  if (sweep.file.method != SweepMethod::grid) return effects;
  bool any = false;
  for (std::size_t column = 0; column < sweep.file.parameters.size(); ++column) {
    MainEffect effect = effect_of(sweep, ranking, column);
    if (effect.all_settings < 2 || effect.all_settings == sweep.configurations.size())
      continue;  // nothing else varies, or it does not
    any |= !effect.values.empty();
    effects.push_back(std::move(effect));
  }
  return any ? effects : std::vector<MainEffect>();
}

TextRows effect_rows(const std::vector<MainEffect>& effects, const std::string& metric) {
  TextRows rows = {{"averaged over the others", "value", metric, "behind", "least", "most", ""}};
  for (const MainEffect& effect : effects) {
    for (std::size_t i = 0; i < effect.values.size(); ++i) {
      const auto& [value, mean, behind, least, most] = effect.values[i];
      const bool best = i == effect.best;
      const std::string note = best ? effect.best_is_seen() ? "best" : "" : behind.interval && !seen(behind) ? "not seen" : "";
      rows.push_back({i == 0 ? effect.key : "", value, number_text(mean), best ? "" : difference_text(behind, true),
                      best ? "" : number_text(least, true), best ? "" : number_text(most, true), note});
    }
  }
  return effects.empty() ? TextRows() : rows;
}

std::string effect_remarks(const std::vector<MainEffect>& effects) {
  if (effects.empty()) return "";
  const bool judged = std::ranges::any_of(effects, [](const MainEffect& effect) { return effect.interaction_p.has_value(); });
  std::string text = fmt::format(
      "Each value against the best of its key, at the same values of the other keys and averaged over them; least and most: at single "
      "ones.{}\n",
      judged ? " 95 % intervals by what seeds do to the key, for all its values together." : "");
  for (const MainEffect& effect : effects) {
    if (effect.interaction_p && *effect.interaction_p * interaction_tests(effects) < 0.05)
      text +=
          fmt::format("What {} does depends on the other keys (p {:.2g}): see least and most, and compare single configurations.\n",
                      effect.key, *effect.interaction_p);
    if (effect.settings < effect.all_settings)
      text += fmt::format("{}: at {} of the {} settings of the other keys all of its values have all their seeds{}.\n", effect.key,
                          effect.settings, effect.all_settings,
                          effect.values.empty() ? "; its average takes two" : ", and it is averaged over these");
    for (const std::string& value : effect.without_result)
      text += fmt::format("{} {}: no configuration has all its seeds; left out.\n", effect.key, value);
  }
  return text;
}

Json effects_json(const std::vector<MainEffect>& effects) {
  Json all;
  all["keys"] = Json::array();
  for (const MainEffect& effect : effects) {
    Json one;
    one["key"] = effect.key;
    one["settings"] = effect.settings;
    one["all_settings"] = effect.all_settings;
    one["best"] = effect.best;
    one["best_is_seen"] = effect.best_is_seen();
    one["interaction_p"] = effect.interaction_p ? json_number(*effect.interaction_p) : Json();
    one["values"] = Json::array();
    for (const auto& [value, mean, behind, least, most] : effect.values)
      one["values"].push_back({{"value", value},
                               {"mean", json_number(mean)},
                               {"behind", json_number(behind.mean)},
                               {"interval", behind.interval ? json_number(*behind.interval) : Json()},
                               {"seen", seen(behind)},
                               {"least", json_number(least)},
                               {"most", json_number(most)}});
    all["keys"].push_back(one);
  }
  all["remarks"] = effect_remarks(effects);
  return all;
}

}  // namespace temper
